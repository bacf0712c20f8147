"""The nouns of IAM: repository, member, grant, allow policy, and the access that an allow policy gives.

In: texts from logs and policies. Out: typed values, or a reason why there is none. Imports errors and reasons alone;
every other folder may import from here.
"""
