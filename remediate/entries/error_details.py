"""Reads a status's details: the permission, the resource, the cause and a link to Policy Troubleshooter.

Source: `google.rpc.ErrorInfo` and `google.rpc.Help`, as IAM and Service Usage fill them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from remediate.entries.log_entry import Status, decode
from remediate.iam.repository import Repository
from remediate.reasons import Reason

_READ = "artifactregistry.repositories.downloadartifacts"
_DOMAINS = (
    "artifactregistry.googleapis.com",
    "containerregistry.googleapis.com",
    "iam.googleapis.com",
    "run.googleapis.com",
    "googleapis.com",
)
_SERVICE = "//artifactregistry.googleapis.com/"
_CAUSES = {
    "SERVICE_DISABLED": Reason.REGISTRY_API_DISABLED,
    "API_DISABLED": Reason.REGISTRY_API_DISABLED,
    "BILLING_DISABLED": Reason.REGISTRY_BILLING,
    "CONSUMER_SUSPENDED": Reason.REGISTRY_BILLING,
    "RATE_LIMIT_EXCEEDED": Reason.REGISTRY_BUSY,
    "RESOURCE_QUOTA_EXCEEDED": Reason.REGISTRY_BUSY,
    "QUOTA_EXCEEDED": Reason.REGISTRY_BUSY,
    "ORG_RESTRICTION_VIOLATION": Reason.REGISTRY_POLICY,
    "ORG_RESTRICTION_HEADER_INVALID": Reason.REGISTRY_POLICY,
    "CUSTOM_ORG_POLICY_VIOLATION": Reason.REGISTRY_POLICY,
    "RESOURCE_USAGE_RESTRICTION_VIOLATED": Reason.REGISTRY_POLICY,
    "LOCATION_ORG_POLICY_VIOLATED": Reason.REGISTRY_POLICY,
}
_MOST = 20  # details that are read
_LINK = re.compile(
    r"https://console\.cloud\.google\.com(?P<path>/iam-admin/troubleshooter(?:[/;][A-Za-z0-9/;=%._~:@!$&*+,-]{0,1900})?)"
    r"(?![A-Za-z0-9_-])",
    re.I,
)


class Details(msgspec.Struct, frozen=True):
    """The content of a status's details."""

    reads: bool = False
    """Whether the details name the permission to download images."""
    repositories: tuple[Repository, ...] = ()
    """The distinct repositories that the details name as the resource."""
    cause: Reason | None = None
    """The reason why a reader grant cannot fix the error, if the details give one."""
    foreign: bool = False
    """Whether the details name another permission or service, or a resource that is not a repository."""
    troubleshooter: str | None = None


def details_of(status: Status | None) -> Details:
    """Read the details of a status. Total: any content is accepted."""
    infos = list(_infos(status))
    named = [_resource(info) for info in infos]
    parsed = [Repository.parse(each) for each in named if each]
    permissions = [each.lower() for info in infos if (each := _text(info, "metadata", "permission"))]
    reasons = [each.upper() for info in infos if (each := _text(info, "reason"))]
    causes = [_CAUSES[each] for each in reasons if each in _CAUSES]
    foreign = [each for each in permissions if each != _READ]
    foreign += [each for info in infos if (each := _text(info, "domain")) and each.lower() not in _DOMAINS]
    foreign += [each for each in reasons if each not in _CAUSES and "PERMISSION_DENIED" not in each]
    return Details(
        reads=_READ in permissions,
        repositories=tuple(dict.fromkeys(each for each in parsed if each)),
        cause=causes[0] if causes else None,
        foreign=bool(foreign) or None in parsed,
        troubleshooter=next((link for url in _links(status) if (link := troubleshooter_link(url))), None),
    )


def troubleshooter_link(text: str) -> str | None:
    """The first Policy Troubleshooter link in a text: only host and path, at most 2,000 characters."""
    match = _LINK.search(text)
    return f"https://console.cloud.google.com{match['path'].rstrip('.,;:')}" if match else None


def _infos(status: Status | None) -> Iterator[dict[str, object]]:
    for each in _details(status):
        if _text(each, "@type").endswith("google.rpc.ErrorInfo"):
            yield each


def _links(status: Status | None) -> Iterator[str]:
    for each in _details(status):
        links = each.get("links") if _text(each, "@type").endswith("google.rpc.Help") else None
        for link in links[:_MOST] if isinstance(links, list) else []:
            yield _text(link, "url")


def _details(status: Status | None) -> list[dict[str, object]]:
    value = decode(status.details) if status else None
    return [each for each in value[:_MOST] if isinstance(each, dict)] if isinstance(value, list) else []


def _resource(info: dict[str, object]) -> str:
    return (_text(info, "metadata", "resource") or _text(info, "metadata", "resourceName")).removeprefix(_SERVICE)


def _text(value: object, *path: str) -> str:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
