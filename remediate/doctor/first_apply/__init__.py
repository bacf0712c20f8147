"""The checklist of a first apply: what only a real Google Cloud can settle, each item with a code of its own.

In: the doctor's report of the same run. Out: a report of codes, counts and versions that can be sent to other people.
"""
