"""Loads the organization file (YAML): the sandbox's organizations, folders, projects, repositories and identities."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sandbox.deployment_seed import DeploymentSeed
from sandbox.errors import SeedError

Policy = dict[str, object]
"""An allow policy in the REST API's JSON: `version`, `bindings`, `etag`, perhaps `auditConfigs`."""


class Binding(msgspec.Struct, forbid_unknown_fields=True):
    """One binding of a seeded allow policy."""

    role: str
    members: list[str]
    condition: dict[str, str] | None = None


class RepositorySeed(msgspec.Struct, forbid_unknown_fields=True):
    """An Artifact Registry repository. `images` are its images as `NAME:TAG`."""

    name: str
    location: str
    format: str = "DOCKER"
    mode: str = "STANDARD_REPOSITORY"
    policy: list[Binding] = []
    images: list[str] = []
    audit_configs: list[dict[str, object]] = []
    labels: dict[str, str] = {}


class ProjectSeed(msgspec.Struct, forbid_unknown_fields=True):
    """A project. `parent` is `folders/N`, `organizations/N`, or empty for a project without an organization."""

    id: str
    number: str
    parent: str = ""
    policy: list[Binding] = []
    repositories: list[RepositorySeed] = []
    denied: list[str] = []
    """Members that a deny policy prevents from reading images here."""
    tags: list[str] = []
    """Namespaced tag values, `ORGANIZATION/KEY/VALUE`."""
    redirection: str = "REDIRECTION_FROM_GCR_IO_ENABLED"
    """Whether gcr.io addresses lead to this project's repositories."""


class FolderSeed(msgspec.Struct, forbid_unknown_fields=True):
    """A folder; `parent` is `organizations/N` or `folders/N`."""

    id: str
    name: str
    parent: str
    policy: list[Binding] = []


class OrganizationSeed(msgspec.Struct, forbid_unknown_fields=True):
    """An organization."""

    id: str
    domain: str
    policy: list[Binding] = []


class RoleSeed(msgspec.Struct, forbid_unknown_fields=True):
    """A custom role; `name` is `projects/ID/roles/ROLE` or `organizations/N/roles/ROLE`."""

    name: str
    permissions: list[str]


class Seed(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file. `identities` are the members that exist; a grant to any other is an error, as in Google Cloud."""

    organizations: list[OrganizationSeed]
    projects: list[ProjectSeed]
    folders: list[FolderSeed] = []
    identities: list[str] = []
    groups: dict[str, list[str]] = {}
    roles: list[RoleSeed] = []
    deployment: DeploymentSeed | None = None
    """Where the service itself is installed, for `remediate doctor`."""


@dataclass
class Node:
    """A resource with an allow policy. `name` is `organizations/N`, `folders/N`, `projects/ID` or a repository name."""

    name: str
    parent: str
    policy: Policy
    fields: dict[str, object] = field(default_factory=dict)


@dataclass
class Organization:
    """All resources by name, all projects by id and number, and all existing identities."""

    nodes: dict[str, Node]
    project_ids: dict[str, str]
    """Project id by id, and by number."""
    images: dict[str, set[str]]
    """Images (`NAME:TAG`) by repository name."""
    identities: set[str]
    groups: dict[str, list[str]]
    roles: dict[str, list[str]] = field(default_factory=dict)
    """Custom roles by name, with their permissions."""
    deployment: DeploymentSeed | None = None

    def number(self, project_id: str) -> str:
        """The number of the project with this id."""
        return str(self.nodes[f"projects/{project_id}"].fields["number"])

    def chain(self, name: str) -> list[Node]:
        """The resource and its ancestors, whose allow policies it inherits, nearest first."""
        chain = []
        while node := self.nodes.get(name):
            chain.append(node)
            name = node.parent
        return chain


def load(path: Path) -> Organization:
    """Load the resources from a file. Raises SeedError with the file and the place in it."""
    try:
        import yaml

        document = yaml.safe_load(path.read_text())
        seed = msgspec.convert(document, Seed)
    except OSError as error:
        raise SeedError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SeedError(f"{path}: {error}") from None
    return _build(seed, path)


def _build(seed: Seed, path: Path) -> Organization:
    nodes: dict[str, Node] = {}
    project_ids: dict[str, str] = {}
    images: dict[str, set[str]] = {}
    identities = set(seed.identities)
    for organization in seed.organizations:
        name = f"organizations/{organization.id}"
        nodes[name] = Node(name, "", _policy(organization.policy), {"displayName": organization.domain})
    for folder in seed.folders:
        name = f"folders/{folder.id}"
        nodes[name] = Node(name, folder.parent, _policy(folder.policy), {"displayName": folder.name})
    for project in seed.projects:
        name = f"projects/{project.id}"
        if {project.id, project.number} & project_ids.keys():
            raise SeedError(f"{path}: project {project.id} ({project.number}) is described twice")
        fields: dict[str, object] = {
            "projectId": project.id,
            "number": project.number,
            "tags": project.tags,
            "denied": project.denied,
            "redirection": project.redirection,
        }
        nodes[name] = Node(name, project.parent, _policy(project.policy), fields)
        project_ids |= {project.id: project.id, project.number: project.id}
        identities.add(f"serviceAccount:service-{project.number}@serverless-robot-prod.iam.gserviceaccount.com")
        identities.add(f"serviceAccount:{project.number}-compute@developer.gserviceaccount.com")
        for repository in project.repositories:
            child = f"{name}/locations/{repository.location}/repositories/{repository.name}"
            kind: dict[str, object] = {"format": repository.format, "mode": repository.mode}
            if repository.labels:
                kind["labels"] = dict(repository.labels)
            policy = _policy(repository.policy)
            if repository.audit_configs:
                policy["auditConfigs"] = repository.audit_configs
            nodes[child] = Node(child, name, policy, kind)
            images[child] = set(repository.images)
    for node in nodes.values():
        if node.parent and node.parent not in nodes:
            raise SeedError(f"{path}: {node.name} has the parent {node.parent!r}, which the file does not describe")
        above, name = {node.name}, node.parent
        while name:
            if name in above:
                raise SeedError(f"{path}: {node.name} is its own ancestor, through {name}")
            above.add(name)
            name = nodes[name].parent if name in nodes else ""
    roles = {role.name: role.permissions for role in seed.roles}
    return Organization(nodes, project_ids, images, identities, seed.groups, roles, seed.deployment)


def _policy(bindings: list[Binding]) -> Policy:
    if not bindings:
        return {"etag": "ACAB"}  # Google's answer for a policy that was never set
    listed: list[dict[str, object]] = []
    for binding in bindings:
        listed.append({"role": binding.role, "members": list(binding.members)})
        if binding.condition:
            listed[-1]["condition"] = dict(binding.condition)
    version = 3 if any(binding.condition for binding in bindings) else 1
    return {"version": version, "etag": "BwYAAAAAAAE=", "bindings": listed}
