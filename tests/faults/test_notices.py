"""Whatever dies between a step and the notice of it: the notice goes out, and no more than once where that can be known."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta

from remediate.records.outbox import LEASE
from remediate.settings import load_settings
from remediate.wiring import notifier_from
from tests.faults.incident import Incident, each, fresh_url, running
from tests.notify.receivers import Receiver, receiving
from tests.sandbox_fixture import SandboxProcess


def _sweep(incident: Incident, late: timedelta) -> None:
    """What a sweep does with notices, so much later."""
    notifier = notifier_from(load_settings(incident.settings), clock=lambda: datetime.now(UTC) + late)
    assert notifier
    notifier.deliver(30)


def test_a_process_killed_between_a_grant_and_its_notice_loses_no_notice_and_doubles_none_it_knows_of(
    sandbox_server: SandboxProcess, ledger_url: str
) -> None:
    with receiving(Receiver()) as receiver:
        whole = Incident(sandbox_server, ledger_url, "grant")
        whole.settings["REMEDIATE_SLACK_WEBHOOK"] = receiver.url
        done = whole.in_a_process(0, "before")
        assert done.returncode == 0, done.stderr
        steps: list[str] = json.loads(done.stdout)
        granted = len(steps) - steps[::-1].index("ledger.commit")  # the step that records the grant
        looked = ["ledger.waiting", "ledger.get"]  # what is due, and whether it is so still
        assert steps[granted:] == [*looked, "ledger.mark", "webhook", "ledger.mark", "ledger.waiting"]
        assert len(receiver.posts) == 1
        whole.check()

    def killed(case: tuple[int, str]) -> None:
        number, name = case
        with running() as sandbox, receiving(Receiver()) as receiver:
            incident = Incident(sandbox, fresh_url(ledger_url), "grant")
            incident.settings["REMEDIATE_SLACK_WEBHOOK"] = receiver.url
            assert incident.in_a_process(number, "after").returncode == -signal.SIGKILL
            for late in (timedelta(0), LEASE, 2 * LEASE):
                _sweep(incident, late)
            incident.deliver()
            incident.check()
            # Killed after the post and before it was written down, nobody can know: that one comes twice.
            assert len(receiver.posts) == (2 if name == "webhook" else 1)

    each(killed, list(enumerate(steps, 1))[granted - 1 :])
