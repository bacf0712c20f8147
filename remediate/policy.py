"""Turns a Denial and the evidence about it into a Decision: grant, ask, refuse or ignore, and the reasons why."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from remediate.denial import Denial, NotADenial, Reader
from remediate.principal import Member, run_service_agent
from remediate.reasons import Reason

ROLE = "roles/artifactregistry.reader"
"""The one role that this project ever grants. A constant on purpose: there is no way to ask for another."""


class Outcome(StrEnum):
    """What is to be done about an entry."""

    GRANT = "grant"
    ASK = "ask"
    REFUSE = "refuse"
    IGNORE = "ignore"


class Mode(StrEnum):
    """Whether a decision `grant` is carried out at once, or only proposed."""

    DRY_RUN = "dry-run"
    ENFORCE = "enforce"


class Decision(msgspec.Struct, frozen=True):
    """The outcome, the rule that made it (None where no rule had a say) and why."""

    outcome: Outcome
    rule: str | None
    reasons: tuple[Reason, ...]


class Evidence(msgspec.Struct, frozen=True):
    """What Google Cloud says about a denial. None is "not known", never "no"."""

    repository_exists: bool | None = None
    inside_organization: bool | None = None
    organization_required: bool = False
    """Whether `REMEDIATE_ORGANIZATION` is set, so that a repository of unknown organization is not granted."""
    already_granted: bool | None = None
    propagating: bool = False
    """Whether our own grant is so recent that IAM may not know it everywhere yet."""


def decide(subject: Denial | NotADenial, evidence: Evidence = Evidence()) -> Decision:  # noqa: B008  (frozen)
    """What enforce mode does about an entry. Pure: the same denial and evidence, the same decision."""
    if isinstance(subject, NotADenial):
        return Decision(Outcome.IGNORE, None, (subject.reason,))
    refusals = tuple(_refusals(subject, evidence))
    if refusals:
        return Decision(Outcome.REFUSE, "invariants", refusals)
    if evidence.already_granted:
        reason = Reason.STILL_PROPAGATING if evidence.propagating else Reason.ALREADY_GRANTED
        return Decision(Outcome.IGNORE, "invariants", (reason,))
    cautions = tuple(_cautions(subject))
    if cautions:
        return Decision(Outcome.ASK, "otherwise", cautions)
    return Decision(Outcome.GRANT, "same project", (Reason.SAME_PROJECT,))


def in_mode(decision: Decision, mode: Mode) -> Decision:
    """The decision as the mode carries it out: in dry-run, what would be granted is asked."""
    if mode is Mode.DRY_RUN and decision.outcome is Outcome.GRANT:
        return Decision(Outcome.ASK, decision.rule, (*decision.reasons, Reason.DRY_RUN))
    return decision


def second_hop(denial: Denial) -> Member | None:
    """The Cloud Run service agent that will be denied next, once a deployer's cross-project denial is cured.

    Source: a cross-project deploy needs both readers, and the second is checked only after the first.
    """
    if denial.reader is not Reader.DEPLOYER or denial.deploy.number is None or denial.repository is None:
        return None
    return run_service_agent(denial.deploy.number) if same_project(denial) is False else None


def same_project(denial: Denial) -> bool | None:
    """Whether the image lies in the deploying project; None where the entry cannot tell."""
    if denial.repository is None:
        return None
    project = denial.repository.project
    if project in (denial.deploy.project, denial.deploy.number):
        return True
    known = denial.deploy.number if project.isdigit() else denial.deploy.project
    return None if known is None else False


_REFUSED_MEMBERS = (Reason.PUBLIC_MEMBER, Reason.DELETED_MEMBER, Reason.GROUP_MEMBER)


def _refusals(denial: Denial, evidence: Evidence) -> list[Reason]:
    """What no rule and no reviewer can override."""
    reasons = [doubt for doubt in denial.doubts if doubt in _REFUSED_MEMBERS]
    if evidence.repository_exists is False:
        reasons.append(Reason.REPOSITORY_NOT_FOUND)
    if evidence.inside_organization is False:
        reasons.append(Reason.OTHER_ORGANIZATION)
    if evidence.organization_required and evidence.inside_organization is None:
        reasons.append(Reason.ORGANIZATION_UNKNOWN)
    return reasons


def _cautions(denial: Denial) -> list[Reason]:
    """What a person has to look at."""
    reasons = list(denial.doubts)
    match same_project(denial):
        case False:
            reasons.append(Reason.CROSS_PROJECT)
        case None if denial.repository is not None:
            known = denial.deploy.project or denial.deploy.number
            reasons.append(Reason.PROJECT_NUMBER_UNKNOWN if known else Reason.PROJECT_UNKNOWN)
    if denial.member is not None and denial.member.shared:
        reasons.append(Reason.SHARED_IDENTITY)
    return list(dict.fromkeys(reasons))
