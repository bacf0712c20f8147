"""Google Cloud: `interface.py` is the port; thin adapters on Google's official clients implement it.

In: repositories, members, log names. Out: policies, projects, log entries as bytes; and the one policy write. A client
is imported when it is first needed. Imports `ledger` and the layers below it, but nothing that decides or acts.
"""
