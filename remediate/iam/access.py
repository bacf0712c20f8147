"""Turns the allow policies from a repository up to its organization into whether a member can read the repository.

A plain yes or no where the policies alone tell; None where a condition, a group, a custom role that nobody could look
up, or a policy that may not be read has a say. Deny policies and access boundaries are not seen here.
Source: "Policy evaluation" and "IAM roles and permissions index" (IAM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import msgspec

from remediate.errors import BadInput
from remediate.iam.allow_policy import Binding
from remediate.iam.member import Member

DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
"""The permission that reading an image takes."""
ROLES_FILE = Path(__file__).with_name("roles.json")
_EVERYBODY = ("allUsers", "allAuthenticatedUsers")
MANY = ("group:", "domain:", "principalSet:", "projectOwner:", "projectEditor:", "projectViewer:")
"""How the members of a policy begin that stand for many: who they are cannot be told."""


def can_read(
    levels: Iterable[Sequence[Binding] | None], member: Member, holds: Callable[[str], bool | None]
) -> bool | None:
    """Whether the member can download, by the bindings of each level (None: they could not be read).

    `holds` tells whether a custom role holds the permission, None where that is not known.
    """
    unknown = False
    for bindings in levels:
        if bindings is None:
            unknown = True
            continue
        for binding in bindings:
            named = _named(binding, member)
            if named is False:
                continue
            held = _held(binding.role, holds)
            if held and named and not binding.conditional:
                return True
            unknown = unknown or held is not False
    return None if unknown else False


def _named(binding: Binding, member: Member) -> bool | None:
    """Whether a binding means the member; None where it means many, and nobody can tell who they are."""
    if any(text in _EVERYBODY or key_of(text) == member.key for text in binding.members):
        return True
    return None if any(text.startswith(MANY) for text in binding.members) else False


def _held(role: str, holds: Callable[[str], bool | None]) -> bool | None:
    """Whether a role lets its members download; a predefined one that the shipped list does not have does not."""
    return role in predefined_readers() if role.startswith("roles/") else holds(role)


def key_of(text: str) -> str:
    """A policy's member as `Member.key` has it, to be compared."""
    return text if text.startswith("principal://") else text.casefold()


class ShippedRoles(msgspec.Struct, frozen=True):
    """The predefined roles that hold the permission, and of when they are."""

    permission: str
    as_of: str
    source: str
    roles: tuple[str, ...]


def shipped_roles() -> ShippedRoles:
    """What `roles.json` says. Raises BadInput where it is no such file any more."""
    try:
        return msgspec.json.decode(ROLES_FILE.read_bytes(), type=ShippedRoles)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(f"{ROLES_FILE.name}: {error}") from None


def write_roles(roles: Iterable[str], as_of: str) -> None:
    """Put these roles in place of the shipped ones, as a whole. Raises BadInput where there are none, or no right."""
    found = ShippedRoles(DOWNLOAD, as_of, "roles.list (IAM API v1)", tuple(sorted(roles)))
    if not found.roles:
        raise BadInput("IAM named no role at all; the shipped ones stay")
    temporary = ROLES_FILE.with_suffix(".new")
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        temporary.replace(ROLES_FILE)
    except OSError as error:
        raise BadInput(f"{ROLES_FILE.name} cannot be written: {error.strerror}") from None
    predefined_readers.cache_clear()


@cache
def predefined_readers() -> frozenset[str]:
    """The predefined roles that hold the permission, as of the date in `roles.json`."""
    return frozenset(shipped_roles().roles)
