"""The store of remediations: `interface.py` is the port; SQLite and Firestore implement it.

In: records and their transitions, stored by compare-and-set. Out: the same, by id or by filter. Imports `records` and
the layers below it. `open_ledger` in `opening.py` chooses the implementation by URL.
"""
