"""Runs the test cases of a policy: given a denial and evidence, expect an outcome and a rule."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from remediate.decisions.policy import Decision, Outcome, decide
from remediate.decisions.policy_file import FileRules, Judged
from remediate.decisions.variables import ASSUMED, STANDARD, Evidence
from remediate.decisions.yaml_source import Marks, load_yaml, locate_error, place_of
from remediate.entries.denial import Denial, Deploy, EntryId, Reader, ResourceKind
from remediate.errors import BadInput
from remediate.iam.member import Member, parse_member
from remediate.iam.repository import parse_image
from remediate.reasons import Reason


class GivenDeploy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The target of the deploy."""

    project: str | None = None
    number: str | None = None
    location: str | None = None
    kind: ResourceKind | None = None
    name: str | None = None
    ancestors: tuple[str, ...] | None = None


class GivenEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The evidence from Google Cloud; null means unknown. The defaults are in favor of a grant."""

    repository_exists: bool | None = True
    repository_format: str | None = "DOCKER"
    repository_mode: str | None = STANDARD
    redirected: bool | None = None
    inside_organization: bool | None = True
    opted_in: bool | None = True
    already_granted: bool | None = False
    inherited: bool | None = False
    barred: bool | None = None
    propagating: bool = False
    verified: bool | None = True
    previously_deployed: bool | None = None
    access_removed: bool | None = None
    newcomers: bool | None = None
    member_inside: bool | None = True
    denials: int | None = 1
    predicted: bool = False


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A denial (which member could not read which image, deployed where), and the evidence about it."""

    image: str
    member: str
    deploy: GivenDeploy = GivenDeploy()
    image_ancestors: tuple[str, ...] | None = None
    member_ancestors: tuple[str, ...] | None = None
    reader: Reader = Reader.DEPLOYER
    deployer: str | None = "user:deployer@example.com"
    """The deployer, if the reader is the service agent; null: unknown."""
    doubts: tuple[Reason, ...] = ()
    authorized: bool | None = True
    """Whether the caller may deploy there; null: not recorded."""
    image_confirmed: bool = True
    """Whether the error text and the deploy name the same image."""
    evidence: GivenEvidence = GivenEvidence()


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The expected result. A key that is left out is not compared."""

    outcome: Outcome
    rule: str | None = None
    reasons: tuple[Reason, ...] | None = None
    approvals: int | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One test case."""

    name: Annotated[str, Meta(min_length=1)]
    given: Given
    expect: Expected


class Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of test cases."""

    cases: tuple[Case, ...]


_ACCEPTED = {
    "outcome": ", ".join(Outcome),
    "kind": ", ".join(ResourceKind),
    "reader": ", ".join(Reader),
    "doubts": "the codes of docs/reasons.md",
    "reasons": "the codes of docs/reasons.md",
}


class Explained(msgspec.Struct, frozen=True):
    """A policy's decision about one denial, and what each of its rules says."""

    insert_id: str | None
    outcome: Outcome
    rule: str | None
    reasons: tuple[Reason, ...]
    rules: list[Judged]


class Result(msgspec.Struct, frozen=True):
    """The result of a test case; `wrong` has the expected and the actual values, empty if they are equal."""

    name: str
    place: str
    decision: Decision
    wrong: str


def parse_cases(text: str, name: str) -> list[tuple[str, Case]]:
    """The test cases of a file, each with its place. Raises BadInput with line and column of an invalid one."""
    content, marks = load_yaml(text, name)
    try:
        cases = msgspec.convert(content, Cases).cases
    except msgspec.ValidationError as error:
        raise BadInput(
            locate_error(str(error), name, marks, _ACCEPTED), advice="docs/policy.md shows a file of test cases."
        ) from None
    for number, case in enumerate(cases):
        _checked(case, name, marks, f"$.cases[{number}].given")
    return [(place_of(name, marks, f"$.cases[{number}]"), case) for number, case in enumerate(cases)]


def run(rules: FileRules, cases: list[tuple[str, Case]]) -> tuple[list[Result], list[str]]:
    """The result of each test case, and the names of the rules that no case reaches."""
    results, reached = [], set()
    for place, case in cases:
        denial, evidence = _denial(case.given), _evidence(case.given)
        decision = decide(denial, evidence, rules, predicted=case.given.evidence.predicted)
        reached.add(decision.rule)
        results.append(Result(case.name, place, decision, _wrong(case.expect, decision)))
    return results, [each.rule.name for each in rules.rules if each.rule.name not in reached]


def _wrong(expected: Expected, decision: Decision) -> str:
    said = []
    if decision.outcome is not expected.outcome:
        said.append(f"expected {expected.outcome}, got {decision.outcome}")
    if expected.rule is not None and decision.rule != expected.rule:
        said.append(f"expected rule {expected.rule!r}, got {decision.rule!r}")
    if expected.reasons is not None and set(decision.reasons) != set(expected.reasons):
        said.append(f"expected reasons {', '.join(expected.reasons)}, got {', '.join(decision.reasons)}")
    if expected.approvals is not None and decision.approvals != expected.approvals:
        said.append(f"expected approvals {expected.approvals}, got {decision.approvals}")
    return "; ".join(said)


def _checked(case: Case, name: str, marks: Marks, at: str) -> None:
    if parse_image(case.given.image) is None:
        where = place_of(name, marks, f"{at}.image")
        raise BadInput(
            f"{where}: {case.given.image!r}: expected an image in Artifact Registry, LOCATION-docker.pkg.dev/P/R/I"
        )
    if parse_member(case.given.member) is Reason.MEMBER_UNKNOWN:
        where = place_of(name, marks, f"{at}.member")
        raise BadInput(f"{where}: {case.given.member!r}: expected a member, serviceAccount:a@p.iam.gserviceaccount.com")


def _denial(given: Given) -> Denial:
    image, member = parse_image(given.image), parse_member(given.member)
    doubts = given.doubts if isinstance(member, Member) else (*given.doubts, member)
    known = member if isinstance(member, Member) else None
    where = given.deploy
    deployer = known if given.reader is Reader.DEPLOYER else parse_member(given.deployer or "")
    return Denial(
        entry=EntryId(),
        deploy=Deploy(where.project, where.number, where.location, where.kind, where.name),
        reader=given.reader,
        member=known,
        repository=image.repository if image else None,
        image=given.image,
        deployer=deployer if isinstance(deployer, Member) else None,
        doubts=doubts,
        authorized=given.authorized,
        image_confirmed=given.image_confirmed,
    )


def _evidence(given: Given) -> Evidence:
    said = given.evidence
    return msgspec.structs.replace(
        ASSUMED,
        repository_exists=said.repository_exists,
        repository_format=said.repository_format if said.repository_exists else None,
        repository_mode=said.repository_mode,
        redirected=said.redirected,
        barred=said.barred,
        propagating=said.propagating,
        inside_organization=said.inside_organization,
        opted_in=said.opted_in,
        already_granted=said.already_granted,
        inherited=said.inherited,
        verified=said.verified,
        previously_deployed=said.previously_deployed,
        access_removed=said.access_removed,
        newcomers=said.newcomers,
        member_inside=said.member_inside,
        member_ancestors=given.member_ancestors,
        denials=said.denials,
        deploy_ancestors=given.deploy.ancestors,
        image_ancestors=given.image_ancestors,
    )
