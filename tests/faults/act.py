"""Runs one act (a delivery, a reviewer's action, a sweep) in a process that kills itself (SIGKILL) at its n-th I/O step.

Steps are counted, not listed: every HTTP request to Google Cloud or a webhook and every ledger call is one, so that tests
cover new steps without a change. `python -m tests.faults.act ACT ARGUMENT STEP before|after`; step 0 kills nothing and
prints the steps.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import requests.adapters

from remediate.entries.denial import understand
from remediate.entries.log_entry import read_entry
from remediate.ledger.interface import Ledger
from remediate.service.remediator import Remediator
from remediate.settings import load_settings
from remediate.wiring import notifier_from, remediator_from

REVIEWER, SECOND = "platform-lead@example.com", "security@example.com"
LEDGER_CALLS = [name for name in vars(Ledger) if not name.startswith("_")]


class Steps:
    """Counts I/O steps and kills the process at the given one, as a power failure would."""

    def __init__(self, fatal: int, after: bool) -> None:
        self._fatal, self._after = fatal, after
        self.names: list[str] = []

    def wrapped(self, name: Callable[..., str], call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name(*args, **kwargs))
            fatal = len(self.names) == self._fatal
            if fatal and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **kwargs)
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step


def deliver(remediator: Remediator, entry: str) -> None:
    """Deliver a log entry."""
    remediator.handle(understand(read_entry(entry.encode())))


def approve(remediator: Remediator, ident: str) -> None:
    """Approve for an hour."""
    remediator.approve(ident, actor=REVIEWER, max_duration=timedelta(hours=1), note="yes")


def second(remediator: Remediator, ident: str) -> None:
    """Approve for an hour, as another reviewer."""
    remediator.approve(ident, actor=SECOND, max_duration=timedelta(hours=1), note="yes, too")


def revoke(remediator: Remediator, ident: str) -> None:
    """Revoke."""
    remediator.revoke(ident, actor=REVIEWER, note="no")


def sweep(remediator: Remediator, _: str) -> None:
    """Run the sweep."""
    list(remediator.sweep())


ACTS = {act.__name__: act for act in (deliver, approve, second, revoke, sweep)}


def main() -> None:
    """Run the act and send its notices; print the names of the steps."""
    act, argument, fatal, when = sys.argv[1:]
    steps = Steps(int(fatal), when == "after")
    later = timedelta(hours=2) if act == "sweep" else timedelta()
    settings = load_settings(os.environ)
    notifier = notifier_from(settings)
    remediator = remediator_from(settings, clock=lambda: datetime.now(UTC) + later, notifier=notifier)
    adapter = requests.adapters.HTTPAdapter
    send = steps.wrapped(lambda _, request, **__: f"{request.method} {request.path_url}", adapter.send)
    adapter.send = send  # type: ignore[method-assign]  # replaced, to die at it
    opener = urllib.request.OpenerDirector
    opener.open = steps.wrapped(lambda *_, **__: "webhook", opener.open)  # type: ignore[method-assign]  # replaced, to die at it
    for ledger in [remediator._ledger, *([notifier._ledger] if notifier else [])]:
        for method in LEDGER_CALLS:
            named = f"ledger.{method}"
            setattr(ledger, method, steps.wrapped(lambda *_, named=named, **__: named, getattr(ledger, method)))
    ACTS[act](remediator, argument)
    if notifier:
        notifier.deliver(30)
    print(json.dumps(steps.names))


if __name__ == "__main__":
    main()
