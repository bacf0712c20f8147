"""What happened: from the bytes that carry a log entry to the denial that the entry proves.

In: CloudEvents, Pub/Sub messages, exports, log entries. Out: `Denial`, `IncompleteDenial` or `NotADenial`, and the
filters that find such entries. Pure: imports `iam`; it uses no client, clock or store.
"""
