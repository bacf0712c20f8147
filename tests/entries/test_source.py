"""The source of an entry: the two exact names of Google's audit logs are one, and no other name is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.decisions.policy import Mode, Outcome, decide
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial, NotADenial
from remediate.entries.source import Log, Source, source_of
from remediate.reasons import Reason
from tests.audit_entries import (
    AGENT,
    NUMBER,
    OPERATION,
    PROJECT,
    activity,
    agent_text,
    denial,
    last_entry,
    system_event,
    understood,
)
from tests.forged import ACTIVITY, FORGED, LOGS
from tests.service.helpers import same_entry
from tests.service.world import SAME_IMAGE, World


@pytest.mark.parametrize("name", [*FORGED, None])
def test_no_other_name_is_a_source(name: str | None) -> None:
    assert source_of(name) is None


@pytest.mark.parametrize("project", ["deploy-prj", "123456789012", "example.com:shop"])
@pytest.mark.parametrize("log", Log)
def test_the_two_exact_names_are(log: Log, project: str) -> None:
    source = source_of(f"projects/{project}/logs/{log.value.replace('/', '%2F')}")
    assert source == Source(log, project)
    assert source_of(source.name) == source


@given(st.text() | st.text(max_size=4).map(lambda text: f"{LOGS}/{text}{ACTIVITY}"), st.text(max_size=4))
def test_a_name_is_a_source_only_as_google_writes_it(name: str, tail: str) -> None:
    source = source_of(name + tail)
    assert source is None or source.name == name + tail


@pytest.mark.parametrize(
    ("log_project", "project", "number", "contradicts"),
    [
        ("deploy-prj", "deploy-prj", "1", False),
        ("deploy-prj", "other", "1", True),
        ("deploy-prj", None, "1", False),
        ("1", "deploy-prj", "1", False),
        ("1", "deploy-prj", "2", True),
        ("1", "deploy-prj", None, False),
    ],
)
def test_a_project_contradicts_another_of_the_same_kind_of_spelling(
    log_project: str, project: str | None, number: str | None, contradicts: bool
) -> None:
    assert Source(Log.ACTIVITY, log_project).contradicts(project, number) is contradicts


EVERYTHING = parse_policy("rules:\n  - {name: all, when: 'true', then: grant}\n", "all.yaml")
DENIALS = (same_entry(), activity(), system_event(), last_entry(agent_text(), OPERATION))


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("entry", DENIALS)
def test_a_denial_from_any_other_log_is_ignored(entry: dict[str, Any], name: str) -> None:
    found = understood(entry | {"logName": name})
    assert isinstance(found, NotADenial)
    assert found.reason is Reason.OTHER_LOG
    assert decide(found, rules=EVERYTHING).outcome is Outcome.IGNORE


_NAMES = st.one_of(
    st.text(),
    st.builds(
        lambda *parts: "".join(parts),
        st.sampled_from(["projects/", "folders/", "organizations/", "Projects/", "/projects/", ""]),
        st.sampled_from([PROJECT, NUMBER, "other", "1", f"{PROJECT}\n", "x/y", ""]),
        st.sampled_from(["/logs/", "/logs/x%2F", "/logs", "/logs/x-", "/logs//"]),
        st.sampled_from(["cloudaudit.googleapis.com", "CloudAudit.googleapis.com", "x.cloudaudit.googleapis.com"]),
        st.sampled_from(["%2F", "%2f", "/", "%252F", ".", ""]),
        st.sampled_from(["activity", "system_event", "data_access", "policy", "Activity", "activity2"]),
        st.sampled_from(["", "\n", " ", "%00", "%2F", "/"]),
    ),
)


@given(_NAMES, st.sampled_from(DENIALS), st.booleans())
def test_whatever_the_policy_an_entry_is_granted_only_from_the_deploying_projects_log(
    name: str, entry: dict[str, Any], labelled: bool
) -> None:
    exact = [f"projects/{PROJECT}/logs/{log.encoded}" for log in Log]
    forged = entry | {"logName": name} | ({} if labelled else {"resource": {}})
    found = understood(forged)
    if isinstance(found, Denial):
        source = source_of(name)
        assert source is not None
        assert source.name == name
        assert not labelled or name in exact or Reason.SOURCE_UNKNOWN in found.doubts
        found = replace(found, authorized=True)
    if decide(found, rules=EVERYTHING).outcome is Outcome.GRANT:
        assert source_of(name) is not None
        assert name in exact or not labelled


@pytest.mark.parametrize("entry", DENIALS)
def test_a_pasted_entry_without_a_log_name_is_asked_at_most(entry: dict[str, Any]) -> None:
    pasted = {name: value for name, value in entry.items() if name != "logName"}
    found = denial(pasted)
    assert Reason.SOURCE_UNKNOWN in found.doubts
    assert decide(replace(found, authorized=True), rules=EVERYTHING).outcome is Outcome.ASK


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", FORGED)
def test_the_service_records_and_grants_nothing_on_a_forged_log(world: World, mode: Mode, name: str) -> None:
    forged = same_entry() | {"logName": name}
    world.logs.written = lambda _: forged  # it is in the log: the attacker wrote it there
    service = world.instance(mode, rules=lambda: EVERYTHING)
    assert service.handle(understood(forged)).decision.reasons == (Reason.OTHER_LOG,)
    assert list(service.pick_up([json.dumps(forged).encode()])) == []  # what a sweep reads from the logs
    assert (world.records(), world.registry.writes) == ({}, 0)


def test_an_entry_without_a_log_name_is_asked_by_the_service(world: World) -> None:
    pasted = same_entry()
    del pasted["logName"]
    handled = world.instance(Mode.ENFORCE, rules=lambda: EVERYTHING).handle(denial(pasted), from_log=True)
    assert handled.decision.outcome is Outcome.ASK
    assert Reason.SOURCE_UNKNOWN in handled.decision.reasons


def _labelled(project: str, log_project: str) -> dict[str, Any]:
    entry = same_entry()
    entry["resource"]["labels"]["project_id"] = project
    entry["logName"] = f"projects/{log_project}/logs/{ACTIVITY}"
    return entry


@pytest.mark.parametrize(
    ("label", "log_project", "outcome"),
    [
        (PROJECT, PROJECT, Outcome.GRANT),
        (PROJECT, NUMBER, Outcome.GRANT),  # one project, by Resource Manager
        (NUMBER, PROJECT, Outcome.GRANT),
        (NUMBER, NUMBER, Outcome.GRANT),
        (PROJECT, "platform-images", Outcome.IGNORE),
        (PROJECT, "210987654321", Outcome.IGNORE),
        (NUMBER, "platform-images", Outcome.IGNORE),
        (NUMBER, "210987654321", Outcome.IGNORE),
        ("not a project", PROJECT, Outcome.IGNORE),
    ],
)
def test_the_log_is_the_deploying_projects_own(world: World, label: str, log_project: str, outcome: Outcome) -> None:
    entry = _labelled(label, log_project)
    world.logs.written = lambda _: entry
    handled = world.instance(Mode.ENFORCE).handle(understood(entry))
    assert handled.decision.outcome is outcome
    assert (world.registry.writes == 1) is (outcome is Outcome.GRANT)
    if outcome is Outcome.IGNORE:
        assert handled.decision.reasons == (Reason.OTHER_LOG,)
        assert world.records() == {}


@pytest.mark.parametrize(("label", "log_project"), [("unseen-prj", "777"), ("777", "unseen-prj")])
def test_a_project_that_cannot_be_looked_up_proves_nothing(world: World, label: str, log_project: str) -> None:
    found = understood(_labelled(label, log_project))
    assert isinstance(found, Denial)
    assert Reason.SOURCE_UNKNOWN in found.doubts
    assert world.instance(Mode.ENFORCE, rules=lambda: EVERYTHING).handle(found).decision.outcome is Outcome.ASK


def test_a_number_that_the_caller_typed_names_nobodys_agent(world: World) -> None:
    entry = activity(number="800000000002")
    world.instance().handle(denial(entry))
    assert {member for member in world.records() if "serverless-robot" in member} == {f"serviceAccount:{AGENT}"}


def test_a_name_that_the_caller_typed_is_never_the_deploying_project() -> None:
    entry = same_entry()
    del entry["resource"]["labels"]["project_id"]
    entry["logName"] = f"projects/sandbox-mallory/logs/{ACTIVITY}"
    entry["protoPayload"]["request"]["parent"] = f"projects/{PROJECT}/locations/us"
    found = denial(entry)
    assert (found.deploy.project, found.deploy.number) == ("sandbox-mallory", None)
    assert Reason.PROJECT_MISMATCH in found.doubts  # the resource name says otherwise
    del entry["protoPayload"]["resourceName"]
    assert denial(entry).deploy.project == "sandbox-mallory"


def test_an_answer_with_another_number_than_resource_manager_is_a_doubt(world: World) -> None:
    event = system_event(agent_text(SAME_IMAGE, agent=None), images=(SAME_IMAGE,), number="999")
    handled = world.instance(Mode.ENFORCE, rules=lambda: EVERYTHING).handle(denial(event), from_log=True)
    assert handled.decision.outcome is Outcome.ASK
    assert {Reason.PROJECT_MISMATCH, Reason.MEMBER_MISMATCH} <= set(handled.decision.reasons)


def test_the_agent_is_known_by_resource_manager_where_the_entry_has_no_number(world: World) -> None:
    event = system_event(agent_text(SAME_IMAGE, agent=None), images=(SAME_IMAGE,), number=None)
    assert denial(event).member is None
    handled = world.instance().handle(denial(event))
    assert isinstance(handled.subject, Denial)
    assert str(handled.subject.member) == f"serviceAccount:{AGENT}"
    assert Reason.PROJECT_NUMBER_UNKNOWN not in handled.decision.reasons
