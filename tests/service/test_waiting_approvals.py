"""Approvals that wait for their write: what may change meanwhile, and what stops them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from remediate.cloud.interface import EntryKey, RepositoryDescription
from remediate.decisions.policy import BuiltIn, Mode, TextToConfirm
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial
from remediate.errors import Refused, RemediateError, TerminalFault, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import (
    DEPLOYER,
    IMAGE,
    LOGGED,
    OPERATION,
    REPOSITORY,
    activity,
    agent_text,
    call_entry,
    denial,
    last_entry,
    system_event,
    understood,
    user_text,
)
from tests.fakes import MemoryLogs
from tests.service.helpers import (
    ANA,
    BO,
    HOUR,
    MEMBER,
    Registry,
    of_rules,
    same,
    same_entry,
    stored,
    unavailable,
)
from tests.service.world import REVIEWER, SAME_IMAGE, SAME_REPOSITORY, World

ASK_AN_HOUR_OR_OPEN = """rules:
- {name: hour, when: "deploy.project == 'shop-frontend'", then: ask, expires_after: 1h}
- {name: open, when: true, then: ask}
"""
ANA_OR_BO = """rules:
- {name: ana, when: "deploy.project == 'shop-frontend'", then: ask, reviewers: ["user:ana@example.com"]}
- {name: bo, when: true, then: ask, reviewers: ["user:bo@example.org"]}
"""
NEVER_BAD = """rules:
- {name: never, when: "deploy.name == 'bad'", then: refuse}
- {name: open, when: true, then: ask}
"""


def policy(text: str) -> Any:
    found = parse_policy(text, "policy.yaml")
    return lambda: found


def opened(world: World, subject: Denial, **how: Any) -> Remediation:
    record = world.instance(Mode.ENFORCE, **how).handle(subject).remediation
    assert record
    return record


def approved(world: World, record: Remediation, actor: str = REVIEWER, **how: Any) -> Remediation:
    """The record once somebody approved it and Artifact Registry did not answer."""
    duration = how.pop("max_duration", None)
    down = world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=unavailable), **how)
    with pytest.raises(TransientFault):
        down.approve(record.id, actor=actor, max_duration=duration)
    found = stored(world, record)
    assert found.state is State.APPROVED
    return found


def swept(world: World, record: Remediation, **how: Any) -> Remediation:
    list(world.instance(Mode.ENFORCE, **how).sweep())
    return stored(world, record)


def other_deploy(insert_id: str) -> Denial:
    return denial(activity(insert_id=insert_id, project="platform-images", number="210987654321", email=DEPLOYER))


def agents(insert_id: str, image: str = IMAGE) -> dict[str, Any]:
    return activity(agent_text(image), insert_id=insert_id, images=(image,))


# What may change


class Shut(MemoryLogs):
    """A log that the service may not read."""

    def entry(self, key: EntryKey) -> list[bytes]:
        raise TerminalFault(f"entries.list: 403 for {key.insert_id}")


@pytest.mark.parametrize("change", ["log", "deployed", "newcomers"])
def test_an_approval_outlives_a_change_for_the_better(world: World, change: str) -> None:
    how: dict[str, Any] = {}
    if change in ("deployed", "newcomers"):
        how = {"rules": lambda: BuiltIn()}
    logs = world.logs
    if change == "log":
        world.logs = Shut()
    record = approved(world, opened(world, same("1"), **how), **how)
    world.logs = logs
    if change == "deployed":
        world.logs.deployed.add(MEMBER)
    if change == "newcomers":
        world.registry.kinds[SAME_REPOSITORY] = RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", newcomers=True)
    world.now += timedelta(minutes=11)
    assert swept(world, record, **how).state is State.GRANTED


def test_an_approval_for_ever_does_not_outlive_a_rule_that_allows_an_hour(world: World) -> None:
    rules = policy(ASK_AN_HOUR_OR_OPEN)
    record = opened(world, denial(activity(insert_id="1")), rules=rules)
    opened(world, other_deploy("2"), rules=rules)
    record = approved(world, record, rules=rules)
    after = opened(world, denial(activity(insert_id="3")), rules=rules)
    assert (after.id, after.state, world.registry.writes) == (record.id, State.PROPOSED, 0)


def test_a_member_who_had_access_and_lost_it_needs_a_new_approval(world: World) -> None:
    """Approved while the member could read, nothing of ours was to end: written later, it would have no end."""
    rules = of_rules("{name: open, when: true, then: ask}")
    record = opened(world, denial(agents("1")), rules=rules)
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (record.member,)))
    approved(world, record, rules=rules, max_duration=HOUR / 2)
    world.registry.policies[REPOSITORY].pop()
    after = swept(world, record, rules=rules)
    assert (after.state, world.registry.writes) == (State.PROPOSED, 0)


def test_a_member_who_loses_access_while_one_approves_is_not_granted_without_an_end(world: World) -> None:
    record = opened(world, denial(agents("1")))
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (record.member,)))

    def lost(*args: Any, **kwargs: Any) -> Any:
        world.registry.policies[REPOSITORY].pop()
        return world.registry.add_reader(*args, **kwargs)

    service = world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=lost))
    service.approve(record.id, actor=REVIEWER, max_duration=HOUR / 2)
    assert world.registry.writes == 0
    assert swept(world, record).state is State.REMOVED


def test_a_text_that_nobody_confirmed_carries_no_approval(world: World) -> None:
    """One rule asks one person; for the next deploy the policy wants two, and a new text would grant everything."""
    text = """rules:
