"""Checks an installation: adapters collect facts, checks turn facts into findings.

In: the names of an installation. Out: findings, each with a code and a command that fixes it. Changes nothing, except
that the canary publishes one synthetic denial. `cli` and `wiring` import from here; the service never does.
"""
