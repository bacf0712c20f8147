"""Where remediations live: `interface.py` is the port; SQLite and Firestore implement it.

In: records and the transitions that led to them. Out: the same, by compare-and-set. Imports `records` and what lies
below; `open_ledger` in `opening.py` chooses the implementation by URL.
"""
