"""Turns a denial, and what Google Cloud says about it, into the variables that rules look at; unknown is left out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediate.entries.denial import Denial
from remediate.iam.repository import Repository

NEWCOMERS = "deployers"
"""The value of the opt-in tag, and of the label, by which a registry's owner lets rules grant to newcomers."""

STANDARD = "STANDARD_REPOSITORY"
"""The mode of a repository that holds its own images, as Artifact Registry calls it."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What Google Cloud says about a denial. None is "not known", never "no"."""

    repository_exists: bool | None = None
    repository_format: str | None = None
    """As Artifact Registry calls it; images are in `DOCKER` alone."""
    repository_mode: str | None = None
    """As Artifact Registry calls it, `VIRTUAL_REPOSITORY` for instance. Reading one opens other repositories too."""
    redirected: bool | None = None
    """Of a gcr.io repository, whether gcr.io's addresses lead to it; None for every other."""
    inside_organization: bool | None = None
    """True as well where no organization is configured: then every repository counts as ours."""
    opted_in: bool | None = None
    """Whether the registry project has the tag that lets rules grant; True where no tag is configured."""
    newcomers: bool | None = None
    """Whether the registry's owner lets rules grant to members that never deployed from it: by tag value or label."""
    member_inside: bool | None = None
    """Whether the member belongs to our organization."""
    member_ancestors: tuple[str, ...] | None = None
    """What lies above the member's own project, nearest first."""
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
    """Whether this member deployed an image of this repository successfully within 400 days, as the log proves."""
    access_removed: bool | None = None
    """Whether somebody took the member's access to the repository away since that deploy."""
    denials: int | None = None
    """How often it was denied, this time included."""
    deploy_ancestors: tuple[str, ...] | None = None
    """`projects/ID`, `folders/N`, ..., `organizations/N`, nearest first."""
    image_ancestors: tuple[str, ...] | None = None


ASSUMED = Evidence(
    repository_exists=True,
    repository_format="DOCKER",
    repository_mode=STANDARD,
    inside_organization=True,
    opted_in=True,
    verified=True,
)
"""What a plan assumes: it reads exported entries and asks no API. For the member, see `assumed_evidence`."""


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
    "image.confirmed": ("bool", "whether the error text and the deploy name the same image or repository"),
    "member.id": ("string", "who would get the grant, as in serviceAccount:a@p.iam.gserviceaccount.com"),
    "member.kind": ("string", "user, serviceAccount or principal"),
    "member.domain": ("string", "domain of the address"),
    "member.project": ("string", "project that a service account lives in"),
    "member.shared": ("bool", "whether many deploys run as this identity"),
    "member.inside_organization": ("bool", "whether the member belongs to the organization"),
    "member.ancestors": ("list", "projects/ID, folders/N, ..., organizations/N of the member's own project"),
    "repository.mode": ("string", "STANDARD_REPOSITORY, VIRTUAL_REPOSITORY or REMOTE_REPOSITORY"),
    "repository.newcomers": ("bool", "whether the registry's owner opted in to members that never deployed from it"),
    "reader": ("string", "deployer or service_agent"),
    "evidence.same_project": ("bool", "whether the image lies in the deploying project"),
    "evidence.previously_deployed": ("bool", "whether this member deployed from this repository within 400 days"),
    "evidence.access_removed": ("bool", "whether somebody took the member's access away since that deploy"),
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
        "image.confirmed": denial.image_confirmed,
        "member.inside_organization": evidence.member_inside,
        "member.ancestors": _listed(evidence.member_ancestors),
        "repository.mode": evidence.repository_mode,
        "repository.newcomers": evidence.newcomers,
        "reader": str(denial.reader) if denial.reader else None,
        "evidence.same_project": same_project(denial),
        "evidence.previously_deployed": evidence.previously_deployed,
        "evidence.access_removed": evidence.access_removed,
        "evidence.inherited": evidence.inherited,
        "evidence.predicted": predicted,
        "evidence.denials": evidence.denials,
    }
    if repository is not None:
        values |= _named(repository)
    if member is not None:
        values |= {"member.id": member.id, "member.kind": str(member.kind), "member.domain": member.domain}
        values |= {"member.project": member.project, "member.shared": denial.is_shared}
    return {name: value for name, value in values.items() if value is not None}


def _named(repository: Repository) -> dict[str, object]:
    return {
        "image.project": repository.project,
        "image.location": repository.location,
        "image.repository": repository.name,
    }


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
