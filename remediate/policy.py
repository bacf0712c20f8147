"""Turns a Denial and the evidence about it into a Decision: grant, ask, refuse or ignore, and the reasons why.

Three layers, each stricter than the next: invariants that nothing overrides, limits that turn a grant into a question,
and rules, built in or from a policy file. What is not known never makes a decision more generous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from remediate.denial import Denial, NotADenial, Reader
from remediate.image import Repository
from remediate.principal import Member, run_service_agent
from remediate.reasons import Reason

ROLE = "roles/artifactregistry.reader"
"""The one role that this project ever grants. A constant on purpose: there is no way to ask for another."""

INVARIANTS, OTHERWISE = "invariants", "otherwise"
"""What stands for a rule where none had a say: what no rule can override, and no rule that matched."""


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
    """The outcome, the rule that made it (None where no rule had a say) and why; and what the rule says besides."""

    outcome: Outcome
    rule: str | None
    reasons: tuple[Reason, ...]
    expires_after: float | None = None
    """Seconds that a grant lasts; None: for good."""
    reviewers: tuple[str, ...] = ()
    """Who may approve it, by key or domain; empty: whoever may review."""
    because: str = ""
    """The rule's own sentence for reviewers."""
    policy: str = ""
    """The digest of the rules that decided; empty where none had a say."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What Google Cloud says about a denial. None is "not known", never "no"."""

    repository_exists: bool | None = None
    repository_format: str | None = None
    """As Artifact Registry calls it; images are in `DOCKER` alone."""
    repository_mode: str | None = None
    """As Artifact Registry calls it, `VIRTUAL_REPOSITORY` for instance; it decides nothing, and reviewers see it."""
    redirected: bool | None = None
    """Of a gcr.io repository, whether gcr.io's addresses lead to it; None for every other."""
    inside_organization: bool | None = None
    """True as well where no organization is configured: then every repository counts as ours."""
    opted_in: bool | None = None
    """Whether the registry project bears the tag that lets rules grant; True where no tag is configured."""
    already_granted: bool | None = None
    """In the repository's own reader binding."""
    inherited: bool | None = None
    """Whether the member can read the repository by another role, or from further up."""
    barred: bool | None = None
    """Whether a deny policy or an access boundary keeps the member from reading, whatever is granted."""
    propagating: bool = False
    """Whether our own grant is so recent that IAM may not know it everywhere yet."""
    verified: bool | None = None
    """Whether Cloud Logging itself has the entry, and it says the same."""
    previously_deployed: bool | None = None
    """Whether this member deployed an image of this repository successfully before."""
    denials: int | None = None
    """How often it was denied, this time included."""
    deploy_ancestors: tuple[str, ...] | None = None
    """`projects/ID`, `folders/N`, ..., `organizations/N`, nearest first."""
    image_ancestors: tuple[str, ...] | None = None


ASSUMED = Evidence(
    repository_exists=True, repository_format="DOCKER", inside_organization=True, opted_in=True, verified=True
)
"""What a plan of exported entries assumes, which asks nobody."""


class Rule(msgspec.Struct, frozen=True):
    """What a rule says once it matches."""

    name: str
    then: Outcome
    expires_after: float | None = None
    reviewers: tuple[str, ...] = ()
    because: str = ""


class Rules(Protocol):
    """A policy: which rule is the first that does not say no."""

    def judge(self, variables: Mapping[str, object]) -> tuple[Rule, bool]:
        """The first rule that is not false, or the one that stands for `otherwise`; and whether it is true.

        What is missing from `variables` is not known. A rule that is neither true nor false hangs on that.
        """

    def mentions(self, variable: str) -> bool:
        """Whether any rule looks at the variable, so that it is worth learning."""

    @property
    def digest(self) -> str:
        """What tells one policy from another: twelve hexadecimal digits, or the name of a built-in one."""


class BuiltIn:
    """The rules where no policy file is given: only what Cloud Run itself allowed before 2025-01-15 is granted."""

    digest = "built-in"

    def judge(self, variables: Mapping[str, object]) -> tuple[Rule, bool]:
        """Grants an image of the deploying project to an identity that is not shared; asks everything else."""
        same, shared = variables.get("evidence.same_project"), variables.get("member.shared")
        if same is True and shared is False:
            return Rule("same project", Outcome.GRANT), True
        return Rule(OTHERWISE, Outcome.ASK), True

    def mentions(self, variable: str) -> bool:
        return variable in ("evidence.same_project", "member.shared")


