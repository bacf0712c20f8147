"""Every way that `decide` takes, with the whole decision that it ends in."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from remediate.decisions.policy import BUILT_IN, BuiltIn, Decision, Mode, Outcome, Rule, assumed_evidence, decide
from remediate.decisions.policy_file import parse_policy
from remediate.decisions.variables import ASSUMED, VARIABLES
from remediate.entries.denial import Deploy, NotADenial, Reader
from remediate.iam.member import Member, run_service_agent
from remediate.reasons import Reason
from tests.audit_entries import AGENT, DEPLOYER, NUMBER, PROJECT, activity, agent_text, denial, understood, user_text
from tests.policies import INSIDE

IMAGE = f"us-docker.pkg.dev/{PROJECT}/app/web"
SAME = denial(activity(user_text(IMAGE), images=(IMAGE,)))
CROSS = denial(activity())
_AGENTS = denial(activity(agent_text(IMAGE), images=(IMAGE,)))
AGENTS = replace(_AGENTS, deploy=replace(_AGENTS.deploy, number=NUMBER))
PROVEN = replace(INSIDE, previously_deployed=True, access_removed=False)
LASTS = 90 * 86_400.0


def rules(when: str, then: str, **more: Any) -> Any:
    said = "".join(f", {name}: {value}" for name, value in more.items())
    return parse_policy(f"rules: [{{name: only, when: '{when}', then: {then}{said}}}]", "policy.yaml")


def test_outcomes_and_modes_are_written_as_the_docs_write_them() -> None:
    assert [*Outcome] == ["grant", "ask", "refuse", "ignore"]
    assert [*Mode] == ["dry-run", "enforce"]


@pytest.mark.parametrize(
    ("evidence", "outcome", "reason"),
    [
        ({"verified": False}, Outcome.REFUSE, Reason.UNVERIFIED_EVENT),
        ({"already_granted": True}, Outcome.IGNORE, Reason.ALREADY_GRANTED),
        ({"already_granted": True, "propagating": True}, Outcome.IGNORE, Reason.STILL_PROPAGATING),
        ({"barred": True}, Outcome.IGNORE, Reason.BARRED),
        ({"inherited": True}, Outcome.IGNORE, Reason.INHERITED),
    ],
)
def test_an_invariant_decides_before_any_rule(evidence: dict[str, Any], outcome: Outcome, reason: Reason) -> None:
    decision = decide(SAME, replace(PROVEN, **evidence))
    assert decision == Decision(outcome, "invariants", (reason,))
    assert (decision.expires_after, decision.rule_comment, decision.policy, decision.approvals) == (None, "", "", 1)
    assert decision.note == ""


def test_what_is_no_denial_is_ignored_and_no_rule_has_a_say() -> None:
    entry = understood(activity("Something else."))
    assert isinstance(entry, NotADenial)
    assert decide(entry) == Decision(Outcome.IGNORE, None, (entry.reason,))


def test_the_built_in_rule_names_itself_and_its_policy() -> None:
    granted = Decision(Outcome.GRANT, "same project", (Reason.SAME_PROJECT,), LASTS, policy="built-in")
    assert decide(SAME, PROVEN) == granted
    limited = decide(SAME, replace(PROVEN, opted_in=False))
    assert limited == Decision(Outcome.ASK, "otherwise", (Reason.NOT_OPTED_IN,), LASTS, policy="built-in")


def test_the_built_in_rule_looks_at_what_it_decides_by() -> None:
    assert {name for name in VARIABLES if BUILT_IN.mentions(name)} == {
        "image.confirmed",
        "evidence.access_removed",
        "repository.newcomers",
        "evidence.previously_deployed",
        "evidence.same_project",
        "member.shared",
        "member.inside_organization",
    }


@pytest.mark.parametrize(
    ("values", "unmet", "max_duration"),
    [
        ({"evidence.same_project": False}, (), None),
        ({"evidence.same_project": True, "member.shared": True}, (), None),
        ({"evidence.same_project": True}, (), LASTS),
        (
            {
                "evidence.same_project": True,
                "member.shared": False,
                "member.inside_organization": True,
                "repository.mode": "STANDARD_REPOSITORY",
            },
            (Reason.IMAGE_UNCONFIRMED, Reason.DEPLOYS_UNKNOWN),
            LASTS,
        ),
    ],
)
def test_what_the_built_in_rule_asks_ends_where_its_grant_would_end(
    values: dict[str, object], unmet: tuple[Reason, ...], max_duration: float | None
) -> None:
    assert BuiltIn().judge(values) == (Rule("otherwise", Outcome.ASK, max_duration, unmet=unmet), True)


def test_a_rule_that_refuses_says_why_and_by_which_policy() -> None:
    file = rules('deploy.project != ""', "refuse", because="not here")
    decision = decide(SAME, PROVEN, file)
    why = (Reason.POLICY_REFUSES, Reason.SAME_PROJECT)
    assert decision == Decision(Outcome.REFUSE, "only", why, rule_comment="not here", policy=file.digest)


def test_what_a_rule_cannot_tell_is_asked_on_that_rules_terms() -> None:
    file = rules(
        "evidence.previously_deployed", "grant", expires_after="7d", reviewers="[ana@example.com]", approvals=2
    )
    decision = decide(SAME, INSIDE, file)
    why = (Reason.SAME_PROJECT, Reason.EVIDENCE_UNKNOWN)
    terms = (7 * 86_400.0, ("user:ana@example.com",), "", file.digest, 2)
    assert decision == Decision(Outcome.ASK, "only", why, *terms)


def test_a_rule_without_terms_has_none() -> None:
    file = rules("true", "ask")
    assert decide(SAME, INSIDE, file) == Decision(Outcome.ASK, "only", (Reason.SAME_PROJECT,), policy=file.digest)


def test_what_is_only_foreseen_is_asked_and_the_rules_can_tell() -> None:
    file = rules("evidence.predicted", "refuse")
    assert decide(SAME, PROVEN, file, predicted=True).outcome is Outcome.REFUSE
    assert decide(SAME, PROVEN, file).outcome is Outcome.ASK
    foreseen = decide(SAME, PROVEN, predicted=True)
    assert (foreseen.outcome, foreseen.reasons) == (Outcome.ASK, (Reason.PREDICTED,))


@pytest.mark.parametrize(
    ("missing", "reasons"),
    [
        ({"repository": None}, (Reason.REPOSITORY_UNKNOWN,)),
        ({"member": None}, (Reason.MEMBER_UNKNOWN,)),
        ({"reader": None}, (Reason.READER_UNKNOWN,)),
        ({"deploy": replace(CROSS.deploy, project=None, number=None)}, (Reason.PROJECT_UNKNOWN,)),
        ({"deploy": replace(CROSS.deploy, project=None, number=NUMBER)}, (Reason.PROJECT_NUMBER_UNKNOWN,)),
    ],
)
def test_what_an_entry_leaves_out_is_asked_and_said(missing: dict[str, Any], reasons: tuple[Reason, ...]) -> None:
    denied = replace(CROSS, doubts=(), **missing)
    always = rules("true", "grant")
    assert decide(denied, PROVEN, always).outcome is Outcome.ASK
    assert set(reasons) <= set(decide(denied, PROVEN, always).reasons)


@pytest.mark.parametrize(
    ("project", "number", "reason"),
    [(None, None, Reason.PROJECT_UNKNOWN), (None, NUMBER, Reason.PROJECT_NUMBER_UNKNOWN)],
)
def test_a_refusal_says_that_the_project_is_not_known(project: str | None, number: str | None, reason: Reason) -> None:
    denied = replace(CROSS, deploy=replace(CROSS.deploy, project=project, number=number), doubts=())
    assert decide(denied, PROVEN, rules("true", "refuse")).reasons == (Reason.POLICY_REFUSES, reason)


def test_a_refusal_says_what_reading_the_repository_opens() -> None:
    virtual = replace(PROVEN, repository_mode="VIRTUAL_REPOSITORY", redirected=False)
    why = (Reason.POLICY_REFUSES, Reason.SAME_PROJECT, Reason.NOT_REDIRECTED, Reason.VIRTUAL_REPOSITORY)
    assert decide(SAME, virtual, rules("true", "refuse")).reasons == why


def test_a_plan_assumes_that_a_projects_own_service_agent_is_as_inside_as_the_deployer() -> None:
    asked: list[tuple[Member, Deploy]] = []

    def inside(member: Member, deploy: Deploy) -> bool | None:
        asked.append((member, deploy))
        return member == Member(f"serviceAccount:{DEPLOYER}")

    deployer = Member(f"serviceAccount:{DEPLOYER}")
    assert AGENTS.reader is Reader.SERVICE_AGENT
    assert assumed_evidence(AGENTS, inside) == replace(ASSUMED, member_inside=True)
    assert asked == [(deployer, AGENTS.deploy)]
    assert assumed_evidence(AGENTS, lambda member, _: member != deployer).member_inside is False
    assert assumed_evidence(replace(AGENTS, deployer=None), inside).member_inside is True
    other = replace(AGENTS, member=run_service_agent("999"))
    assert assumed_evidence(other, inside).member_inside is False
    assert assumed_evidence(replace(other, deploy=replace(AGENTS.deploy, number=None)), inside).member_inside is False
    assert assumed_evidence(SAME, inside).member_inside is True
    assert assumed_evidence(replace(SAME, member=Member(f"serviceAccount:{AGENT}")), inside).member_inside is False
    assert assumed_evidence(replace(SAME, member=None), inside) == ASSUMED
    assert assumed_evidence(understood(activity("Something else.")), inside) == ASSUMED
