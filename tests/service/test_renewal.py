"""A grant of the built-in rule that is in use is renewed near its end; whatever is not proven ends when it said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from remediate.decisions.policy import BuiltIn, Mode, Outcome, Rule
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial
from remediate.errors import Refused, TerminalFault, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from remediate.log_lines import trail_line
from remediate.records.notice import NoticeContext, notice_for
from remediate.records.remediation import Remediation
from remediate.records.results import Limits, Swept
from remediate.records.states import State
from remediate.records.steps import became
from remediate.records.trail_verification import broken_trail
from remediate.review.drawing import days, standing
from remediate.times import to_rfc3339
from tests.audit_entries import DEPLOYER, PROJECT, activity, denial, deployed, policy_set, user_text
from tests.fakes import MemoryLogs
from tests.records.changed import with_fields
from tests.service.helpers import same, same_entry
from tests.service.world import NOON, REVIEWER, SAME_IMAGE, SAME_REPOSITORY, World

APP = Repository(PROJECT, "asia-northeast1", "app")
CI = Member(f"serviceAccount:{DEPLOYER}")
DAY = timedelta(days=1)
LIFE = 90 * DAY
READER = "roles/artifactregistry.reader"


LIMITS = Limits(grants_an_hour=1000, grants_to_a_member=1000)


class Timed(BuiltIn):
    """The built-in rule with an end."""

    def judge(self, variables: Mapping[str, object]) -> tuple[Rule, bool]:
        found, sure = super().judge(variables)
        return (replace(found, expires_after=LIFE.total_seconds()) if found.then is Outcome.GRANT else found), sure


TIMED = Timed()


def clear(subject: Denial) -> Denial:
    """The denial with a caller who may deploy, and an image that text and request name alike."""
    return replace(subject, authorized=True, image_confirmed=True)


def granted(world: World, subject: Denial | None = None, **how: Any) -> Remediation:
    """The record of what the built-in rule granted at noon, for ninety days."""
    world.logs.deployed.add(str(CI))
    service = world.instance(Mode.ENFORCE, rules=lambda: TIMED, **how)
    record = service.handle(clear(subject or same()), from_log=True).remediation
    assert record
    assert (record.state, record.lifecycle.expires) == (State.GRANTED, to_rfc3339(world.now + LIFE))
    world.logs.deployed.clear()
    world.logs.reads = 0
    return record


def swept(world: World, mode: Mode = Mode.ENFORCE, **how: Any) -> list[Swept]:
    return list(world.instance(mode, **{"rules": lambda: TIMED, **how}).sweep())


def deploy(world: World, days: float, member: Member = CI, **how: Any) -> None:
    """A deploy so many days after noon that went well."""
    world.logs.log.append(deployed(member, PROJECT, APP, NOON + days * DAY, **how))


def stored(world: World, record: Remediation) -> Remediation:
    found = world.ledger.get(record.id)
    assert found
    return found


def test_a_grant_in_use_is_renewed_near_its_end_with_one_record(world: World) -> None:
    record = granted(world)
    deploy(world, 40)
    world.now = NOON + 75.9 * DAY
    assert swept(world) == []  # its end is farther than two weeks
    world.now = NOON + 76 * DAY
    [done] = swept(world)
    after = stored(world, record)
    assert done == Swept(after, State.GRANTED)
    assert (after.lifecycle.expires, after.state, after.lifecycle.cycle) == (
        to_rfc3339(world.now + LIFE),
        State.GRANTED,
        1,
    )
    assert after.lifecycle.updated == record.lifecycle.updated  # since when it stands
    step = list(world.ledger.trail(record.id))[-1]
    assert (step.before, step.after, step.actor, step.at) == (
        State.GRANTED, State.GRANTED, "rule:same project", to_rfc3339(world.now),
    )  # fmt: skip
    assert (step.outcome, step.policy, became(step)) == (Outcome.GRANT, "built-in", "renewed")
    assert "deployed again at 2027-01-02" in step.note
    assert broken_trail(record.id, after, list(world.ledger.trail(record.id))) is None
    world.check_trail()
    assert world.registry.writes == 1
    assert swept(world) == []  # once


def test_the_next_renewal_takes_a_newer_deploy(world: World) -> None:
    record = granted(world)
    deploy(world, 40)
    world.now = NOON + 80 * DAY
    assert len(swept(world)) == 1
    world.now = NOON + 169 * DAY
    assert swept(world) == []  # the deploy of day 40 was counted
    deploy(world, 100)
    assert len(swept(world)) == 1
    world.now += 90 * DAY
    assert [each.remediation.state for each in swept(world) if each.remediation] == [State.EXPIRED]
    assert world.registry.readers(SAME_REPOSITORY) == []
    assert [each.after for each in world.ledger.trail(record.id)][-4:] == [
        State.GRANTED, State.GRANTED, State.GRANTED, State.EXPIRED,
    ]  # fmt: skip
    world.check_trail()


def test_what_expired_is_granted_anew_on_a_deploy_of_before(world: World) -> None:
    """Our own removal at the end takes no trust away, where the service knows its own accounts, or nobody logged it."""
    granted(world)
    world.now = NOON + LIFE
    swept(world)
    world.logs.deployed.add(str(CI))
    again = denial(same_entry("2") | {"timestamp": to_rfc3339(world.now)})
    assert world.instance(Mode.ENFORCE, rules=lambda: TIMED).handle(clear(again), from_log=True).written


NOT_NEWER: dict[str, Callable[[World], None]] = {
    "nothing": lambda _: None,
    "the deploy that it was granted on": lambda world: deploy(world, -1),
    "an attack: the path as an env value": lambda world: world.logs.log.append(_hidden()),
    "another member's": lambda world: deploy(world, 40, Member("user:bo@example.com")),
    "another project's log": lambda world: world.logs.log.append(
        deployed(CI, PROJECT, APP, NOON + 40 * DAY)
        | {"logName": "projects/x/logs/cloudaudit.googleapis.com%2Factivity"}
    ),
    "a user's log": lambda world: world.logs.log.append(
        deployed(CI, PROJECT, APP, NOON + 40 * DAY)
        | {"logName": f"projects/{PROJECT}/logs/x%2Fcloudaudit.googleapis.com%2Factivity"}
    ),
    "a failed one": lambda world: world.logs.log.append(same_entry("x") | {"timestamp": to_rfc3339(NOON + 40 * DAY)}),
}


def _hidden() -> dict[str, Any]:
    entry = deployed(CI, PROJECT, Repository("x", "us", "hello"), NOON + 40 * DAY)
    [container] = entry["protoPayload"]["request"]["service"]["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "X", "value": SAME_IMAGE}]
    return entry


@pytest.mark.parametrize("happen", NOT_NEWER.values(), ids=NOT_NEWER)
def test_what_proves_no_newer_deploy_renews_nothing(world: World, happen: Callable[[World], None]) -> None:
    record = granted(world)
    happen(world)
    world.now = NOON + 85 * DAY
    assert swept(world) == []
    world.now = NOON + LIFE
    assert [each.remediation.state for each in swept(world) if each.remediation] == [State.EXPIRED]
    assert stored(world, record).state is State.EXPIRED


@pytest.mark.parametrize(
    "how",
    [
        {"mode": Mode.DRY_RUN},
        {"mode": None},
        {"logs": None},
        {
            "rules": lambda: parse_policy(
                "rules: [{name: same project, when: true, then: grant, expires_after: 90d}]", "p"
            )
        },
        {"opt_in_tag": "400000000001/remediate/allowed"},
        {"organization": "999"},
    ],
    ids=["dry-run", "no mode", "no log", "a policy file", "no tag any more", "another organization's"],
)
def test_only_what_the_built_in_rule_would_grant_now_is_renewed(world: World, how: dict[str, Any]) -> None:
    granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    assert swept(world, **how) == []
    assert len(swept(world)) == 1


def test_a_switch_to_dry_run_in_that_place_renews_nothing(world: World) -> None:
    granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    world.instance().switch("folders/421", Mode.DRY_RUN, actor=REVIEWER, note="quiet")
    assert swept(world) == []


def test_a_persons_word_and_a_policy_files_rule_end_when_they_said(world: World) -> None:
    service = world.instance(rules=lambda: TIMED)
    proposed = service.handle(same()).remediation
    assert proposed
    service.approve(proposed.id, actor=REVIEWER, max_duration=LIFE)
    file = parse_policy(
        "rules: [{name: same project, when: evidence.same_project, then: grant, expires_after: 90d}]", "p"
    )
    other = "other@shop-frontend.iam.gserviceaccount.com"
    denied = denial(activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email=other, insert_id="2"))
    assert world.instance(Mode.ENFORCE, rules=lambda: file).handle(clear(denied), from_log=True).written
    deploy(world, 80)
    deploy(world, 80, Member(f"serviceAccount:{other}"))
    world.now = NOON + 85 * DAY
    assert swept(world) == []
    world.now = NOON + LIFE
    assert {each.remediation.state for each in swept(world) if each.remediation} == {State.EXPIRED}


def test_what_somebody_took_away_since_the_deploy_is_not_renewed(world: World) -> None:
    granted(world)
    deploy(world, 40)
    world.logs.log.append(policy_set(f"projects/{PROJECT}", ("REMOVE", "roles/viewer", str(CI)), at=NOON + 50 * DAY))
    world.now = NOON + 85 * DAY
    assert swept(world) == []
    deploy(world, 60, insert_id="unchanged")
    assert swept(world) == []  # an update may have changed nothing
    deploy(world, 61, created=True)
    assert len(swept(world)) == 1  # somebody let it read again: it made a revision since


def test_a_grant_that_somebody_removed_is_removed_and_not_renewed(world: World) -> None:
    granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    world.registry.policies[SAME_REPOSITORY] = []
    assert [each.remediation.state for each in swept(world) if each.remediation] == [State.REMOVED]


class Faulty(MemoryLogs):
    """A log that may not be read, or not just now."""

    fault: Exception

    def deploys(self, *args: Any) -> Iterator[bytes]:
        del args
        raise self.fault


@pytest.mark.parametrize("fault", [TerminalFault("403"), TransientFault("50 log look-ups were made")])
def test_what_cannot_be_looked_up_is_told_and_ends_when_it_said(world: World, fault: Exception) -> None:
    record = granted(world)
    logs = Faulty()
    logs.fault = fault
    world.now = NOON + 85 * DAY
    [told_] = swept(world, logs=logs)
    assert (told_.remediation, told_.ident) == (record, record.id)
    assert told_.fault == f"cannot tell whether to renew it: {fault}"
    assert stored(world, record) == record
    world.now = NOON + LIFE
    assert [each.remediation.state for each in swept(world, logs=logs) if each.remediation] == [State.EXPIRED]


def test_a_grant_whose_trail_is_broken_is_not_renewed_and_the_others_are(world: World) -> None:
    broken, whole = _many(world, 2)
    for member in (broken, whole):
        deploy(world, 80, member, insert_id=str(member))
    [record] = [each for each in world.ledger.find(Filter()) if each.member == str(broken)]
    world.ledger.commit(with_fields(record, max_duration=7.0 * 86400 * 53))  # not what its trail says
    world.now = NOON + 85 * DAY
    fault, done = swept(world)
    assert fault.remediation
    assert fault.remediation.member == str(broken)
    assert "not renewed, because its trail is broken: the remediation's terms" in fault.fault
    assert done.remediation
    assert done.remediation.member == str(whole)


def test_what_is_over_is_not_renewed_any_more(world: World) -> None:
    record = granted(world)
    deploy(world, 80)
    world.now = NOON + LIFE
    assert [each.remediation.state for each in swept(world) if each.remediation] == [State.EXPIRED]
    assert stored(world, record).state is State.EXPIRED


def _many(world: World, members: int, repositories: int = 1) -> list[Member]:
    found = [Member(f"serviceAccount:ci-{number}@shop-frontend.iam.gserviceaccount.com") for number in range(members)]
    images = [f"asia-northeast1-docker.pkg.dev/{PROJECT}/app{number or ''}/web:v2" for number in range(repositories)]
    entries: dict[str, dict[str, Any]] = {}
    world.logs.written = lambda insert_id: entries[insert_id]
    for at, image in enumerate(images):
        world.registry.policies.setdefault(
            f"projects/{PROJECT}/locations/asia-northeast1/repositories/app{at or ''}", []
        )
        for number, member in enumerate(found):
            email, ident = member.id.partition(":")[2], f"{at}-{number}"
            entries[ident] = activity(user_text(image), images=(image,), email=email, insert_id=ident)
            world.logs.deployed.add(str(member))
            service = world.instance(Mode.ENFORCE, rules=lambda: TIMED, limits=LIMITS)
            assert service.handle(clear(denial(entries[ident])), from_log=True).written
    world.logs.deployed.clear()
    world.logs.reads = 0
    return found


def test_a_repository_is_one_look_up_however_many_members(world: World) -> None:
    members = _many(world, 20)
    for number, member in enumerate(members[:10]):
        deploy(world, 40 + number, member, insert_id=str(number))
    world.logs.log.append(policy_set(SAME_REPOSITORY, ("REMOVE", READER, str(members[0])), at=NOON + 41 * DAY))
    world.now = NOON + 85 * DAY
    done = swept(world)
    assert sorted(each.remediation.member for each in done if each.remediation) == sorted(map(str, members[1:10]))
    assert world.logs.reads == 2  # who deployed, and who set the policy


def test_v2_operations_of_many_members_are_joined_in_one_look_up_more(world: World) -> None:
    members = _many(world, 3)
    for number, member in enumerate(members[:2]):
        deploy(world, 40, member, api="v2", insert_id=str(number))
        world.logs.log[-1]["operation"] = {"id": f"op-{number}", "first": True}
        end = json.loads(json.dumps(world.logs.log[-1])) | {"operation": {"id": f"op-{number}", "last": True}}
        end["protoPayload"]["request"] = {}
        if number:
            end["protoPayload"]["status"] = {"code": 13}
        world.logs.log.append(end)
    world.now = NOON + 85 * DAY
    assert [each.remediation.member for each in swept(world) if each.remediation] == [str(members[0])]
    assert world.logs.reads == 3


def test_a_sweep_looks_up_only_so_many_repositories_and_the_next_one_the_others(world: World) -> None:
    [member] = _many(world, 1, repositories=20)
    for number in range(20):
        place = Repository(PROJECT, "asia-northeast1", f"app{number or ''}")
        world.logs.log.append(deployed(member, PROJECT, place, NOON + 40 * DAY, insert_id=str(number)))
    world.now = NOON + 85 * DAY
    assert len(swept(world)) == 15
    assert world.logs.reads == 30
    world.now += timedelta(hours=1)
    assert len(swept(world)) == 5


def test_repositories_that_nobody_deploys_from_keep_no_other_from_its_turn(world: World) -> None:
    [member] = _many(world, 1, repositories=32)
    place = Repository(PROJECT, "asia-northeast1", "app31")
    world.logs.log.append(deployed(member, PROJECT, place, NOON + 40 * DAY))
    world.now = NOON + 85 * DAY
    renewed = []
    for _ in range(4):
        renewed += swept(world)
        world.now += timedelta(hours=1)
    assert [each.remediation.repository for each in renewed if each.remediation] == [str(place)]


# What else knows of it


def test_nobody_is_told_and_it_is_neither_a_grant_nor_an_end(world: World) -> None:
    record = granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    swept(world)
    steps = list(world.ledger.trail(record.id))
    after = stored(world, record)
    assert notice_for(after, steps[-1:], NoticeContext(), world.ledger.get) is None
    line = standing(world.now, 1, steps[::-1])
    [day] = days(line, steps[::-1])
    assert (day.granted, day.ended) == (1, 0)
    assert trail_line(steps[-1])[0] == f"{record.id}: granted -> renewed by rule:same project"


# Beside others


class Beside:
    """A ledger beside which something happens, once, just before its n-th commit."""

    def __init__(self, world: World, number: int, happen: Callable[[], object]) -> None:
        self._ledger, self._left, self._happen = world.ledger, number, happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def commit(self, record: Remediation, **rest: Any) -> Remediation:
        self._left -= 1
        if self._left == 0:
            self._happen()
        return self._ledger.commit(record, **rest)


def test_a_revocation_just_before_a_renewal_stands(world: World) -> None:
    record = granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    beside = Beside(world, 1, lambda: world.instance().revoke(record.id, actor=REVIEWER, note="left"))
    assert swept(world, ledger=beside) == []
    assert (stored(world, record).state, world.registry.readers(SAME_REPOSITORY)) == (State.REVOKED, [])
    world.check_trail()


def test_a_renewal_just_before_a_revocation_is_revoked(world: World) -> None:
    record = granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    beside = Beside(world, 1, lambda: swept(world))
    world.instance(ledger=beside).revoke(record.id, actor=REVIEWER, note="left")
    assert [each.after for each in world.ledger.trail(record.id)][-2:] == [State.GRANTED, State.REVOKED]
    assert world.registry.readers(SAME_REPOSITORY) == []
    world.check_trail()


def test_a_renewal_just_before_the_end_is_announced_calls_the_end_off(world: World) -> None:
    record = granted(world)
    deploy(world, 80)

    def renewed_by_another() -> None:
        world.now -= timedelta(seconds=1)
        assert len(swept(world)) == 1

    world.now = NOON + LIFE
    assert swept(world, ledger=Beside(world, 1, renewed_by_another)) == []
    assert stored(world, record).state is State.GRANTED
    assert world.registry.readers(SAME_REPOSITORY) == [str(CI)]
    world.check_trail()


def test_two_sweeps_renew_once(world: World) -> None:
    record = granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY
    assert swept(world, ledger=Beside(world, 1, lambda: swept(world))) == []
    assert stored(world, record).storage.trail == 4
    world.check_trail()


@pytest.mark.parametrize("turn", range(5))
def test_renewals_beside_a_revocation_lose_nothing(tmp_path: Path, turn: int) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    world = World(open_ledger(url))
    record = granted(world)
    deploy(world, 80)
    world.now = NOON + 85 * DAY

    def revoke() -> object:
        with_own = world.instance(ledger=open_ledger(url))
        return with_own.revoke(record.id, actor=REVIEWER, note=f"turn {turn}")

    acts: list[Callable[[], object]] = [lambda: swept(world, ledger=open_ledger(url)), revoke] * 2
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(act) for act in acts]:
            with suppress(Refused):  # revoked already
                each.result()
    trail = [step.after for step in world.ledger.trail(record.id)]
    assert trail[-1] is State.REVOKED
    assert trail.count(State.REVOKED) == 1
    assert trail.count(State.GRANTED) in (1, 2)
    assert world.registry.readers(SAME_REPOSITORY) == []
    world.check_trail()


class Grants(RuleBasedStateMachine):
    """One grant of the built-in rule over years, against a model of a few lines."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(open_ledger(f"sqlite:///{Path(mkdtemp()) / 'ledger.db'}"))
        self.record = granted(self.world)
        self.state, self.ends, self.since = State.GRANTED, NOON + LIFE, NOON
        self.deployed: datetime | None = None
        self.taken: datetime | None = None
        self.renewals = 0

    @rule(days=st.sampled_from([1, 5, 14, 30, 80]))
    def time_passes(self, days: int) -> None:
        self.world.now += days * DAY

    @rule(proven=st.booleans())
    def deploys(self, proven: bool) -> None:
        self.world.now += timedelta(hours=1)
        at = self.world.now - timedelta(minutes=1)
        entry = deployed(CI, PROJECT, APP, at)
        if proven:
            self.deployed = at
        else:
            entry["protoPayload"]["status"] = {"code": 7}
        self.world.logs.log.append(entry)

    @rule()
    def the_project_takes_it_away(self) -> None:
        self.world.now += timedelta(hours=1)
        at = self.taken = self.world.now - timedelta(minutes=1)
        change = policy_set(f"projects/{PROJECT}", ("REMOVE", "roles/viewer", str(CI)), at=at)
        self.world.logs.log.append(change)

    @precondition(lambda self: self.state is State.GRANTED)
    @rule()
    def revoked(self) -> None:
        self.world.instance().revoke(self.record.id, actor=REVIEWER, note="over")
        self.state = State.REVOKED

    @precondition(lambda self: self.state is State.GRANTED)
    @rule()
    def somebody_removes_it(self) -> None:
        self.world.registry.policies[SAME_REPOSITORY] = []

    @rule(mode=st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.DRY_RUN]))
    def sweeps(self, mode: Mode) -> None:
        swept(self.world, mode)
        now = self.world.now
        if self.state is not State.GRANTED:
            return
        if self.ends <= now:
            self.state = State.EXPIRED
        elif not self.world.registry.readers(SAME_REPOSITORY):
            self.state = State.REMOVED
        elif (
            mode is Mode.ENFORCE
            and self.ends - now <= 14 * DAY
            and self.deployed
            and self.deployed > self.since
            and (self.taken is None or self.taken < self.deployed)
        ):
            self.ends, self.since = now + LIFE, now
            self.renewals += 1

    @invariant()
    def model_and_world_agree(self) -> None:
        record = stored(self.world, self.record)
        assert (record.state, record.lifecycle.expires) == (self.state, to_rfc3339(self.ends))
        trail = list(self.world.ledger.trail(record.id))
        assert broken_trail(record.id, record, trail) is None
        assert sum(became(step) == "renewed" for step in trail) == self.renewals
        self.world.check_trail()


@pytest.mark.slow
def test_the_life_of_a_grant_is_the_models() -> None:
    quiet = settings(max_examples=40, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Grants, settings=quiet)


def test_an_old_record_is_read_and_renewed_as_any(world: World) -> None:
    record = granted(world)
    assert [each.id for each in world.ledger.find(Filter(states=(State.GRANTED,)))] == [record.id]
    deploy(world, 80)
    world.registry.policies[SAME_REPOSITORY].append(Binding(ROLE, ("user:ana@example.com",)))
    world.now = NOON + 85 * DAY
    assert len(swept(world)) == 1
    world.instance().revoke(record.id, actor=REVIEWER, note="over")
    assert world.registry.readers(SAME_REPOSITORY) == ["user:ana@example.com"]
