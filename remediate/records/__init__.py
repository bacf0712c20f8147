"""The stored records: remediations with their transitions and audit trail, notices, and the mode.

In: decisions and the answers of reviewers. Out: new versions of records, which a ledger stores. Pure: the caller passes
the time. Imports `decisions` and the layers below it.
"""