- {name: careful, when: "deploy.project == 'platform-images'", then: ask, approvals: 2}
- {name: open, when: true, then: ask}
"""
    record = approved(world, opened(world, denial(activity(insert_id="1")), rules=policy(text)), rules=policy(text))
    wide = Unconfirmed(parse_policy("rules:\n- {name: wide, when: true, then: grant}\n", "p"))
    after = opened(world, other_deploy("2"), rules=lambda: wide)
    assert (after.id, after.state, world.registry.writes) == (record.id, State.PROPOSED, 0)


class Unconfirmed:
    """A policy whose text nobody confirmed."""

    to_confirm = TextToConfirm("0" * 64, "rules: []")

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)


def test_a_deployer_whom_the_log_knows_now_needs_no_second_approver(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = system_event()
    event["protoPayload"]["response"]["metadata"]["annotations"] = {"run.googleapis.com/operation-id": OPERATION}
    record = opened(world, denial(event))
    assert record.names.deployers == ()
    call = call_entry(OPERATION, insert_id="call")
    monkeypatch.setitem(LOGGED, "call", call)
    world.logs.operations[OPERATION] = [call]
    approved(world, record)
    after = swept(world, record)
    assert (after.state, after.lifecycle.cycle) == (State.GRANTED, 1)


def test_a_rules_comment_may_be_corrected(world: World) -> None:
    text = "{name: same, when: evidence.same_project, then: grant, because: 'It is%s theirs.'}"
    with pytest.raises(TransientFault):
        opened(world, same("1"), rules=of_rules(text % " not"), registry=Registry(world, add_reader=unavailable))
    [record] = world.records().values()
    assert swept(world, record, rules=of_rules(text % "")).state is State.GRANTED


# What stops them


class Flaky(MemoryLogs):
    """A log that does not answer about some entries."""

    silent: frozenset[str] = frozenset()

    def entries(self, keys: Sequence[EntryKey]) -> dict[EntryKey, list[bytes] | RemediateError]:
        found = super().entries(keys)
        fault = TransientFault("entries.list: 429")
        return {key: fault if key.insert_id in self.silent else found[key] for key in found}


@pytest.mark.parametrize("by_rule", [True, False])
def test_a_call_that_cannot_be_read_for_a_moment_refuses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, by_rule: bool
) -> None:
    call = call_entry(OPERATION, api="v2", insert_id="call", images=(SAME_IMAGE,))
    monkeypatch.setitem(LOGGED, "call", call)
    logs = Flaky(LOGGED.get, operations={OPERATION: [call]})
    world.logs = logs
    entry = denial(last_entry(user_text(SAME_IMAGE), OPERATION, code=7, insert_id="last-1"))
    rules = of_rules(f"{{name: same, when: evidence.same_project, then: {'grant' if by_rule else 'ask'}}}")
    if by_rule:
        with pytest.raises(TransientFault):
            opened(world, entry, rules=rules, registry=Registry(world, add_reader=unavailable))
        [record] = world.records().values()
    else:
        record = approved(world, opened(world, entry, rules=rules), rules=rules)
    logs.silent = frozenset({"call"})
    [fault] = list(world.instance(Mode.ENFORCE, rules=rules).sweep())
    assert "Cloud Logging did not answer" in str(fault.fault)
    logs.silent = frozenset()
    assert swept(world, record, rules=rules).state is State.GRANTED


def test_forged_images_push_no_real_one_out(world: World) -> None:
    record = approved(world, opened(world, denial(agents("1"))))
    down = world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=unavailable))
    for number in range(40):
        forged = understood(agents(f"forged-{number}", IMAGE.replace(":v2", f":x{number}")))
        with pytest.raises(TransientFault):
            down.handle(forged)
    assert swept(world, record).state is State.GRANTED


def test_an_image_that_the_log_confirmed_survives_a_flood_of_forged_ones(world: World) -> None:
    """Real denials of many versions fill the record; then only the log can add one more."""
    for number in range(30):
        opened(world, denial(agents(f"real-{number}", IMAGE.replace(":v2", f":v{number}"))))
    record = opened(world, denial(agents("real-last", IMAGE.replace(":v2", ":last"))))
    for number in range(40):
        world.instance(Mode.ENFORCE).handle(understood(agents(f"forged-{number}", IMAGE.replace(":v2", f":x{number}"))))
    found = stored(world, record)
    assert IMAGE.replace(":v2", ":last") in found.tally.images
    assert world.instance(Mode.ENFORCE).approve(record.id, actor=REVIEWER).written


def test_an_event_that_the_log_does_not_have_refuses_no_approval(world: World) -> None:
    rules = policy(NEVER_BAD)
    record = approved(world, opened(world, denial(agents("1")), rules=rules), rules=rules)
    forged = agents("forged")
    forged["resource"]["labels"]["service_name"] = "bad"
    forged["protoPayload"]["resourceName"] = "namespaces/shop-frontend/services/bad"
    forged["protoPayload"]["request"]["service"]["metadata"]["name"] = "bad"
    world.instance(Mode.ENFORCE, rules=rules).handle(understood(forged))
    assert stored(world, record).state is State.GRANTED  # carried out on the denial that the log has


def test_a_forged_denial_under_the_key_of_another_entry_refuses_no_approval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TransientFault):
        opened(world, same("1"), registry=Registry(world, add_reader=unavailable))
    [record] = world.records().values()
    genuine = activity(insert_id="genuine", email="someone@shop-frontend.iam.gserviceaccount.com")
    monkeypatch.setitem(LOGGED, "genuine", genuine)
    world.instance(Mode.ENFORCE).handle(understood(same_entry("genuine")))
    assert stored(world, record).state is State.GRANTED


def test_two_rules_with_reviewers_of_their_own_leave_somebody_who_may_approve(world: World) -> None:
    rules = policy(ANA_OR_BO)
    record = opened(world, denial(activity(insert_id="1")), rules=rules)
    opened(world, other_deploy("2"), rules=rules)
    opened(world, denial(activity(insert_id="3")), rules=rules)
    service = world.instance(Mode.ENFORCE, rules=rules)
    with pytest.raises(Refused, match="changed since it was proposed"):
        service.approve(record.id, actor=BO)
    assert service.approve(record.id, actor=ANA).written


def test_a_rules_approval_is_carried_out_on_the_denial_in_the_log(world: World) -> None:
    """Not on the record's last denial, which an event may have written that the log does not have."""
    grants = "{name: team, when: \"deploy.name == '%s'\", then: grant}"
    entry = same_entry("1")
    name = entry["protoPayload"]["resourceName"].rpartition("/")[2]
    with pytest.raises(TransientFault):
        opened(world, same("1"), rules=of_rules(grants % name), registry=Registry(world, add_reader=unavailable))
    [record] = world.records().values()
    forged = same_entry("forged")
    forged["resource"]["labels"]["service_name"] = "other"
    forged["protoPayload"]["resourceName"] = "namespaces/shop-frontend/services/other"
    forged["protoPayload"]["request"]["service"]["metadata"]["name"] = "other"
    world.instance(Mode.ENFORCE, rules=of_rules(grants % "other")).handle(understood(forged))
    assert (stored(world, record).state, world.registry.writes) == (State.PROPOSED, 0)


