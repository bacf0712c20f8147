"""Writes a grant for other tools: as a gcloud command, or as a Terraform resource with its import."""

from __future__ import annotations

import json
import re
import shlex

from remediate.iam.repository import Repository


def gcloud_command(repository: str, role: str, member: str) -> str:
    """The gcloud command for this grant, quoted for a shell. `repository` is a full resource name."""
    named = Repository.parse(repository)
    assert named is not None
    return shlex.join(
        [
            "gcloud", "artifacts", "repositories", "add-iam-policy-binding", named.name, f"--project={named.project}",
            f"--location={named.location}", f"--member={member}", f"--role={role}",
        ]
    )  # fmt: skip


def terraform_resource(repository: str, role: str, member: str, taken: set[str]) -> str:
    """A `_member` resource, which changes no other access, and an import block for the existing grant.

    `taken` is the set of used resource names; the function adds the new one.
    """
    named = Repository.parse(repository)
    assert named is not None
    name = _unique(f"{named.name}_{member.partition(':')[2]}", taken)
    return (
        f'resource "google_artifact_registry_repository_iam_member" "{name}" {{\n'
        f"  project    = {_hcl(named.project)}\n"
        f"  location   = {_hcl(named.location)}\n"
        f"  repository = {_hcl(named.name)}\n"
        f"  role       = {_hcl(role)}\n"
        f"  member     = {_hcl(member)}\n"
        "}\n\n"
        "import {\n"
        f"  to = google_artifact_registry_repository_iam_member.{name}\n"
        f"  id = {_hcl(f'{repository} {role} {member}')}\n"
        "}\n"
    )


def _hcl(text: str) -> str:
    """The text as a quoted HCL string, without template interpolation."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


def _unique(text: str, taken: set[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:80]
    stem = stem if stem[:1].isalpha() else f"r_{stem}"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    taken.add(name)
    return name
