"""Who may be granted: what the service learns about a member and about the registry owner's word, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remediate.cloud.interface import RepositoryDescription
from remediate.decisions.organization import HomeNames
from remediate.decisions.policy import BuiltIn, Mode, Outcome, Rules
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial
from remediate.errors import BehindPerimeter, TerminalFault
from remediate.ledger.opening import open_ledger
from remediate.reasons import Reason
from tests.audit_entries import DEPLOYER, activity, denial, user_text
from tests.fakes import MemoryLogs
from tests.policies import WIDER
from tests.service.helpers import same_entry
from tests.service.world import SAME_IMAGE, SAME_REPOSITORY, World

MEMBER = f"serviceAccount:{DEPLOYER}"
OURS = HomeNames(("example.com",), ("staff",))
NUMBER, ELSEWHERE = "123456789012", "555555555555"  # our deploying project, and one of another organization
POOL = "principal://iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/{}/subject/repo:x/y"
STAFF = "principal://iam.googleapis.com/locations/global/workforcePools/{}/subject/ana@example.com"
BUILT_IN = BuiltIn(30)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(open_ledger(f"sqlite:///{tmp_path}/ledger.db"))


def decided(world: World, rules: Rules, entry: dict[str, Any] | None = None, **replaced: Any) -> Any:
    made = entry or same_entry()
    world.logs.written = lambda _: made
    return world.instance(Mode.ENFORCE, rules=lambda: rules, **replaced).handle(denial(made))


def by(member: str) -> dict[str, Any]:
    """The denial of an image of the deploying project, deployed by this member."""
    who = {"subject": member, "email": None} if member.startswith("principal:") else {"email": member}
    return activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), **who)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (DEPLOYER, None),
        ("ana@example.com", None),
        (POOL.format(NUMBER, "github"), None),
        (STAFF.format("staff"), None),
        ("build@platform-images.iam.gserviceaccount.com", None),
        ("ana@gmail.com", Reason.MEMBER_OUTSIDE),
        ("ana@sub.example.com", Reason.MEMBER_OUTSIDE),
        ("ana@example.com.evil.org", Reason.MEMBER_OUTSIDE),
        ("exfil@other-images.iam.gserviceaccount.com", Reason.MEMBER_OUTSIDE),
        (f"service-{NUMBER}@other-images.iam.gserviceaccount.com", Reason.MEMBER_OUTSIDE),
        (POOL.format(ELSEWHERE, "github"), Reason.MEMBER_OUTSIDE),
        (STAFF.format("visitors"), Reason.MEMBER_OUTSIDE),
        ("exfil@nobody-sees-it.iam.gserviceaccount.com", Reason.MEMBER_ORGANIZATION_UNKNOWN),
        (POOL.format("666666666666", "github"), Reason.MEMBER_ORGANIZATION_UNKNOWN),
    ],
)
def test_a_rule_grants_to_members_of_the_organization_alone(world: World, member: str, reason: Reason | None) -> None:
    everything = parse_policy("rules: [{name: all, when: true, then: grant}]", "p")
    handled = decided(world, everything, by(member), home_names=OURS)
    assert handled.written is (reason is None)
    if reason is not None:
        assert handled.decision.outcome is Outcome.ASK
        assert reason in handled.decision.reasons


def test_without_names_of_ours_people_are_unknown_and_asked(world: World) -> None:
    for member in ("ana@example.com", STAFF.format("staff")):
        decision = decided(world, WIDER, by(member), home_names=HomeNames()).decision
        assert (decision.outcome, decision.reasons) == (Outcome.ASK, (Reason.MEMBER_ORGANIZATION_UNKNOWN,))


@pytest.mark.parametrize("kind", [TerminalFault, BehindPerimeter])
def test_a_member_whose_project_may_not_be_asked_for_is_unknown_and_no_refusal(
    world: World, kind: type[TerminalFault | BehindPerimeter]
) -> None:
    class Strict:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.projects, name)

        def find(self, project: str) -> Any:
            if project == "platform-images":
                raise kind("get projects/platform-images: refused")
            return world.projects.find(project)

    entry = by("build@platform-images.iam.gserviceaccount.com")
    decision = decided(world, WIDER, entry, projects=Strict()).decision
    assert (decision.outcome, decision.reasons) == (Outcome.ASK, (Reason.MEMBER_ORGANIZATION_UNKNOWN,))


def test_a_policy_file_sees_where_a_member_lives(world: World) -> None:
    text = "rules: [{name: ours, when: '\"organizations/400000000001\" in member.ancestors', then: grant}]"
    rules = parse_policy(text, "p")
    assert decided(world, rules).written
    entry = by("exfil@other-images.iam.gserviceaccount.com")
    assert decided(world, rules, entry).decision.rule == "otherwise"


def test_the_built_in_rule_gives_back_to_who_deployed_before(world: World) -> None:
    first = decided(world, BUILT_IN)
    assert (first.decision.outcome, first.decision.reasons) == (Outcome.ASK, (Reason.NOT_DEPLOYED_BEFORE,))
    assert world.registry.writes == 0


def test_and_for_a_time(world: World) -> None:
    world.logs.deployed.add(MEMBER)
    handled = decided(world, BUILT_IN)
    assert handled.written
    assert handled.decision.expires_after == 30 * 86_400.0
    assert handled.remediation.lifecycle.expires


TAG = "400000000001/remediate/yes"
NEWCOMERS = "400000000001/remediate/deployers"


@pytest.mark.parametrize(
    ("tag", "bound", "label", "reason"),
    [
        (None, (), False, Reason.NOT_DEPLOYED_BEFORE),
        (None, (NEWCOMERS,), False, Reason.NOT_DEPLOYED_BEFORE),
        (None, (), True, None),
        (TAG, (), False, Reason.NOT_OPTED_IN),
        (TAG, (), True, Reason.NOT_OPTED_IN),
        (TAG, (TAG,), False, Reason.NOT_DEPLOYED_BEFORE),
        (TAG, (TAG,), True, None),
        (TAG, (NEWCOMERS,), False, None),
        (TAG, ("400000000001/other/deployers",), False, Reason.NOT_OPTED_IN),
        (TAG, ("400000000009/remediate/deployers",), False, Reason.NOT_OPTED_IN),
        ("tagValues/1", ("tagValues/1",), False, Reason.NOT_DEPLOYED_BEFORE),
        ("tagValues/1", ("tagValues/2",), False, Reason.NOT_OPTED_IN),
        ("tagValues/1,tagValues/2", ("tagValues/1",), False, Reason.NOT_DEPLOYED_BEFORE),
        ("tagValues/1,tagValues/2", ("tagValues/2",), False, None),
    ],
)
def test_a_newcomer_is_granted_where_the_registrys_owner_says_so(
    world: World, tag: str | None, bound: tuple[str, ...], label: bool, reason: Reason | None
) -> None:
    world.projects.tagged["shop-frontend"] = frozenset(bound)
    world.registry.kinds[SAME_REPOSITORY] = RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", newcomers=label)
    handled = decided(world, BUILT_IN, opt_in_tag=tag)
    assert handled.written is (reason is None)
    assert reason is None or reason in handled.decision.reasons


@pytest.mark.parametrize("mode", ["VIRTUAL_REPOSITORY", "REMOTE_REPOSITORY", None, "ANOTHER"])
@pytest.mark.parametrize("rules", [BUILT_IN, WIDER])
def test_a_repository_that_opens_others_is_asked(world: World, mode: str | None, rules: Rules) -> None:
    world.logs.deployed.add(MEMBER)
    world.registry.kinds[SAME_REPOSITORY] = RepositoryDescription("DOCKER", mode, newcomers=True)
    handled = decided(world, rules)
    assert handled.decision.outcome is Outcome.ASK
    assert {Reason.VIRTUAL_REPOSITORY, Reason.REMOTE_REPOSITORY, Reason.MODE_UNKNOWN} & set(handled.decision.reasons)


def test_a_member_that_lost_its_access_is_asked_even_where_newcomers_are_let_in(world: World) -> None:
    world.registry.kinds[SAME_REPOSITORY] = RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", newcomers=True)
    granted = decided(world, BUILT_IN).remediation
    world.instance(Mode.ENFORCE).revoke(granted.id, actor="platform-lead@example.com", note="no more")
    again: Denial = denial(same_entry("2"))
    world.logs = MemoryLogs(same_entry)
    decision = world.instance(Mode.ENFORCE, rules=lambda: BUILT_IN).handle(again).decision
    assert decision.outcome is Outcome.ASK
    assert Reason.ACCESS_REMOVED in decision.reasons
