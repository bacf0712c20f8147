"""Sends notices: `interface.py` is the port; Pub/Sub, Slack and Google Chat each have a channel.

In: messages from the ledger's outbox. Out: posts and their results. Imports `cloud`, `ledger`, `records`.
"""
