"""What is learnt about a denial, what it comes to, and what is left unknown; each with its effect on the decision."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.cloud.interface import RepositoryDescription
from remediate.decisions.policy import Mode, Outcome
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial, EntryId
from remediate.errors import BehindPerimeter, Refused, TerminalFault, TransientFault
from remediate.iam.access import can_read, predefined_readers
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.iam.member import Member
from remediate.ledger.interface import Filter
from remediate.reasons import Reason
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.service.evidence import entry_key
from tests.audit_entries import (
    AGENT,
    DEPLOYER,
    IMAGE,
    OPERATION,
    PROJECT,
    REPOSITORY,
    activity,
    bare_text,
    call_entry,
    denial,
    system_event,
    user_text,
)
from tests.fakes import MemoryLogs
from tests.service.helpers import cross, same, same_entry
from tests.service.world import REVIEWER, SAME_IMAGE, SAME_REPOSITORY, World

MEMBER = Member(f"serviceAccount:{DEPLOYER}")
WRITER = "roles/artifactregistry.writer"
CUSTOM = "projects/platform-images/roles/imageReader"


def binding(role: str, *members: str, conditional: bool = False) -> Binding:
    return Binding(role, members, conditional)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([[]], False),
        ([[binding(WRITER, MEMBER.id)]], True),
        ([[binding(WRITER, MEMBER.id.upper().replace("SERVICEACCOUNT", "serviceAccount"))]], True),
        ([[], [binding("roles/viewer", MEMBER.id)]], True),
        ([[], None, [binding("roles/owner", MEMBER.id)]], True),
        ([[binding("roles/run.developer", MEMBER.id)]], False),
        ([[binding("roles/unheard.of", MEMBER.id)]], False),
        ([[binding(WRITER, "user:ana@example.com")]], False),
        ([[binding(WRITER, "allUsers")]], True),
        ([[binding(WRITER, "allAuthenticatedUsers")]], True),
        ([[binding(WRITER, MEMBER.id, conditional=True)]], None),
        ([[binding(WRITER, MEMBER.id, conditional=True), binding(WRITER, MEMBER.id)]], True),
        ([[binding(WRITER, "group:all@example.com")]], None),
        ([[binding("roles/run.developer", "group:all@example.com")]], False),
        ([[binding("roles/viewer", "projectViewer:shop")]], None),
        ([[binding(CUSTOM, MEMBER.id)]], True),
        ([[binding("projects/p/roles/other", MEMBER.id)]], False),
        ([[binding("projects/p/roles/hidden", MEMBER.id)]], None),
        ([[binding("projects/p/roles/hidden", "user:ana@example.com")]], False),
        ([[], None], None),
        ([[binding(WRITER, "deleted:" + MEMBER.id + "?uid=1")]], False),
    ],
)
def test_access_is_told_by_the_policies_alone_or_not_at_all(levels: list[Any], expected: bool | None) -> None:
    roles = {CUSTOM: True, "projects/p/roles/other": False}
    assert can_read(levels, MEMBER, roles.get) is expected


def test_the_shipped_roles_are_those_of_the_published_list() -> None:
    assert len(predefined_readers()) == 57
    assert {ROLE, "roles/viewer", "roles/run.serviceAgent"} <= predefined_readers()
    assert not {"roles/run.admin", "roles/run.developer"} & predefined_readers()


def enforce(world: World, denied: Denial, **replaced: Any) -> Any:
    return world.instance(Mode.ENFORCE, **replaced).handle(denied)


@pytest.mark.parametrize("scope", ["projects/shop-frontend", "folders/421", "organizations/400000000001"])
def test_who_reads_it_from_further_up_gets_no_grant(world: World, scope: str) -> None:
    world.projects.policies[scope] = [binding("roles/viewer", MEMBER.id)]
    handled = enforce(world, same())
    assert (handled.decision.outcome, handled.decision.reasons) == (Outcome.IGNORE, (Reason.INHERITED,))
    assert world.registry.writes == 0


def test_a_custom_role_is_looked_up_and_a_group_is_left_unknown(world: World) -> None:
    world.projects.policies["projects/shop-frontend"] = [binding(CUSTOM, MEMBER.id)]
    world.roles.roles[CUSTOM] = True
    assert enforce(world, same("1")).decision.reasons == (Reason.INHERITED,)
    world.roles.roles[CUSTOM] = False
    world.projects.policies["folders/421"] = [binding("roles/viewer", "group:everybody@example.com")]
    assert enforce(world, same("2")).written


@pytest.mark.parametrize("fault", [TerminalFault("403"), TransientFault("503")])
def test_a_policy_that_cannot_be_read_is_unknown_and_stops_nothing(world: World, fault: Exception) -> None:
    class Hidden:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.projects, name)

        def bindings(self, scope: str) -> None:
            assert scope
            raise fault

    assert enforce(world, same(), projects=Hidden()).written


def test_a_project_s_policy_behind_a_perimeter_hides_no_policy_above_it(world: World) -> None:
    world.projects.policies["folders/421"] = [binding("roles/artifactregistry.reader", MEMBER.id)]

    class Hidden:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.projects, name)

        def bindings(self, scope: str) -> Any:
            if scope.startswith("projects/"):
                raise BehindPerimeter("getIamPolicy: 403")
            return world.projects.bindings(scope)

    assert enforce(world, same(), projects=Hidden()).decision.reasons == (Reason.INHERITED,)


def test_rules_grant_only_where_the_registry_project_bears_the_tag(world: World) -> None:
    tag = "400000000001/remediate/allowed"
    assert enforce(world, same("1"), opt_in_tag=tag).decision.reasons == (Reason.NOT_OPTED_IN,)
    world.projects.tagged["shop-frontend"] = frozenset({tag, "tagValues/1"})
    assert enforce(world, same("2"), opt_in_tag=tag).written


def test_a_policy_sees_ancestors_and_deploys_of_before(world: World) -> None:
    text = """
        rules:
          - name: known pipelines
            when: evidence.previously_deployed && "folders/421" in deploy.ancestors && "projects/platform-images" in image.ancestors
            then: grant
            expires_after: 30d
            because: It worked yesterday.
    """
    rules = parse_policy(text, "policy.yaml")

    world.logs = MemoryLogs(lambda insert_id: activity(insert_id=insert_id))
    assert enforce(world, cross("1"), rules=lambda: rules).decision.outcome is Outcome.ASK
    world.logs.deployed.add(MEMBER.id)
    handled = enforce(world, cross("2"), rules=lambda: rules)
    assert handled.written
    assert handled.remediation
    assert (handled.remediation.terms.rule, handled.remediation.terms.rule_comment) == (
        "known pipelines",
        "It worked yesterday.",
    )
    assert handled.remediation.lifecycle.expires == (world.now + timedelta(days=30)).isoformat(
        timespec="microseconds"
    ).replace("+00:00", "Z")
    step = list(world.ledger.trail(handled.remediation.id))[-2]
    assert (step.outcome, step.rule, step.policy) == (Outcome.GRANT, "known pipelines", rules.digest)


def test_the_log_is_not_asked_about_deploys_that_no_rule_looks_at(world: World) -> None:
    world.instance().handle(cross())
    assert world.logs.reads == 0
    enforce(world, same())
    assert world.logs.reads == 1  # the event itself, before the write


def test_a_rules_reviewers_alone_may_approve_what_it_asks(world: World) -> None:
    rules = parse_policy(
        "rules: [{name: security, when: true, then: ask, reviewers: [sec@example.com, example.org], expires_after: 8w}]",
        "p",
    )
    record = world.instance(rules=lambda: rules).handle(cross()).remediation
    assert record
    with pytest.raises(Refused, match=r"rule 'security' allows only user:sec@example\.com, example\.org"):
        world.instance(rules=lambda: rules).approve(record.id, actor=REVIEWER)
    done = world.instance(rules=lambda: rules).approve(
        record.id, actor="bo@example.org", max_duration=timedelta(days=90)
    )
    assert done.remediation.lifecycle.expires
    assert done.remediation.lifecycle.expires < (world.now + timedelta(days=57)).isoformat()


def test_an_approval_under_a_policy_that_refuses_now_is_refused(world: World) -> None:
    record = world.instance().handle(cross()).remediation
    assert record
    stricter = parse_policy("rules: [{name: never, when: reader == 'deployer', then: refuse}]", "p")
    with pytest.raises(Refused, match="is now refused: A rule of the policy file refuses it"):
        world.instance(rules=lambda: stricter).approve(record.id, actor=REVIEWER)
    assert world.registry.writes == 0


def test_a_refusing_rule_proposes_nothing(world: World) -> None:
    rules = parse_policy("rules: [{name: never, when: true, then: refuse, because: Not here.}]", "p")
    handled = world.instance(rules=lambda: rules).handle(cross())
    assert handled.remediation
    assert (handled.remediation.state, handled.remediation.terms.rule) == (State.REFUSED, "never")
    assert [each.member for each in world.records().values()] == [MEMBER.id]


SECOND = "us-docker.pkg.dev/shop-frontend/side/car:v1"
SECOND_REPOSITORY = "projects/shop-frontend/locations/us/repositories/side"


def test_the_other_images_of_a_deploy_are_proposed_with_it(world: World) -> None:
    world.registry.policies[SECOND_REPOSITORY] = []
    handled = world.instance().handle(denial(activity(images=(IMAGE, SECOND, SECOND))))
    found = {(record.repository, record.member): record for record in world.ledger.find(Filter())}
    assert set(found) == {
        (REPOSITORY, MEMBER.id),
        (REPOSITORY, f"serviceAccount:{AGENT}"),
        (SECOND_REPOSITORY, MEMBER.id),
    }
    other = found[SECOND_REPOSITORY, MEMBER.id]
    assert (other.state, other.tally.predicted, other.tally.denials) == (State.PROPOSED, True, 0)
    assert handled.remediation
    assert set(handled.partners) == set(handled.remediation.tally.partners)
    assert other.id in handled.partners
    world.check_trail()


def test_another_image_that_can_be_read_or_may_be_is_left_alone(world: World) -> None:
    world.registry.policies[SECOND_REPOSITORY] = [binding(WRITER, "group:everybody@example.com")]
    world.instance().handle(denial(activity(images=(IMAGE, SECOND), insert_id="1")))
    world.registry.policies[SECOND_REPOSITORY] = [binding(WRITER, MEMBER.id)]
    world.instance().handle(denial(activity(images=(IMAGE, SECOND), insert_id="2")))
    gone = "us-docker.pkg.dev/shop-frontend/never-made/car:v1"
    world.instance().handle(denial(activity(images=(IMAGE, gone), insert_id="3")))
    assert {record.repository for record in world.ledger.find(Filter())} == {REPOSITORY}


def test_an_event_that_the_log_has_otherwise_is_refused_one_that_it_has_not_is_asked(world: World) -> None:
    world.logs = MemoryLogs()
    assert enforce(world, same("1")).decision.reasons == (Reason.EVENT_UNVERIFIED,)
    other = activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email="ana@example.com", insert_id="2")
    world.logs = MemoryLogs(lambda _: other)
    assert enforce(world, same("2")).decision.reasons == (Reason.UNVERIFIED_EVENT,)
    assert world.registry.writes == 0


def test_a_young_event_waits_for_the_log(world: World) -> None:
    world.logs = MemoryLogs()
    young = same("1")
    young = replace(young, entry=replace(young.entry, timestamp=(world.now - timedelta(seconds=30)).isoformat()))
    with pytest.raises(TransientFault, match="does not have the entry yet"):
        enforce(world, young)
    assert not world.records()


def test_the_log_may_write_a_timestamp_with_other_zeros(world: World) -> None:
    world.logs = MemoryLogs(lambda insert_id: same_entry(insert_id) | {"timestamp": "2026-11-23T08:00:00.123456000Z"})
    assert enforce(world, same()).written


@pytest.mark.parametrize("name", ["", "x", "projects/../..", 'projects/p/logs/x" OR "'])
def test_an_entry_without_a_proper_name_is_never_granted_on(world: World, name: str) -> None:
    odd = same()
    odd = replace(odd, entry=replace(odd.entry, log_name=name or None))
    assert enforce(world, odd).decision.outcome is Outcome.ASK
    assert world.logs.reads == 0


def test_the_brake_counts_an_hour_a_member_and_everything(world: World) -> None:
    limits = Limits(grants_an_hour=2, grants_to_a_member=1)

    def of(number: int, email: str = DEPLOYER) -> Denial:
        image = f"us-docker.pkg.dev/shop-frontend/app-{number}/web"
        world.registry.policies.setdefault(f"projects/shop-frontend/locations/us/repositories/app-{number}", [])
        entry = activity(user_text(image), images=(image,), email=email, insert_id=str(number))
        world.logs = MemoryLogs(lambda _: entry)
        return denial(entry)

    assert enforce(world, of(1), limits=limits).written
    assert enforce(world, of(1), limits=limits).duplicate
    rate_limit_notice = enforce(world, of(2), limits=limits).decision
    assert (rate_limit_notice.outcome, rate_limit_notice.reasons) == (
        Outcome.ASK,
        (Reason.SAME_PROJECT, Reason.MEMBER_BRAKE),
    )
    assert enforce(world, of(3, "ana@example.com"), limits=limits).written
    assert enforce(world, of(4, "bo@example.com"), limits=limits).decision.reasons[-1] is Reason.BRAKE
    world.now += timedelta(hours=1)
    assert enforce(world, of(5, "bo@example.com"), limits=limits).written
    assert SAME_REPOSITORY in world.registry.policies


def test_a_reviewer_sees_what_reader_on_this_kind_of_repository_means(world: World) -> None:
    world.registry.kinds[REPOSITORY] = RepositoryDescription("DOCKER", "VIRTUAL_REPOSITORY")
    decision = world.instance().handle(cross()).decision
    assert decision.reasons == (Reason.CROSS_PROJECT, Reason.VIRTUAL_REPOSITORY)


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        (RepositoryDescription("MAVEN", "STANDARD_REPOSITORY"), Outcome.REFUSE, Reason.NOT_IMAGES),
        (RepositoryDescription(None, None), Outcome.ASK, Reason.FORMAT_UNKNOWN),
        (
            RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", redirected=False),
            Outcome.GRANT,
            Reason.NOT_REDIRECTED,
        ),
    ],
)
def test_a_repository_of_another_kind_is_no_image_repository(
    world: World, kind: RepositoryDescription, outcome: Outcome, reason: Reason
) -> None:
    world.registry.kinds[SAME_REPOSITORY] = kind
    decision = enforce(world, same()).decision
    assert decision.outcome is outcome
    assert reason in decision.reasons


NAMES = ("bo", "ana")


def redacted_event() -> Denial:
    found = denial(system_event(annotations={"run.googleapis.com/operation-id": OPERATION}))
    assert (found.deployer, found.operation) == (None, OPERATION)
    return found


def test_a_deployer_whom_only_the_call_names_is_joined_by_its_operation(world: World) -> None:
    world.logs.operations[OPERATION] = [call_entry(OPERATION, "bo@example.com", insert_id=each) for each in "ab"]
    record = world.instance().handle(redacted_event()).remediation
    assert record
    assert record.names.deployers == ("user:bo@example.com",)
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor="bo@example.com")


def test_two_callers_of_one_operation_are_not_guessed_between(world: World) -> None:
    world.logs.operations[OPERATION] = [call_entry(OPERATION, f"{each}@example.com", insert_id=each) for each in NAMES]
    handled = world.instance().handle(redacted_event())
    assert isinstance(handled.subject, Denial)
    assert (handled.subject.deployer, handled.subject.call, handled.subject.authorized) == (None, None, None)
    assert handled.remediation
    for each in NAMES:  # either may have deployed, so neither approves
        with pytest.raises(Refused, match="own deploy"):
            world.instance().approve(handled.remediation.id, actor=f"{each}@example.com")


def test_a_repositorys_number_that_resource_manager_knows_otherwise_is_a_doubt(world: World) -> None:
    entry = system_event(bare_text(REPOSITORY.replace("platform-images", "999999999999")), images=(IMAGE,))
    asked = world.instance().handle(denial(entry))
    assert isinstance(asked.subject, Denial)
    assert Reason.IMAGE_MISMATCH in asked.subject.doubts
    right = system_event(bare_text(REPOSITORY.replace("platform-images", "210987654321")), images=(IMAGE,))
    found = world.instance().handle(denial(right | {"insertId": "right"})).subject
    assert isinstance(found, Denial)
    assert Reason.IMAGE_MISMATCH not in found.doubts


@pytest.mark.parametrize(
    "timestamp", ['2026-11-23"10:00:00Z', "2026-11-23 10:00:00Z", "20261123T100000Z", "0001-01-01T00:00:00+14:00"]
)
def test_a_timestamp_that_cloud_logging_would_not_write_is_not_asked_for(timestamp: str) -> None:
    name = f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Factivity"
    assert entry_key(EntryId("1", name, timestamp)) is None
    assert entry_key(EntryId("1", name, "2026-11-23T10:00:00.123456789+09:00")) is not None
