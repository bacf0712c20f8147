"""Google Cloud: `interface.py` is the port; thin adapters on Google's official clients implement it.

In: repositories, members, log names. Out: policies, projects, log entries as bytes; and the one policy write. Clients
are imported once they are needed. Imports `ledger`'s floor and below, never what decides or acts.
"""
