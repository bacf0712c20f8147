"""Decides about a Denial by its evidence: grant, ask, refuse or ignore, with reasons.

Three layers, strictest first: invariants that no rule overrides, limits that turn a grant into a proposal, and rules
(built in, or from a policy file). Missing knowledge never makes a decision more generous.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from remediate.decisions.variables import ASSUMED, STANDARD, Evidence, same_project, variables
from remediate.entries.denial import Denial, Deploy, NotADenial, Reader
from remediate.iam.member import Member, run_service_agent
from remediate.reasons import Reason

INVARIANTS, OTHERWISE, SAME_PROJECT = "invariants", "otherwise", "same project"
"""Names in place of a file's rule: an invariant decides, no rule matches, the built-in rule grants."""


class Outcome(StrEnum):
    """What the service does about an entry."""

    GRANT = "grant"
    ASK = "ask"
    REFUSE = "refuse"
    IGNORE = "ignore"


class Mode(StrEnum):
    """Whether the service carries out a decision `grant` at once, or only proposes it."""

    DRY_RUN = "dry-run"
    ENFORCE = "enforce"


class Decision(msgspec.Struct, frozen=True):
    """The outcome, the rule that decided (None if no rule did), the reasons, and the rule's terms."""

    outcome: Outcome
    rule: str | None
    reasons: tuple[Reason, ...]
    expires_after: float | None = None
    """Seconds that a grant lasts; None: no expiry."""
    reviewers: tuple[str, ...] = ()
    """Who may approve it, by key or domain; empty: every reviewer."""
    rule_comment: str = ""
    """The rule's own sentence for reviewers."""
    policy: str = ""
    """The digest of the rules that decided; empty if none did."""
    approvals: int = 1
    """How many different reviewers must approve."""
    note: str = ""
    """Google's error text, if its final answer decided."""


class Rule(msgspec.Struct, frozen=True):
    """The terms of a rule."""

    name: str
    then: Outcome
    expires_after: float | None = None
    reviewers: tuple[str, ...] = ()
    rule_comment: str = ""
    approvals: int = 1
    """How many different reviewers must approve."""
    unmet: tuple[Reason, ...] = ()
    """Why a rule that would grant asks instead."""


class TextToConfirm(msgspec.Struct, frozen=True):
    """A policy text from a place where others than operators can write, with its SHA-256 (64 hexadecimal digits).

    The digest is complete, because two texts with the same first twelve digits can be found within seconds.
    """

    sha256: str
    text: str


class Rules(Protocol):
    """A policy: an ordered list of rules."""

    def judge(self, variables: Mapping[str, object]) -> tuple[Rule, bool]:
        """The first rule that is not false, or `otherwise`; and whether it is true.

        A variable that is missing from `variables` is unknown. A rule that depends on it is neither true nor false.
        """

    def mentions(self, variable: str) -> bool:
        """Whether any rule uses the variable, so that its value is needed."""

    @property
    def digest(self) -> str:
        """The identity of the policy: twelve hexadecimal digits, or the name of a built-in policy."""

    @property
    def to_confirm(self) -> TextToConfirm | None:
        """The text that people must confirm before its rules grant; None if an operator put it there."""


_OWN_IMAGE: dict[str, object] = {
    "evidence.same_project": True,
    "member.shared": False,
    "member.inside_organization": True,
    "repository.mode": STANDARD,
}
_PROOF = ("image.confirmed", "evidence.access_removed", "repository.newcomers", "evidence.previously_deployed")


class BuiltIn:
    """The rules without a policy file: grant a deployer of the project images that it deployed before.

    `days` is how long such a grant lasts.
    """

    digest = "built-in"
    to_confirm = None

    def __init__(self, days: float = 90) -> None:
        self._lasts = days * 86_400.0

    def judge(self, variables: Mapping[str, object]) -> tuple[Rule, bool]:
        """Grant an image of the deploying project if an earlier deploy or the registry's owner justifies it."""
        own = all(variables.get(name) == value for name, value in _OWN_IMAGE.items())
        perhaps = all(variables.get(name, value) == value for name, value in _OWN_IMAGE.items())
        unmet = _unmet(variables) if own else ()
        if own and not unmet:
            return Rule(SAME_PROJECT, Outcome.GRANT, self._lasts), True
        # If more knowledge could have led to a grant with an expiry, an approval gets the same expiry.
        return Rule(OTHERWISE, Outcome.ASK, self._lasts if perhaps else None, unmet=unmet), True

    def mentions(self, variable: str) -> bool:
        return variable in _PROOF or (variable in _OWN_IMAGE and variable != "repository.mode")  # a limit says why


