"""Reads from an entry's `authorizationInfo` whether the caller may deploy there: yes, no, or not recorded.

Cloud Logging also keeps refused calls, with names that the callers typed. Only `authorizationInfo`, which IAM's check
writes, distinguishes an authorized deploy from an attempt. Source: `AuthorizationInfo` in the Cloud Audit Logs
reference.
"""

from __future__ import annotations

import re

import msgspec

from remediate.entries.deploy import Deploy
from remediate.entries.log_entry import AuditLog, decode
from remediate.iam.repository import is_project, is_project_number

_PERMISSION = re.compile(r"run\.[A-Za-z0-9_.]+")
_MOST = 100  # permission checks of one call that are read; Cloud Run makes one or two
# v1 and v2 names, with or without the service's host; the parent of a create ends before the collection.
_NAME = re.compile(
    r"(?://[a-z0-9-]*\.?run\.googleapis\.com/|/)?(?:apis/[a-z.]+/v[0-9a-z]+/)?"
    r"(?:projects|namespaces)/([^/]+)(?:/(?:locations|regions)/([^/]+))?(?:/([A-Za-z-]+)/([^/]+))?/?"
)


class _Named(msgspec.Struct, frozen=True):
    """The parts of a Cloud Run resource name. A parent has no collection and no name."""

    project: str
    location: str | None
    collection: str | None
    name: str | None

    @classmethod
    def of(cls, text: object) -> _Named | None:
        match = _NAME.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return None
        collection = match[3] and match[3].lower().replace("-", "")
        return cls(match[1], match[2], collection, match[4])


def is_authorized(audit: AuditLog, where: Deploy) -> bool | None:
    """Whether IAM allowed the call on the entry's own resource.

    True: IAM granted at least one `run.*` permission for `resourceName` (for a create: on the parent) and refused
    none. False: IAM refused one; an absent `granted` means refused. None: the entry records neither.
    """
    checks = decode(audit.authorization_info)
    asked = [each for each in checks if _is_run(each)] if isinstance(checks, list) else []
    if any(each.get("granted") is not True for each in asked):
        return False
    target = _Named.of(audit.resource_name)
    if target is None or len(asked) > _MOST:
        return None
    return True if any(_covers(each, target, where) for each in asked) else None


def _is_run(check: object) -> bool:
    permission = check.get("permission") if isinstance(check, dict) else None
    return isinstance(permission, str) and _PERMISSION.fullmatch(permission) is not None


def _covers(check: dict[str, object], target: _Named, where: Deploy) -> bool:
    """Whether a granted check is about the target or, for a create, about the target's parent."""
    attributes = check.get("resourceAttributes")
    named = check.get("resource") or (attributes.get("name") if isinstance(attributes, dict) else None)
    resource = _Named.of(named)
    if resource is None or not _same_project(resource.project, target.project, where):
        return False
    if None not in (resource.location, target.location) and resource.location != target.location:
        return False
    if resource.name is None:
        return str(check["permission"]).endswith(".create")
    if target.name is None:  # some creates name their parent as the resource
        return resource.name == where.name
    return (resource.collection, resource.name) == (target.collection, target.name)


def _same_project(one: str, other: str, where: Deploy) -> bool:
    """Whether both texts name one project: they are equal, or they are the deploying project's id and number."""
    if one == other:
        return True
    if not (is_project(one) and is_project(other)) or is_project_number(one) == is_project_number(other):
        return False
    number, ident = sorted((one, other), key=is_project_number, reverse=True)
    return ident == where.project and number == (where.number or number)