BUILT_IN = BuiltIn()


def decide(
    subject: Denial | NotADenial,
    evidence: Evidence = ASSUMED,
    rules: Rules = BUILT_IN,
    *,
    predicted: bool = False,
) -> Decision:
    """What enforce mode does about an entry. Pure: the same denial, evidence and rules, the same decision.

    A `predicted` denial is only foreseen: what a rule would grant is asked.
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
    facts = (*((Reason.PREDICTED,) if predicted else ()), *_facts(subject, evidence))
    if rule.then is Outcome.REFUSE and sure:
        why = (Reason.POLICY_REFUSES, *facts)
        return Decision(Outcome.REFUSE, rule.name, why, because=rule.because, policy=rules.digest)
    says = (rule.expires_after, rule.reviewers, rule.because, rules.digest)
    if not sure:
        return Decision(Outcome.ASK, rule.name, (*facts, Reason.EVIDENCE_UNKNOWN), *says)
    limits = _limits(subject, evidence, predicted=predicted)
    if rule.then is Outcome.GRANT and not limits:
        return Decision(Outcome.GRANT, rule.name, facts, *says)
    # A question shows what a person has to look at; that the project is the same is no such thing beside others.
    cautions = tuple(reason for reason in facts if reason is not Reason.SAME_PROJECT)
    name = OTHERWISE if rules is BUILT_IN else rule.name
    return Decision(Outcome.ASK, name, tuple(dict.fromkeys((*cautions, *limits))) or facts, *says)


def in_mode(decision: Decision, mode: Mode) -> Decision:
    """The decision as the mode carries it out: in dry-run, what would be granted is asked."""
    if mode is Mode.DRY_RUN and decision.outcome is Outcome.GRANT:
        return asked(decision, Reason.DRY_RUN)
    return decision


def asked(decision: Decision, reason: Reason) -> Decision:
    """A grant turned into a question, for one reason more."""
    return msgspec.structs.replace(decision, outcome=Outcome.ASK, reasons=(*decision.reasons, reason))


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


VARIABLES: dict[str, tuple[str, str]] = {
    "deploy.project": ("string", "id of the project deployed to"),
    "deploy.number": ("string", "its number"),
    "deploy.location": ("string", "region deployed to"),
    "deploy.kind": ("string", "service, job, worker_pool or instance"),
    "deploy.name": ("string", "name of what was deployed"),
    "deploy.ancestors": ("list", "projects/ID, folders/N, ..., organizations/N of the deploying project"),
    "image.reference": ("string", "the image as it was deployed"),
    "image.project": ("string", "project of the repository"),
    "image.location": ("string", "location of the repository"),
    "image.repository": ("string", "name of the repository"),
    "image.ancestors": ("list", "projects/ID, folders/N, ..., organizations/N of the repository's project"),
    "member.id": ("string", "who would get the grant, as in serviceAccount:a@p.iam.gserviceaccount.com"),
    "member.kind": ("string", "user, serviceAccount or principal"),
    "member.domain": ("string", "domain of the address"),
    "member.project": ("string", "project that a service account lives in"),
    "member.shared": ("bool", "whether many deploys run as this identity"),
    "reader": ("string", "deployer or service_agent"),
    "evidence.same_project": ("bool", "whether the image lies in the deploying project"),
    "evidence.previously_deployed": ("bool", "whether this member deployed from this repository before"),
    "evidence.inherited": ("bool", "whether the member can read it by another role, or from further up"),
    "evidence.predicted": ("bool", "whether it was foreseen, and not denied yet"),
    "evidence.denials": ("int", "how often it was denied, this time included"),
}
"""What a rule may look at: each variable's type and meaning."""


def variables(denial: Denial, evidence: Evidence, *, predicted: bool = False) -> dict[str, object]:
    """The variables that are known of a denial, by name; what is missing is not known."""
    deploy, member, repository = denial.deploy, denial.member, denial.repository
    values: dict[str, object | None] = {
        "deploy.project": deploy.project,
        "deploy.number": deploy.number,
        "deploy.location": deploy.location,
        "deploy.kind": str(deploy.kind) if deploy.kind else None,
        "deploy.name": deploy.name,
        "deploy.ancestors": _listed(evidence.deploy_ancestors),
        "image.reference": denial.image,
        "image.ancestors": _listed(evidence.image_ancestors),
        "reader": str(denial.reader) if denial.reader else None,
        "evidence.same_project": same_project(denial),
        "evidence.previously_deployed": evidence.previously_deployed,
        "evidence.inherited": evidence.inherited,
        "evidence.predicted": predicted,
        "evidence.denials": evidence.denials,
    }
    if repository is not None:
        values |= _named(repository)
    if member is not None:
        values |= {"member.id": member.id, "member.kind": str(member.kind), "member.domain": member.domain}
        values |= {"member.project": member.project, "member.shared": denial.shared}
    return {name: value for name, value in values.items() if value is not None}


