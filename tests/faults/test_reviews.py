"""A reviewer's word, and the end of a grant, are carried out wholly or not at all, wherever the process dies."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remediate.ledger.opening import open_ledger
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.records.trail_verification import broken_trail
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import denial, system_event
from tests.faults.act import REVIEWER, SECOND
from tests.faults.incident import FAULTS, Incident, each, fresh_url, running
from tests.sandbox_fixture import AGENT, DEPLOYER, SandboxProcess

HALF_AN_HOUR, LATER = timedelta(minutes=30), timedelta(hours=2)
PERSON = f"user:{REVIEWER}"


class Review(Incident):
    """A proposal (and, for what ends, its grant) that one act decides about; `acts` says what then stands where."""

    acts: dict[str, tuple[State, State, str]] = {  # noqa: RUF012
        "approve": (State.PROPOSED, State.GRANTED, "remediate"),
        "revoke": (State.GRANTED, State.REVOKED, PERSON),
        "sweep": (State.GRANTED, State.EXPIRED, "remediate"),
    }

    def __init__(self, sandbox: SandboxProcess, ledger_url: str, act: str) -> None:
        super().__init__(sandbox, ledger_url, "ask")
        self.act = act
        record = self.deliver().remediation
        assert record
        self.ident = record.id
        if act != "approve":
            remediator_from(load_settings(self.settings)).approve(
                self.ident, actor=REVIEWER, max_duration=timedelta(hours=1), note="yes"
            )
        self.writes = self.written()

    def record(self) -> Remediation:
        found = open_ledger(self.ledger_url).get(self.ident)
        assert found
        return found

    def swept(self) -> None:
        """Sweep as a scheduler does: at a time when a grant of an hour ends only where that is the act."""
        later = LATER if self.act == "sweep" else HALF_AN_HOUR
        settings = load_settings(self.settings)
        for _ in range(20):
            faults = [each.fault for each in remediator_from(settings, clock=lambda: datetime.now(UTC) + later).sweep()]
            if not any(faults):
                return
        raise AssertionError("twenty sweeps, and none ended")

    def check_wholly_or_not_at_all(self) -> bool:
        """Whether it was done; either way the record, its trail and the policy tell the same."""
        before, after, actor = self.acts[self.act]
        record, trail = self.record(), list(open_ledger(self.ledger_url).trail(self.ident))
        assert record.state in (before, after)
        done = record.state is after
        assert broken_trail(self.ident, record, trail) is None
        assert sum(step.after is after for step in trail) == done
        assert (DEPLOYER in self.sandbox.readers()) == (record.state is State.GRANTED)
        assert self.written() - self.writes == done
        if done:
            assert trail[-1].actor == actor
            assert record.lifecycle.approver == PERSON
        return done


@contextmanager
def reviewed(url: str, act: str) -> Iterator[Review]:
    with running() as sandbox:
        yield Review(sandbox, fresh_url(url), act)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("act", Review.acts)
def test_a_review_killed_at_any_step_is_wholly_done_after_a_sweep_or_not_at_all(ledger_url: str, act: str) -> None:
    with reviewed(ledger_url, act) as whole:
        done = whole.acted(act, whole.ident)
        assert done.returncode == 0, done.stderr
        steps: list[str] = json.loads(done.stdout)
        assert whole.check_wholly_or_not_at_all()
    assert sum("setIamPolicy" in step for step in steps) == 1
    assert steps.count("ledger.commit") == 2
    outcomes = set()

    def killed(case: tuple[int, str]) -> None:
        with reviewed(ledger_url, act) as review:
            victim = review.acted(act, review.ident, case[0], "after")  # which is before the next
            assert victim.returncode == -signal.SIGKILL
            review.swept()
            outcomes.add(review.check_wholly_or_not_at_all())
            if review.record().state is not Review.acts[act][1]:  # nothing was recorded yet: it can be said again
                assert review.acted(act, review.ident).returncode == 0
            assert review.check_wholly_or_not_at_all()

    each(killed, enumerate(steps, 1))
    assert True in outcomes


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("act", Review.acts)
def test_a_review_whose_write_goes_wrong_is_done_once_in_the_end(
    sandbox_server: SandboxProcess, ledger_url: str, act: str, fault: dict[str, Any]
) -> None:
    review = Review(sandbox_server, ledger_url, act)
    review.sandbox.faults({"match": "setIamPolicy", **fault})
    review.acted(act, review.ident)
    review.sandbox.faults()
    review.swept()
    assert review.check_wholly_or_not_at_all()


class TwoApprovals(Review):
    """A proposal of which the log does not say who deployed: it takes two approvals."""

    acts: dict[str, tuple[State, State, str]] = {}  # noqa: RUF012

    def __init__(self, sandbox: SandboxProcess, ledger_url: str) -> None:
        Incident.__init__(self, sandbox, ledger_url, "ask")
        entry = system_event() | {"insertId": "event"}
        sandbox.log(entry)
        record = remediator_from(load_settings(self.settings)).handle(denial(entry)).remediation
        assert record
        self.ident, self.act = record.id, "approve"
        self.writes = self.written()

    def check_counted(self) -> State:
        """Where it is; whatever that is, record, trail and policy tell the same, and nobody was counted twice."""
        record, trail = self.record(), list(open_ledger(self.ledger_url).trail(self.ident))
        assert broken_trail(self.ident, record, trail) is None
        counted = [(step.actor, step.approval) for step in trail if step.approval]
        assert counted == [(PERSON, "1 of 2"), (f"user:{SECOND}", "2 of 2")][: len(counted)]
        assert [each.actor for each in record.lifecycle.approvals] == [actor for actor, _ in counted]
        assert (AGENT in self.sandbox.readers()) == (record.state is State.GRANTED)
        assert self.written() - self.writes == (record.state is State.GRANTED)
        return record.state


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["approve", "second"])
def test_two_approvals_killed_at_any_step_count_once_each(ledger_url: str, victim: str) -> None:
    @contextmanager
    def begun() -> Iterator[TwoApprovals]:
        with running() as sandbox:
            review = TwoApprovals(sandbox, fresh_url(ledger_url))
            if victim == "second":
                assert review.acted("approve", review.ident).returncode == 0
                assert review.check_counted() is State.PROPOSED
            yield review

    with begun() as whole:
        done = whole.acted(victim, whole.ident)
        assert done.returncode == 0, done.stderr
        steps: list[str] = json.loads(done.stdout)
        assert whole.check_counted() is (State.GRANTED if victim == "second" else State.PROPOSED)
    assert sum("entries:list" in step for step in steps) == 1

    def killed(case: tuple[int, str]) -> None:
        with begun() as review:
            died = review.acted(victim, review.ident, case[0], "after")
            assert died.returncode == -signal.SIGKILL
            review.swept()
            if review.check_counted() is not State.GRANTED:
                for act in ("approve", "second"):
                    assert review.acted(act, review.ident).returncode == 0
            assert review.check_counted() is State.GRANTED

    each(killed, enumerate(steps, 1))
