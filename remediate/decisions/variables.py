"""Gives the variables of a denial and its evidence that rules can use. Unknown ones are left out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediate.entries.denial import Denial
from remediate.iam.repository import Repository

NEWCOMERS = "deployers"
"""The value of the opt-in tag, and of the label, with which a registry's owner lets rules grant to new deployers."""

STANDARD = "STANDARD_REPOSITORY"
"""Artifact Registry's name for the mode of a repository that stores its own images."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What Google Cloud says about a denial. None means unknown, never no."""

    repository_exists: bool | None = None
    repository_format: str | None = None
    """Artifact Registry's name of the format. Only `DOCKER` has container images."""
    repository_mode: str | None = None
    """Artifact Registry's name, such as `VIRTUAL_REPOSITORY`. A virtual repository gives access to others too."""
    redirected: bool | None = None
    """For a gcr.io repository: whether gcr.io addresses lead to it. None for every other repository."""
    inside_organization: bool | None = None
    """Also True if no organization is configured: then every repository counts as ours."""
    opted_in: bool | None = None
    """Whether the registry project has the tag that lets rules grant; True if no tag is configured."""
    newcomers: bool | None = None
    """Whether the registry's owner lets rules grant to members that never deployed from it, by tag value or label."""
    member_inside: bool | None = None
    """Whether the member belongs to our organization."""
    member_ancestors: tuple[str, ...] | None = None
    """The ancestors of the member's own project, nearest first."""
    already_granted: bool | None = None
    """Whether the member is in the repository's own reader binding."""
    inherited: bool | None = None
    """Whether the member can read the repository through another role or through an ancestor's policy."""
    barred: bool | None = None
    """Whether a deny policy or a principal access boundary prevents the member from reading despite any grant."""
    propagating: bool = False
    """Whether our own grant is so recent that it may not have propagated in IAM yet."""
    verified: bool | None = None
    """Whether Cloud Logging has the entry with the same content."""
    previously_deployed: bool | None = None
    """Whether the log proves that this member deployed an image of this repository within 400 days."""
    access_removed: bool | None = None
    """Whether someone removed the member's access to the repository since that deploy."""
    denials: int | None = None
    """The number of denials, including this one."""
    deploy_ancestors: tuple[str, ...] | None = None
    """The deploying project and its ancestors, nearest first: `projects/ID`, `folders/N`, ..., `organizations/N`."""
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
    """Whether the image is in the deploying project; None if the entry does not show it."""
    if denial.repository is None:
        return None
    project = denial.repository.project
    if project in (denial.deploy.project, denial.deploy.number):
        return True
    known = denial.deploy.number if project.isdigit() else denial.deploy.project
    return None if known is None else False


VARIABLES: dict[str, tuple[str, str]] = {
    "deploy.project": ("string", "id of the project deployed to"),
    "deploy.number": ("string", "number of the project deployed to"),
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
    "evidence.access_removed": ("bool", "whether the member's access was removed since that deploy"),
    "evidence.inherited": ("bool", "whether the member can read it through another role, or through a parent"),
    "evidence.predicted": ("bool", "whether it is predicted, and not denied yet"),
    "evidence.denials": ("int", "number of denials, this one included"),
}
"""The variables of a condition: type and meaning."""


def variables(denial: Denial, evidence: Evidence, *, predicted: bool = False) -> dict[str, object]:
    """The known variables of a denial, by name. A missing one is unknown."""
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
