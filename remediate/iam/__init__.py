"""IAM's types: repository, member, grant, allow policy, and the access that an allow policy gives.

In: texts from logs and policies. Out: typed values, or a reason why there is none. Imports only errors and reasons;
every other folder may import from here.
"""
