"""Evaluates the allow policies from a repository up to its organization: can a member read the repository?

True or False if the policies decide. None if the answer depends on a condition, a group, an unknown custom role
or an unreadable policy. Ignores deny policies and principal access boundaries. Source: "Policy evaluation" and "IAM
roles and permissions index" (IAM).
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
"""The permission to read an image."""
ROLES_FILE = Path(__file__).with_name("roles.json")
_EVERYBODY = ("allUsers", "allAuthenticatedUsers")
MANY = ("group:", "domain:", "principalSet:", "projectOwner:", "projectEditor:", "projectViewer:")
"""Prefixes of policy members that are sets. The policy does not say who is in the set."""


def can_read(
    levels: Iterable[Sequence[Binding] | None], member: Member, holds: Callable[[str], bool | None]
) -> bool | None:
    """Whether the bindings of any level let the member download; None if that is unknown.

    A level is None if its bindings could not be read. `holds` says whether a custom role includes the permission
    (None: unknown).
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
    """Whether a binding names the member; None if it names a set that may contain the member."""
    if any(text in _EVERYBODY or key_of(text) == member.key for text in binding.members):
        return True
    return None if any(text.startswith(MANY) for text in binding.members) else False


def _held(role: str, holds: Callable[[str], bool | None]) -> bool | None:
    """Whether a role includes the permission. A predefined role that is not in `roles.json` does not."""
    return role in predefined_readers() if role.startswith("roles/") else holds(role)


def key_of(text: str) -> str:
    """The key of a policy's member, comparable to `Member.key`."""
    return text if text.startswith("principal://") else text.casefold()


class ShippedRoles(msgspec.Struct, frozen=True):
    """The predefined roles that include the permission, with the date of the list."""

    permission: str
    as_of: str
    source: str
    roles: tuple[str, ...]


_shipped = msgspec.json.Decoder(ShippedRoles)


def shipped_roles() -> ShippedRoles:
    """The content of `roles.json`. Raises BadInput if it is missing or not valid."""
    try:
        return _shipped.decode(ROLES_FILE.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise BadInput(f"{ROLES_FILE.name}: {error}") from None


def write_roles(roles: Iterable[str], as_of: str) -> None:
    """Replace the shipped roles by these. Raises BadInput if there are none, or if the file cannot be written."""
    found = ShippedRoles(DOWNLOAD, as_of, "roles.list (IAM API v1)", tuple(sorted(roles)))
    if not found.roles:
        raise BadInput("IAM listed no role with the permission; the shipped list is unchanged")
    temporary = ROLES_FILE.with_suffix(".new")
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        temporary.replace(ROLES_FILE)
    except OSError as error:
        raise BadInput(f"{ROLES_FILE.name} cannot be written: {error.strerror}") from None
    predefined_readers.cache_clear()


@cache
def predefined_readers() -> frozenset[str]:
    """The predefined roles that include the permission, as of the date in `roles.json`."""
    return frozenset(shipped_roles().roles)
