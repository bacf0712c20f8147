"""What is remembered: the record of a remediation, its transitions, its audit trail, its notices, the mode.

In: decisions, and what reviewers say. Out: new versions of records, for a ledger to store. Pure: time is passed in.
Imports `decisions` and what lies below.
"""
