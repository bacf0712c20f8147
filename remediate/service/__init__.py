"""The service: the remediator and its helpers collect evidence, decide, record and carry out.

In: denials, approvals, rejections, revocations, sweeps. Out: records in the ledger, and policy writes. It reaches the
outside only through the protocols of `cloud`, `ledger` and `notify`. `review`, `wiring` and `cli` import from here.
"""