def _named(repository: Repository) -> dict[str, object]:
    return {
        "image.project": repository.project,
        "image.location": repository.location,
        "image.repository": repository.name,
    }


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


_REFUSED_MEMBERS = (Reason.PUBLIC_MEMBER, Reason.DELETED_MEMBER, Reason.GROUP_MEMBER)


def _refusals(denial: Denial, evidence: Evidence) -> tuple[Reason, ...]:
    """The invariants: what no rule and no reviewer can override."""
    reasons = [doubt for doubt in denial.doubts if doubt in _REFUSED_MEMBERS]
    if evidence.repository_exists is False:
        reasons.append(Reason.REPOSITORY_NOT_FOUND)
    if evidence.repository_format not in (None, "DOCKER"):
        reasons.append(Reason.NOT_IMAGES)
    if evidence.inside_organization is False:
        reasons.append(Reason.OTHER_ORGANIZATION)
    if evidence.inside_organization is None:
        reasons.append(Reason.ORGANIZATION_UNKNOWN)
    if evidence.verified is False:
        reasons.append(Reason.UNVERIFIED_EVENT)
    return tuple(reasons)


def _limits(denial: Denial, evidence: Evidence, *, predicted: bool) -> tuple[Reason, ...]:
    """What turns a rule's grant into a question: nobody grants on what is doubtful, not known, or not denied yet."""
    reasons = [Reason.PREDICTED, *denial.doubts] if predicted else list(denial.doubts)
    if denial.repository is None:
        reasons.append(Reason.REPOSITORY_UNKNOWN)
    if denial.member is None:
        reasons.append(Reason.MEMBER_UNKNOWN)
    elif denial.member.agent_identity:
        reasons.append(Reason.AGENT_IDENTITY)
    if denial.reader is None:
        reasons.append(Reason.READER_UNKNOWN)
    if denial.deployer is None and denial.reader is not Reader.DEPLOYER:
        reasons.append(Reason.DEPLOYER_UNKNOWN)
    if same_project(denial) is None and denial.repository is not None:
        known = denial.deploy.project or denial.deploy.number
        reasons.append(Reason.PROJECT_NUMBER_UNKNOWN if known else Reason.PROJECT_UNKNOWN)
    if evidence.repository_exists is None:
        reasons.append(Reason.REPOSITORY_UNSEEN)
    elif evidence.repository_format is None:
        reasons.append(Reason.FORMAT_UNKNOWN)
    if evidence.verified is None:
        reasons.append(Reason.EVENT_UNVERIFIED)
    if not evidence.opted_in:
        reasons.append(Reason.NOT_OPTED_IN)
    return tuple(dict.fromkeys(reasons))


_MODES = {
    "VIRTUAL_REPOSITORY": Reason.VIRTUAL_REPOSITORY,
    "REMOTE_REPOSITORY": Reason.REMOTE_REPOSITORY,
}


def _facts(denial: Denial, evidence: Evidence) -> tuple[Reason, ...]:
    """What the denial itself says for or against it, and what a grant on this repository means."""
    reasons = list(denial.doubts)
    match same_project(denial):
        case True:
            reasons.append(Reason.SAME_PROJECT)
        case False:
            reasons.append(Reason.CROSS_PROJECT)
        case None if denial.repository is not None:
            known = denial.deploy.project or denial.deploy.number
            reasons.append(Reason.PROJECT_NUMBER_UNKNOWN if known else Reason.PROJECT_UNKNOWN)
    if denial.shared:
        reasons.append(Reason.SHARED_IDENTITY)
    if evidence.redirected is False:
        reasons.append(Reason.NOT_REDIRECTED)
    if evidence.repository_mode in _MODES:
        reasons.append(_MODES[evidence.repository_mode])
    return tuple(dict.fromkeys(reasons))