def _unmet(variables: Mapping[str, object]) -> tuple[Reason, ...]:
    """The conditions of the built-in rule that an image of the deploying project does not meet."""
    reasons = [] if variables.get("image.confirmed") is True else [Reason.IMAGE_UNCONFIRMED]
    removed, before = variables.get("evidence.access_removed"), variables.get("evidence.previously_deployed")
    if removed is True:
        reasons.append(Reason.ACCESS_REMOVED)
    if variables.get("repository.newcomers") is not True and before is not True:
        reasons.append(Reason.DEPLOYS_UNKNOWN if before is None else Reason.NOT_DEPLOYED_BEFORE)
    elif removed is None:
        reasons.append(Reason.ACCESS_REMOVED_UNKNOWN)
    return tuple(reasons)


BUILT_IN = BuiltIn()


def decide(
    subject: Denial | NotADenial,
    evidence: Evidence = ASSUMED,
    rules: Rules = BUILT_IN,
    *,
    predicted: bool = False,
) -> Decision:
    """What enforce mode does about an entry. Pure: the same denial, evidence and rules give the same decision.

    If the denial is only `predicted`, a grant becomes a proposal.
    """
    if isinstance(subject, NotADenial):
        return Decision(Outcome.IGNORE, None, (subject.reason,))
    if refusals := _refusals(subject, evidence):
        return Decision(Outcome.REFUSE, INVARIANTS, refusals)
    if evidence.already_granted:
        reason = Reason.STILL_PROPAGATING if evidence.propagating else Reason.ALREADY_GRANTED
        return Decision(Outcome.IGNORE, INVARIANTS, (reason,))
    if evidence.barred:
        return Decision(Outcome.IGNORE, INVARIANTS, (Reason.BARRED,))
    if evidence.inherited:
        return Decision(Outcome.IGNORE, INVARIANTS, (Reason.INHERITED,))
    rule, sure = rules.judge(variables(subject, evidence, predicted=predicted))
    facts = (*((Reason.PREDICTED,) if predicted else ()), *_facts(subject, evidence), *rule.unmet)
    if rule.then is Outcome.REFUSE and sure:
        why = (Reason.POLICY_REFUSES, *facts)
        return Decision(Outcome.REFUSE, rule.name, why, rule_comment=rule.rule_comment, policy=rules.digest)
    says = (rule.expires_after, rule.reviewers, rule.rule_comment, rules.digest, rule.approvals)
    if not sure:
        return Decision(Outcome.ASK, rule.name, (*facts, *blocks_of(evidence), Reason.EVIDENCE_UNKNOWN), *says)
    limits = _limits(subject, evidence, rules, predicted=predicted)
    if rule.then is Outcome.GRANT and not limits:
        return Decision(Outcome.GRANT, rule.name, facts, *says)
    # A proposal shows what the reviewer must check. `same_project` is left out if there are other reasons.
    cautions = tuple(reason for reason in facts if reason is not Reason.SAME_PROJECT)
    name = OTHERWISE if isinstance(rules, BuiltIn) else rule.name
    return Decision(Outcome.ASK, name, tuple(dict.fromkeys((*cautions, *limits))) or facts, *says)


def in_mode(decision: Decision, mode: Mode) -> Decision:
    """The decision in this mode: dry-run turns a grant into a proposal."""
    if mode is Mode.DRY_RUN and decision.outcome is Outcome.GRANT:
        return downgrade_to_ask(decision, Reason.DRY_RUN)
    return decision


def downgrade_to_ask(decision: Decision, reason: Reason) -> Decision:
    """Turn a grant into a proposal and add the reason."""
    return msgspec.structs.replace(decision, outcome=Outcome.ASK, reasons=(*decision.reasons, reason))


def service_agent_denied_next(denial: Denial) -> Member | None:
    """The Cloud Run service agent that Cloud Run denies next, after the deployer's cross-project denial is fixed.

    A cross-project deploy needs both readers, and Cloud Run checks the second one only after the first. Source:
    "Deploying container images" (Cloud Run).
    """
    if denial.reader is not Reader.DEPLOYER or denial.deploy.number is None or denial.repository is None:
        return None
    return run_service_agent(denial.deploy.number) if same_project(denial) is False else None


def assumed_evidence(denial: Denial | NotADenial, inside: Callable[[Member, Deploy], bool | None]) -> Evidence:
    """What a plan assumes about an entry. `inside` says from an export whether a member is in the organization."""
    if isinstance(denial, NotADenial) or denial.member is None:
        return ASSUMED
    if denial.reader is Reader.SERVICE_AGENT and denial.member.run_agent_of == denial.deploy.number is not None:
        deployer = denial.deployer
        return msgspec.structs.replace(ASSUMED, member_inside=inside(deployer, denial.deploy) if deployer else True)
    return msgspec.structs.replace(ASSUMED, member_inside=inside(denial.member, denial.deploy))


