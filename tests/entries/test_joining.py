"""A system event, and the last entry of an operation, are joined with their call: in the log and in an export."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.plan import Plan, Report
from remediate.decisions.policy import Mode, Outcome
from remediate.entries import pairing
from remediate.entries.denial import Denial, Reader
from remediate.entries.joining import call_of, join_call
from remediate.entries.log_entry import read_entry
from remediate.errors import Refused, TransientFault
from remediate.reasons import Reason
from remediate.times import to_rfc3339
from tests.audit_entries import (
    AGENT,
    DEPLOYER,
    OPERATION,
    PROJECT,
    REPOSITORY,
    activity,
    agent_text,
    bare_text,
    call_entry,
    denial,
    last_entry,
    operation_of,
    system_event,
    understood,
    user_text,
)
from tests.forged import FORGED
from tests.service.world import SAME_IMAGE, World

FIELD = Path(__file__).parents[3] / "shared" / "corpus" / "field"
NOTED = {"run.googleapis.com/operation-id": OPERATION}
ANNOTATED = NOTED | {"serving.knative.dev/creator": DEPLOYER}
ANA, CI = "user:ana@example.com", f"serviceAccount:{DEPLOYER}"
DELEGATED = [{"principalSubject": ANA, "firstPartyPrincipal": {"principalEmail": "ana@example.com"}}]


def impersonated(operation: str = OPERATION, **more: Any) -> dict[str, Any]:
    """Ana deploys as the service account."""
    entry = call_entry(operation, insert_id="call", **more)
    entry["protoPayload"]["authenticationInfo"]["serviceAccountDelegationInfo"] = DELEGATED
    return entry


def with_calls(found: Denial, *entries: dict[str, Any]) -> Denial:
    calls = [call_of(read_entry(json.dumps(each).encode())) for each in entries]
    return join_call(found, [call for call in calls if call])


@pytest.mark.parametrize("annotations", [NOTED, ANNOTATED])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_nobody_approves_what_they_deployed_as_somebody_else(
    world: World, annotations: dict[str, str], api: str
) -> None:
    world.logs.operations[OPERATION] = [impersonated(api=api)]
    handled = world.instance().handle(denial(system_event(annotations=annotations)))
    assert isinstance(handled.subject, Denial)
    assert (str(handled.subject.deployer), handled.subject.authorized) == (CI, True)
    assert handled.subject.call
    assert handled.subject.call.insert_id == "call"
    assert handled.remediation
    assert set(handled.remediation.names.deployers) == {ANA, CI}
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(handled.remediation.id, actor="ana@example.com")


@pytest.mark.parametrize("email", [DEPLOYER, None])
def test_the_last_entry_of_an_operation_is_joined_with_the_first(world: World, email: str | None) -> None:
    last = last_entry(agent_text(), OPERATION)
    if email:
        last["protoPayload"]["authenticationInfo"] = {"principalEmail": email}
    world.logs.operations[OPERATION] = [impersonated(api="v2"), last]
    found = world.instance().handle(denial(last)).subject
    assert isinstance(found, Denial)
    assert (str(found.deployer), found.authorized, found.call and found.call.insert_id) == (CI, True, "call")
    assert ANA in map(str, found.behind)


def test_the_denied_deployer_of_an_operations_end_is_the_caller_of_its_first_entry() -> None:
    found = denial(last_entry(bare_text(), OPERATION, code=7))
    assert (found.member, found.doubts, found.authorized) == (None, (Reason.MEMBER_UNKNOWN,), None)
    known = with_calls(found, call_entry(OPERATION, api="v2"))
    assert (str(known.member), str(known.deployer), known.doubts, known.authorized) == (CI, CI, (), True)
    refused = with_calls(found, call_entry(OPERATION, api="v2", granted=False))
    assert (str(refused.member), refused.authorized) == (CI, False)


def test_the_call_outweighs_an_annotation_whose_person_is_kept_from_approving_too() -> None:
    noted = NOTED | {"serving.knative.dev/lastModifier": "bo@example.com"}
    agent = with_calls(denial(system_event(annotations=noted)), impersonated())
    assert (str(agent.deployer), agent.doubts) == (CI, ())
    assert {*map(str, agent.behind)} == {CI, ANA, "user:bo@example.com"}
    event = system_event(user_text(), annotations=noted)
    assert str(denial(event).member) == "user:bo@example.com"
    denied = with_calls(denial(event), impersonated())
    assert (denied.reader, str(denied.member), denied.doubts) == (Reader.DEPLOYER, CI, (Reason.MEMBER_MISMATCH,))


def _typed(**metadata: Any) -> dict[str, Any]:
    """Another deploy, whose request repeats the operation: clients send back what they read."""
    entry = call_entry("another-operation", "mallory@example.com", insert_id="typed")
    entry["protoPayload"]["request"]["service"]["metadata"] |= {"annotations": NOTED} | metadata
    entry["protoPayload"]["request"]["service"]["spec"]["template"]["env"] = OPERATION
    return entry


def _of(project: str) -> dict[str, Any]:
    return call_entry(OPERATION, "mallory@example.com", project=project)


def _without_caller() -> dict[str, Any]:
    entry = call_entry(OPERATION)
    del entry["protoPayload"]["authenticationInfo"]
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        _typed(),
        _of("platform-images"),
        _of("platform-images") | {"logName": f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Factivity"},
        call_entry(OPERATION) | {"logName": f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Fsystem_event"},
        *(call_entry(OPERATION, "mallory@example.com") | {"logName": name} for name in FORGED),
        {name: value for name, value in call_entry(OPERATION).items() if name != "logName"},
        call_entry(OPERATION, None),
        call_entry(OPERATION, "allUsers"),
        _without_caller(),
        call_entry(OPERATION) | {"protoPayload": {"serviceName": "other.googleapis.com"}},
        call_entry("another-operation"),
        {"textPayload": OPERATION},
    ],
)
def test_what_is_not_the_call_of_the_deploying_projects_log_names_nobody(entry: dict[str, Any]) -> None:
    found = denial(system_event(annotations=NOTED))
    assert with_calls(found, entry) == found


def test_several_callers_of_one_operation_are_all_kept_from_approving() -> None:
    found = with_calls(denial(system_event(annotations=NOTED)), impersonated(), call_entry(OPERATION, "bo@example.com"))
    assert (found.deployer, found.call, found.authorized) == (None, None, None)
    assert {*map(str, found.behind)} == {CI, ANA, "user:bo@example.com"}


def test_a_log_line_that_cannot_be_read_hides_no_call(world: World) -> None:
    world.logs.operations[OPERATION] = [{"protoPayload": 5}, impersonated()]
    found = world.instance().handle(denial(system_event(annotations=NOTED))).subject
    assert isinstance(found, Denial)
    assert str(found.deployer) == CI


def test_a_call_that_the_log_does_not_have_yet_is_waited_for(world: World) -> None:
    event = system_event(annotations=ANNOTATED)
    event["timestamp"] = to_rfc3339(world.now - timedelta(seconds=30))
    with pytest.raises(TransientFault, match="does not have this operation's call yet"):
        world.instance().handle(denial(event))
    assert world.records() == {}
    world.logs.operations[OPERATION] = [impersonated()]
    record = world.instance().handle(denial(event)).remediation
    assert record
    assert ANA in record.names.deployers
    world.logs.operations.clear()
    event |= {"insertId": "later", "timestamp": to_rfc3339(world.now - timedelta(minutes=3))}
    assert world.instance().handle(denial(event)).decision.outcome is Outcome.ASK


def test_a_rule_grants_the_agent_only_where_the_call_was_authorized(world: World) -> None:
    event = system_event(agent_text(SAME_IMAGE), images=(SAME_IMAGE,), annotations=ANNOTATED)
    world.logs.written = lambda _: event
    for granted, outcome in ((False, Outcome.ASK), (None, Outcome.ASK), (True, Outcome.GRANT)):
        world.logs.operations[OPERATION] = [call_entry(OPERATION, granted=granted)]
        event["insertId"] = f"event-{granted}"
        assert world.instance(Mode.ENFORCE).handle(denial(event)).decision.outcome is outcome
    assert world.registry.writes == 1


def planned(*entries: dict[str, Any]) -> Report:
    plan = Plan()
    for entry in entries:
        plan.add(understood(entry), call_of(read_entry(json.dumps(entry).encode())))
    return plan.report()


ENTRIES = (
    impersonated(api="v2") | {"operation": operation_of("one", "first")},
    last_entry(bare_text(), "one", code=7, insert_id="deployer"),
    impersonated("operation-two"),
    system_event(annotations={"run.googleapis.com/operation-id": "operation-two"}),
    activity(insert_id="other", email="bo@example.com"),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(ENTRIES)))))
def test_an_export_is_joined_in_any_order(order: tuple[int, ...]) -> None:
    entries = [ENTRIES[place] for place in order]
    report = planned(*entries)
    assert [each.insert_id for each in report.entries] == [each["insertId"] for each in entries]
    found = {each.insert_id: each for each in report.entries}
    assert (found["deployer"].member, found["deployer"].reasons) == (CI, (Reason.CROSS_PROJECT,))
    assert (found["sys123"].member, found["sys123"].reasons) == (f"serviceAccount:{AGENT}", (Reason.CROSS_PROJECT,))
    assert {(each.member, each.denials) for each in report.grants} == {
        (CI, 1),
        (f"serviceAccount:{AGENT}", 1),
        ("user:bo@example.com", 1),
    }
    assert {each.repository for each in report.grants} == {REPOSITORY}


def test_an_export_without_the_call_leaves_a_question() -> None:
    [entry] = planned(last_entry(bare_text(), "one", code=7)).entries
    assert (entry.outcome, entry.member) == (Outcome.ASK, None)
    assert set(entry.reasons) == {Reason.MEMBER_UNKNOWN, Reason.CROSS_PROJECT, Reason.UNAUTHORIZED_CALLER}


def test_only_calls_that_a_denial_waits_for_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "_RECENT", 3)
    kept, call = pairing.Pairing(), call_of(read_entry(json.dumps(impersonated()).encode()))
    assert call
    waiting = denial(system_event(annotations=NOTED))
    kept.want(OPERATION)
    for number in range(100):
        kept.note(replace(call, operations=(f"operation {number}",)))
        kept.note(call)
    assert len(kept._recent) == 3
    assert len(kept._wanted[OPERATION]) == 20
    assert str(kept.join(waiting).deployer) == CI


@pytest.mark.skipif(not FIELD.is_dir(), reason="the corpus of published texts is not beside this checkout")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("who", ["agent", "deployer"])
def test_a_published_pair_is_one_denial_with_its_caller(who: str, turned: bool) -> None:
    file = f"operation-pair-{who}-denied-in-last.json"
    [expected] = [each for each in json.loads((FIELD / "expected.json").read_text()) if each["file"] == file]
    entries = json.loads((FIELD / file).read_text())["entries"]
    report = planned(*(reversed(entries) if turned else entries))
    [found] = [each for each in report.entries if each.outcome is not Outcome.IGNORE]
    names = ("outcome", "reader", "member", "repository")
    assert [getattr(found, name) for name in names] == [expected[name] for name in names]


def test_everybody_whom_notes_name_is_barred_and_a_revisions_creator_counts_as_its_deployer() -> None:
    notes = {"serving.knative.dev/creator": "mallory@example.com", "serving.knative.dev/lastModifier": DEPLOYER}
    found = denial(system_event(annotations=notes))
    assert str(found.deployer) == "user:mallory@example.com"
    assert {str(each) for each in found.behind} == {"user:mallory@example.com", CI}


def test_an_outsiders_deploy_is_no_reason_to_grant_to_our_agent(world: World) -> None:
    world.registry.policies.setdefault("projects/shop-frontend/locations/asia-northeast1/repositories/app", [])
    logged: dict[str, dict[str, Any]] = {}
    world.logs.written = logged.get
    for email, inside in (("mallory@gmail.com", False), ("ana@example.com", True)):
        entry = logged[email] = activity(agent_text(SAME_IMAGE), images=(SAME_IMAGE,), email=email, insert_id=email)
        decision = world.instance(Mode.ENFORCE).handle(denial(entry)).decision
        assert (decision.outcome is Outcome.GRANT) is inside, decision