def test_an_approval_is_not_carried_out_once_the_log_has_another_entry(world: World) -> None:
    down = Registry(world, add_reader=unavailable)
    for number in ("1", "2"):
        with pytest.raises(TransientFault):
            opened(world, same(number), registry=down)
    [record] = world.records().values()
    world.logs.written = lambda _: None
    world.now += timedelta(hours=1)
    assert (swept(world, record).state, world.registry.writes) == (State.REFUSED, 0)
    [*_, last] = world.ledger.trail(record.id)
    assert last.note == "entry '2' is not there in the log; entry '1' is not there in the log"


def test_an_approval_is_carried_out_only_where_the_rule_that_decides_now_lets_its_approver_review(world: World) -> None:
    rules = policy(ANA_OR_BO)
    record = opened(world, denial(activity(insert_id="1")), rules=rules)
    opened(world, other_deploy("2"), rules=rules)
    approved(world, record, BO, rules=rules)
    after = opened(world, denial(activity(insert_id="3")), rules=rules)
    assert (after.state, world.registry.writes) == (State.PROPOSED, 0)


# What it costs


def test_a_sweep_reads_all_waiting_approvals_back_in_one_look_up(world: World) -> None:
    for number in range(12):
        found = denial(activity(insert_id=f"b{number}", email=f"d{number}@shop-frontend.iam.gserviceaccount.com"))
        approved(world, opened(world, found))
    before = world.logs.reads
    list(world.instance(Mode.ENFORCE).sweep())
    states = [record.state for record in world.records().values() if "@shop-frontend" in record.member]
    assert states == [State.GRANTED] * 12
    assert world.logs.reads == before + 1


