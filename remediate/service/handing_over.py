"""Hands changes of policies over to the writer, a process of its own that makes them.

The record in the ledger is the queue: it says what is due. The message only wakes the writer, and a sweep carries out
what no message woke it for. See docs/decisions/0012-writer.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from remediate.errors import RemediateError
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
    """The records, read again until nothing is due for them, for `patience` seconds at most.

    Raises nothing: what is due is recorded already. A record that cannot be read stays as it was.
    """
    until = monotonic() + patience
    found = {each.id: each for each in records}
    while monotonic() < until and (due := [each for each in found.values() if is_due(each)]):
        pause(_PAUSE)
        for each in due:
            with suppress(RemediateError):
                found[each.id] = ledger.get(each.id) or each
    return [found[each.id] for each in records]
