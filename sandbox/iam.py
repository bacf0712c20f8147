"""IAM as in Google Cloud: which member holds a permission, and how to read and write an allow policy.

Sources: "Policy" (IAM REST reference), "Allow policy versions" and "Understanding roles".
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

from sandbox.errors import refuse
from sandbox.organization import Node, Organization, Policy

DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
_MAX_PRINCIPALS = 1500
_MEMBER = re.compile(
    r"(?:(?:user|serviceAccount|group):[^\s@:]+@[^\s@:]+\.[^\s@:]+|domain:[^\s:]+|allUsers|allAuthenticatedUsers"
    r"|principal(?:Set)?://\S+|deleted:\S+\?uid=[0-9]+)\Z"
)

# The predefined roles that include downloadArtifacts (August 2026).
_READERS = """owner editor viewer artifactregistry.admin artifactregistry.containerRegistryMigrationAdmin
artifactregistry.createOnPushRepoAdmin artifactregistry.createOnPushWriter artifactregistry.editor
artifactregistry.reader artifactregistry.repoAdmin artifactregistry.serviceAgent artifactregistry.viewer
artifactregistry.writer run.builder run.serviceAgent run.sourceDeveloper cloudbuild.builds.builder
cloudbuild.serviceAgent cloudfunctions.admin cloudfunctions.developer cloudfunctions.editor
cloudfunctions.serviceAgent appengine.appAdmin appengine.deployer appengine.serviceAgent appengineflex.serviceAgent
composer.serviceAgent composer.worker firebase.admin firebase.developAdmin firebaseapphosting.computeRunner
firebaseapphosting.serviceAgent iam.dataScientist iam.devOps iam.securityAuditor iam.supportUser
securitycenter.admin securitycenter.adminEditor securitycenter.adminViewer assuredoss.admin assuredoss.projectAdmin
assuredoss.reader assuredoss.user aiplatform.agentSandboxServiceAgent aiplatform.customCodeServiceAgent
aiplatform.serviceAgent binaryauthorization.serviceAgent compliancescanning.serviceAgent configdelivery.serviceAgent
containeranalysis.ServiceAgent containerscanning.ServiceAgent gkemulticloud.controlPlaneMachineServiceAgent
gkemulticloud.nodePoolMachineServiceAgent ml.serviceAgent networkactions.serviceAgent saasservicemgmt.serviceAgent
visualinspection.serviceAgent""".split()
_DEPLOYERS = ("owner", "editor", "run.admin", "run.developer", "run.sourceDeveloper")
_POLICY_WRITERS = ("owner", "artifactregistry.admin", "artifactregistry.repoAdmin")
_ROLE = re.compile(r"(?:roles/|projects/[^/]+/roles/|organizations/[^/]+/roles/)[A-Za-z0-9_.]+\Z")

_etags = itertools.count(2)


def role_holds(role: str, permission: str) -> bool:
    """Whether a predefined role includes a permission. Knows only the permissions that a deploy needs."""
    name = role.removeprefix("roles/")
    if permission == DOWNLOAD:
        return name in _READERS
    if permission.startswith("run."):
        return name in _DEPLOYERS
    if permission.endswith("setIamPolicy"):
        return name in _POLICY_WRITERS
    return name in ("owner", "editor", "viewer") or name.startswith(permission.partition(".")[0])


def readers() -> list[str]:
    """The predefined roles that include downloadArtifacts."""
    return [f"roles/{name}" for name in _READERS]


def denied(organization: Organization, member: str, resource: str) -> bool:
    """Whether a deny policy of the resource's project prevents the member from downloading."""
    return any(
        member in listed
        for node in organization.chain(resource)
        if isinstance(listed := node.fields.get("denied", []), list)
    )


def holds(organization: Organization, member: str, permission: str, resource: str) -> bool:
    """Whether the member has the permission on the resource, by its own policy or an inherited one.

    A conditional binding never counts: the sandbox does not evaluate conditions.
    """
    if permission == DOWNLOAD and denied(organization, member, resource):
        return False
    for node in organization.chain(resource):
        for binding in bindings(node.policy):
            custom = permission in organization.roles.get(binding["role"], ())
            if "condition" not in binding and (custom or role_holds(binding["role"], permission)):
                members = binding["members"]
                grouped = (name for group in members for name in organization.groups.get(group, ()))
                domain = f"domain:{member.rpartition('@')[2]}"
                if {member, domain, "allUsers", "allAuthenticatedUsers"} & {*members, *grouped}:
                    return True
    return False