_REFUSED_MEMBERS = (Reason.PUBLIC_MEMBER, Reason.DELETED_MEMBER, Reason.GROUP_MEMBER)


def _refusals(denial: Denial, evidence: Evidence) -> tuple[Reason, ...]:
    """The invariants: no rule and no reviewer can override them."""
    reasons = [doubt for doubt in denial.doubts if doubt in _REFUSED_MEMBERS]
    if evidence.repository_exists is False:
        reasons.append(Reason.REPOSITORY_NOT_FOUND)
    if evidence.repository_format not in (None, "DOCKER"):
        reasons.append(Reason.NOT_IMAGES)
    if evidence.inside_organization is False:
        reasons.append(Reason.OTHER_ORGANIZATION)
    if evidence.verified is False:
        reasons.append(Reason.UNVERIFIED_EVENT)
    return tuple(reasons)


def blocks_of(evidence: Evidence) -> list[Reason]:
    """The reasons for which nobody can approve a proposal now: see `BLOCKS`."""
    if evidence.repository_exists is None or evidence.inside_organization is None:
        return [Reason.REPOSITORY_UNSEEN]
    return [] if evidence.opted_in else [Reason.NOT_OPTED_IN]


def _limits(denial: Denial, evidence: Evidence, rules: Rules, *, predicted: bool) -> tuple[Reason, ...]:
    """The reasons that turn a rule's grant into a proposal: something is doubtful, unknown, or only predicted."""
    reasons = [Reason.PREDICTED, *denial.doubts] if predicted else list(denial.doubts)
    reasons += blocks_of(evidence)
    if evidence.inside_organization is None:
        reasons.append(Reason.ORGANIZATION_UNKNOWN)
    if denial.repository is None:
        reasons.append(Reason.REPOSITORY_UNKNOWN)
    if denial.member is None:
        reasons.append(Reason.MEMBER_UNKNOWN)
    elif denial.member.is_agent_identity:
        reasons.append(Reason.AGENT_IDENTITY)
    if denial.reader is None:
        reasons.append(Reason.READER_UNKNOWN)
    if denial.deployer is None and denial.reader is not Reader.DEPLOYER:
        reasons.append(Reason.DEPLOYER_UNKNOWN)
    if same_project(denial) is None and denial.repository is not None:
        reasons.append(_unknown_project(denial))
    if denial.authorized is not True:
        reasons.append(Reason.UNAUTHORIZED_CALLER)
    if evidence.repository_exists and evidence.repository_format is None:
        reasons.append(Reason.FORMAT_UNKNOWN)
    if evidence.verified is None:
        reasons.append(Reason.EVENT_UNVERIFIED)
    if denial.member is not None and evidence.member_inside is not True:
        outside = evidence.member_inside is False
        reasons.append(Reason.MEMBER_OUTSIDE if outside else Reason.MEMBER_ORGANIZATION_UNKNOWN)
    if evidence.repository_exists and evidence.repository_mode != STANDARD and not rules.mentions("repository.mode"):
        reasons.append(_MODES.get(evidence.repository_mode or "", Reason.MODE_UNKNOWN))
    return tuple(dict.fromkeys(reasons))


_MODES = {
    "VIRTUAL_REPOSITORY": Reason.VIRTUAL_REPOSITORY,
    "REMOTE_REPOSITORY": Reason.REMOTE_REPOSITORY,
}


def _facts(denial: Denial, evidence: Evidence) -> tuple[Reason, ...]:
    """The reasons from the denial itself, for or against a grant, and the consequences of a grant here."""
    reasons = list(denial.doubts)
    match same_project(denial):
        case True:
            reasons.append(Reason.SAME_PROJECT)
        case False:
            reasons.append(Reason.CROSS_PROJECT)
        case None if denial.repository is not None:
            reasons.append(_unknown_project(denial))
    if denial.is_shared:
        reasons.append(Reason.SHARED_IDENTITY)
    if evidence.redirected is False:
        reasons.append(Reason.NOT_REDIRECTED)
    if evidence.repository_mode in _MODES:
        reasons.append(_MODES[evidence.repository_mode])
    return tuple(dict.fromkeys(reasons))


def _unknown_project(denial: Denial) -> Reason:
    """Why the entry cannot tell whether the image is in the deploying project."""
    known = denial.deploy.project or denial.deploy.number
    return Reason.PROJECT_NUMBER_UNKNOWN if known else Reason.PROJECT_UNKNOWN
