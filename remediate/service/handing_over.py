"""Hands changes of policies over to the writer, the one process that makes them.

The record in the ledger is the queue: it says what is due. The message only wakes the writer, and a sweep carries out
what no message woke it for. See docs/decisions/0012-writer.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from remediate.ledger.interface import Ledger
from remediate.records.remediation import Remediation
from remediate.records.states import State

Wake = Callable[[str], None]
"""Wakes the writer for a remediation; raises nothing."""
_PAUSE = 0.5  # seconds between two looks at the ledger


def is_due(record: Remediation) -> bool:
    """Whether a change of a policy is recorded and not carried out yet."""
    return record.state is State.APPROVED or record.lifecycle.ending is not None


def await_outcome(
    ledger: Ledger,
    records: Sequence[Remediation],
    patience: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[Remediation]:
    """The records, read again until nothing is due for them, for `patience` seconds at most."""
    until = monotonic() + patience
    found = list(records)
    while any(map(is_due, found)) and monotonic() < until:
        pause(_PAUSE)
        found = [(ledger.get(each.id) or each) if is_due(each) else each for each in found]
    return found
