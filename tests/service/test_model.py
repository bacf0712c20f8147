"""The whole lifecycle against a model of a few lines: whatever is done in whatever order, both tell the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from remediate.decisions.policy import Mode
from remediate.errors import Refused
from remediate.iam.grant import ROLE
from remediate.ledger.interface import Ledger
from remediate.ledger.opening import open_ledger
from remediate.records.hash_chain import broken_link
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.service.remediator import Remediator
from tests.audit_entries import DEPLOYER
from tests.service.helpers import Wants, same
from tests.service.world import REVIEWER, SAME_REPOSITORY, World

MEMBER = f"serviceAccount:{DEPLOYER}"
HOUR = timedelta(hours=1)
LIMITS = Limits(lapse_after=5 * HOUR, hold_rejections=9 * HOUR)


class Lifecycle(RuleBasedStateMachine):
    """One repository and one member, with everything that can happen to them."""

    needed = 1
    """How many different people have to approve."""

    def open_ledger(self) -> Ledger:
        return open_ledger(f"sqlite:///{Path(mkdtemp()) / 'ledger.db'}")

    def instance(self, mode: Mode | None = Mode.DRY_RUN) -> Remediator:
        rules = {} if self.needed == 1 else {"rules": lambda: Wants(self.needed)}
        return self.world.instance(mode, limits=LIMITS, **rules)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.open_ledger())
        denial = same()
        assert denial.repository
        assert denial.member
        self.ident = denial.grant.id
        # The model: the state, who put the member there, when it ends, since when it stands, and how often it was denied.
        self.state: State | None = None
        self.reads = self.ours = False
        self.ends = self.since = self.world.now
        self.forever = True
        self.taken: datetime | None = None
        self.denials = self.number = self.writes = 0
        self.said: dict[str, timedelta | None] = {}

    def _move(self, state: State) -> None:
        self.state, self.since = state, self.world.now
        self.said = {}
        if state in (State.REVOKED, State.REMOVED):
            self.taken = self.world.now

    def _granted(self, ends: timedelta | None) -> None:
        self.forever, self.ends = ends is None, self.world.now + (ends or HOUR)
        self.ours = not self.reads
        self.writes += not self.reads
        self.reads = True
        self._move(State.GRANTED)

    @rule(mode=st.sampled_from(list(Mode)))
    def denied(self, mode: Mode) -> None:
        self.number += 1
        self.instance(mode).handle(same(str(self.number)))
        if self.state is None and self.reads:
            return  # nothing to record: the member reads already
        self.denials += 1
        held = self.state is State.REJECTED and self.world.now - self.since < LIMITS.hold_rejections
        if self.reads or held:
            return
        taken = self.taken is not None and self.world.now - self.taken < LIMITS.hold_rejections
        if self.state is State.GRANTED:
            self._move(State.REMOVED)
            taken = True
        if self.state is not State.PROPOSED:
            self._move(State.PROPOSED)
        if mode is Mode.ENFORCE and not taken and self.needed == 1:
            self._granted(None)

    @precondition(lambda self: self.world.ledger.is_counted(str(same("1").entry.key), self.ident))
    @rule()
    def delivered_again(self) -> None:
        assert self.instance(Mode.ENFORCE).handle(same("1")).duplicate

    @precondition(lambda self: self.state is not None)
    @rule(max_duration=st.sampled_from([None, 2 * HOUR]), actor=st.sampled_from([REVIEWER, "bo@example.org"]))
    def approved(self, max_duration: timedelta | None, actor: str) -> None:
        try:
            self.instance().approve(self.ident, actor=actor, max_duration=max_duration)
        except Refused:
            if self.state is State.GRANTED and not self.reads:
                self._move(State.REMOVED)
            elif self.state is State.GRANTED:
                assert max_duration is not None  # a grant's end is not changed by approving it again
            assert self.state is not State.PROPOSED
            return
        assert self.state in (State.PROPOSED, State.GRANTED)
        if self.state is not State.PROPOSED:
            return
        if self.said.get(actor, ...) != max_duration:
            self.since = self.world.now
        self.said[actor] = max_duration
        if len(self.said) >= self.needed:
            self._granted(min((each for each in self.said.values() if each), default=None))

    @precondition(lambda self: self.state is not None)
    @rule()
    def rejected(self) -> None:
        try:
            self.instance().reject(self.ident, actor=REVIEWER, note="no")
        except Refused:
            assert self.state is not State.PROPOSED
            return
        assert self.state in (State.PROPOSED, State.REJECTED)
        if self.state is State.PROPOSED:  # the same word once more is no second rejection
            self._move(State.REJECTED)

    @precondition(lambda self: self.state is not None)
    @rule()
    def revoked(self) -> None:
        try:
            self.instance().revoke(self.ident, actor=REVIEWER, note="over")
        except Refused:
            assert not (self.state is State.GRANTED and self.ours)
            return
        assert self.state is State.GRANTED
        self.writes += self.reads
        self.reads = False
        self._move(State.REVOKED)

    @rule()
    def swept(self) -> None:
        list(self.instance().sweep())
        if self.state is State.PROPOSED and self.world.now - self.since >= LIMITS.lapse_after:
            self._move(State.LAPSED)
        elif self.state is State.GRANTED:
            if self.ours and not self.forever and self.ends <= self.world.now:
                self.writes += self.reads
                self.reads = False
                self._move(State.EXPIRED)
            elif not self.reads:
                self._move(State.REMOVED)

    @rule(hours=st.integers(1, 6))
    def time_passes(self, hours: int) -> None:
        self.world.now += hours * HOUR

    @precondition(lambda self: self.reads)
    @rule()
    def somebody_takes_it_away(self) -> None:
        self.world.registry.policies[SAME_REPOSITORY] = []
        self.reads = False

    @precondition(lambda self: not self.reads)
    @rule()
    def somebody_adds_it(self) -> None:
        from remediate.iam.allow_policy import Binding

        self.world.registry.policies[SAME_REPOSITORY] = [Binding(ROLE, (MEMBER,))]
        self.reads = True

    @invariant()
    def model_and_world_agree(self) -> None:
        record = self.world.ledger.get(self.ident)
        assert (record.state if record else None) == self.state
        assert (record.tally.denials if record else 0) == self.denials
        if record and self.state is State.PROPOSED:
            assert len(record.lifecycle.approvals) == len(self.said)
        assert (MEMBER in self.world.registry.readers(SAME_REPOSITORY)) == self.reads
        assert self.world.registry.writes == self.writes
        if record:
            assert broken_link(record.storage if record else None, list(self.world.ledger.trail(self.ident))) is None


class TwoApprovers(Lifecycle):
    """The same under a rule that wants two approvals."""

    needed = 2


@pytest.mark.slow
@pytest.mark.parametrize("lifecycle", [Lifecycle, TwoApprovers])
@pytest.mark.parametrize("examples", [60])
def test_the_lifecycle_is_the_models_on_sqlite(examples: int, lifecycle: type[Lifecycle]) -> None:
    quiet = settings(max_examples=examples, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lifecycle, settings=quiet)


def test_the_lifecycle_is_the_models_on_firestore(firestore: str) -> None:
    numbers = iter(range(1_000_000))

    class OnFirestore(Lifecycle):
        def open_ledger(self) -> Ledger:
            return open_ledger(firestore.replace("remediate-test", f"remediate-model-{next(numbers)}"))

    quiet = settings(max_examples=10, stateful_step_count=15, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(OnFirestore, settings=quiet)
