"""Who acts: the remediator and its helpers collect evidence, decide, record and carry out.

In: denials, approvals, rejections, revocations, sweeps. Out: records in the ledger, and policy writes. Everything
outside is behind the protocols of `cloud`, `ledger` and `notify`. `review`, `wiring` and `cli` import from here.
"""