class Late(MemoryLogs):
    """A log that does not have an entry until some time."""

    until: Any = None

    def entries(self, keys: Sequence[EntryKey]) -> dict[EntryKey, list[bytes] | RemediateError]:
        found = super().entries(keys)
        return {key: [] if self.until() else found[key] for key in keys}


def test_a_long_sweep_refuses_no_entry_that_was_young_when_the_log_was_asked(world: World) -> None:
    record = approved(world, opened(world, denial(activity(insert_id="1") | {"timestamp": world.now.isoformat()})))
    start = world.now
    logs = Late(LOGGED.get)
    logs.until = lambda: world.now < start + timedelta(minutes=2)
    world.logs = logs

    def later(*args: Any, **kwargs: Any) -> bool:
        world.now = start + timedelta(minutes=3)  # what comes before takes its time
        return world.registry.has_reader(*args, **kwargs)

    slow = world.instance(Mode.ENFORCE, registry=Registry(world, has_reader=later))
    faults = [each.fault for each in slow.sweep()]
    assert stored(world, record).state is State.APPROVED, faults
    assert swept(world, record).state is State.GRANTED


class FailingOnce(MemoryLogs):
    """A log whose first answer is this fault."""

    fault: Exception | None = None

    def entries(self, keys: Sequence[EntryKey]) -> dict[EntryKey, list[bytes] | RemediateError]:
        fault, self.fault = self.fault, None
        if isinstance(fault, RemediateError):
            return dict.fromkeys(keys, fault)
        if fault is not None:
            raise fault
        return super().entries(keys)


@pytest.mark.parametrize("fault", [ValueError("odd answer"), TransientFault("503")])
def test_a_look_up_for_all_that_fails_stops_nothing_else(world: World, fault: Exception) -> None:
    record = approved(world, opened(world, denial(activity(insert_id="1"))))
    world.logs = FailingOnce(LOGGED.get)
    world.logs.fault = fault
    assert swept(world, record).state is State.GRANTED


def test_a_record_that_is_full_costs_the_denial_of_its_partner_no_look_up(world: World) -> None:
    for number in range(25):
        opened(world, denial(agents(f"real-{number}", IMAGE.replace(":v2", f":v{number}"))))
    before = world.logs.reads
    found = denial(activity(insert_id="deployer"))
    world.instance(Mode.DRY_RUN).handle(found)
    assert world.logs.reads == before