def bindings(policy: Policy) -> list[dict[str, Any]]:
    """The policy's bindings, not copied."""
    found = policy.get("bindings")
    return found if isinstance(found, list) else []


def read_policy(node: Node, version: int) -> Policy:
    """A copy of the policy for a reader of this version: below 3, conditions show only in the role's name."""
    policy: Policy = json.loads(json.dumps(node.policy))
    if version >= 3:
        return policy
    for binding in bindings(policy):
        if condition := binding.pop("condition", None):
            mark = hashlib.sha256(json.dumps(condition, sort_keys=True).encode()).hexdigest()[:20]
            binding["role"] = f"{binding['role']}_withcond_{mark}"
    if "version" in policy:
        policy["version"] = 1
    return policy


def write_policy(organization: Organization, node: Node, policy: Any, mask: str | None) -> list[dict[str, str]]:
    """Replace the policy, as SetIamPolicy does; returns the `bindingDeltas` of the audit entry.

    Raises ApiError, with ABORTED for a stale etag. Without an etag, the new policy overwrites the old one.
    """
    if not isinstance(policy, dict):
        refuse("INVALID_ARGUMENT", "Request must contain a policy.")
    etag = policy.get("etag")
    if etag and etag != node.policy["etag"]:
        refuse(
            "ABORTED",
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
        )
    new = _checked(organization, node, policy)
    before, after = _pairs(node.policy), _pairs({"bindings": new})
    fields = {name.strip() for name in (mask or "bindings,etag").split(",")}
    if "bindings" in fields:
        node.policy["bindings"] = new
        node.policy["version"] = 3 if any("condition" in binding for binding in new) else 1
    if fields & {"auditConfigs", "audit_configs"}:
        node.policy["auditConfigs"] = policy.get("auditConfigs", [])
    node.policy["etag"] = base64.b64encode(b"\x07\x06" + next(_etags).to_bytes(6, "big")).decode()
    deltas = [("ADD", *pair) for pair in after if pair not in before]
    deltas += [("REMOVE", *pair) for pair in before if pair not in after]
    return [{"action": action, "role": role, "member": member} for action, role, member in deltas]


def _checked(organization: Organization, node: Node, policy: dict[str, Any]) -> list[dict[str, Any]]:
    standing = bindings(node.policy)
    conditions = [(binding["role"], binding["condition"]) for binding in standing if "condition" in binding]
    new: list[dict[str, Any]] = []
    for binding in policy.get("bindings", []):
        role, members = binding.get("role", ""), binding.get("members", [])
        if not _ROLE.match(role) or "_withcond_" in role:
            refuse("INVALID_ARGUMENT", f"Role {role} is not supported for this resource.")
        entry = {"role": role, "members": list(dict.fromkeys(members))}
        if condition := binding.get("condition"):
            # Repositories accept no new conditions; a version-3 writer may send an existing one back.
            if policy.get("version") != 3 or (role, condition) not in conditions:
                refuse("INVALID_ARGUMENT", "Conditions are not supported on this resource's allow policy.")
            entry["condition"] = condition
        known = {member for old in standing if old["role"] == role for member in old["members"]}
        for member in members:
            if member not in known:
                _check_member(organization, member)
        if members:
            new.append(entry)
    if conditions and policy.get("version") != 3:
        refuse("INVALID_ARGUMENT", "The policy has conditions; it must be read and written with version 3.")
    principals = {member for binding in new for member in binding["members"]}
    if len(principals) > _MAX_PRINCIPALS:
        text = f"The number of members in the policy ({len(principals)}) is larger than the maximum allowed size 1,500."
        refuse("INVALID_ARGUMENT", text)
    return new


def _check_member(organization: Organization, member: str) -> None:
    if not isinstance(member, str) or not _MEMBER.match(member):
        refuse("INVALID_ARGUMENT", f"Invalid member: {member}.")
    kind, _, address = member.partition(":")
    names = {"user": "User", "serviceAccount": "Service account", "group": "Group"}
    if kind in names and member not in organization.identities and member not in organization.groups:
        refuse("INVALID_ARGUMENT", f"{names[kind]} {address} does not exist.")


def _pairs(policy: Policy) -> list[tuple[str, str]]:
    return list(itertools.chain.from_iterable(_of(binding) for binding in bindings(policy)))


def _of(binding: dict[str, Any]) -> Iterable[tuple[str, str]]:
    return ((binding["role"], member) for member in binding["members"])
