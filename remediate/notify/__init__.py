"""Who gets notices, and how: `interface.py` is the port; a channel each for Pub/Sub, Slack and Google Chat.

In: messages from the ledger's outbox. Out: posts, and what became of them. Imports `cloud`, `ledger`, `records`.
"""
