"""Finds out from SetIamPolicy log entries whether someone removed a member's access to a repository.

The entries are those of the repository and of its project. The answer is None if an entry cannot be compared, or if it
removed many members at once and this one may be among them. The entries do not show what folders and organizations
grant, nor who is in a group.
Source: `AuditData.policyDelta` (`google.iam.v1.logging`), "IAM audit logging".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import Enum

import msgspec

from remediate.entries.source import Log, source_of
from remediate.iam.access import MANY, key_of, predefined_readers
from remediate.iam.member import Member, MemberKind, parse_member
from remediate.iam.repository import Repository

REGISTRY, PROJECTS = "artifactregistry.googleapis.com", "cloudresourcemanager.googleapis.com"
"""The services whose SetIamPolicy entries matter: a repository's policy, and its project's."""
_EVERYBODY = ("allusers", "allauthenticatedusers")


class _Payload(msgspec.Struct, rename="camel"):
    service_name: object = None
    method_name: object = None
    resource_name: object = None
    status: object = None
    authentication_info: object = None
    service_data: object = None
    metadata: object = None
    request: object = None
    response: object = None


class _Entry(msgspec.Struct, rename="camel"):
    log_name: object = None
    timestamp: object = None
    proto_payload: _Payload | None = None


class Change(Enum):
    """What an entry did to the member's read access."""

    GIVEN = "given"
    TAKEN = "taken"
    UNKNOWN = "unknown"
    NONE = "none"


_decoder = msgspec.json.Decoder(_Entry)


def access_removed(
    entries: Iterable[bytes],
    repository: Repository,
    number: str,
    member: Member,
    since: datetime,
    holds: Callable[[str], bool | None],
    own: Iterable[str] = (),
) -> bool | None:
    """Whether the member lost read access at `since` or later and did not get it back; None if that is unknown.

    `entries` are from the log of the repository's project, newest first; `number` is that project's number. `holds`
    says whether a custom role includes the download permission (None: unknown). `own` are the keys of the service's
    own accounts; their entries are skipped, because the ledger records those changes in more detail.
    """
    unknown, ours = False, frozenset(own)
    for change in _changes(entries, repository, number, member, since, holds, ours):
        match change:
            case Change.TAKEN:
                return True
            case Change.GIVEN:
                return None if unknown else False
            case Change.UNKNOWN:
                unknown = True
            case Change.NONE:
                pass
    return None if unknown else False


def _changes(
    entries: Iterable[bytes],
    repository: Repository,
    number: str,
    member: Member,
    since: datetime,
    holds: Callable[[str], bool | None],
    own: frozenset[str],
) -> Iterator[Change]:
    names = (repository.project, number)
    for raw in entries:
        try:
            entry = _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield Change.UNKNOWN
            continue
        source = source_of(entry.log_name) if isinstance(entry.log_name, str) else None
        if source is None or source.log is not Log.ACTIVITY or source.project not in names:
            continue  # Google did not write this entry, so it proves nothing
        audit, at = entry.proto_payload, _moment(entry.timestamp)
        if audit is None or (at is not None and at < since) or not _about(audit, repository, names):
            continue
        failed = _failed(audit)
        if failed or _caller(audit) in own:
            continue
        yield Change.UNKNOWN if at is None or failed is None else _change(audit, member, holds)


def _about(audit: _Payload, repository: Repository, names: tuple[str, ...]) -> bool:
    """Whether the entry sets the policy of the repository or of its project. A missing resource name counts as yes."""
    if not isinstance(audit.method_name, str) or not audit.method_name.endswith("SetIamPolicy"):
        return False
    resource = audit.resource_name
    name = resource.removeprefix(f"//{audit.service_name}/") if isinstance(resource, str) else ""
    if audit.service_name == REGISTRY:
        return name in ("", *(str(msgspec.structs.replace(repository, project=each)) for each in names))
    return audit.service_name == PROJECTS and name in ("", *names, *(f"projects/{each}" for each in names))


def _failed(audit: _Payload) -> bool | None:
    """Whether the call failed and changed nothing; None if the status cannot be read."""
    if audit.status is None:
        return False
    code = audit.status.get("code", 0) if isinstance(audit.status, dict) else None
    return code != 0 if isinstance(code, int) else None


def _caller(audit: _Payload) -> str | None:
    info = audit.authentication_info
    email = info.get("principalEmail") if isinstance(info, dict) else None
    member = parse_member(email) if isinstance(email, str) else None
    return member.key if isinstance(member, Member) else None


def _change(audit: _Payload, member: Member, holds: Callable[[str], bool | None]) -> Change:
    deltas = _deltas(audit)
    if deltas is None:
        return Change.GIVEN if _shown(audit, member, holds) else Change.UNKNOWN
    found = {_delta(delta, member, holds) for delta in deltas}
    for change in (Change.GIVEN, Change.TAKEN, Change.UNKNOWN):  # replacing one reading role by another keeps access
        if change in found:
            return change
    return Change.NONE


def _deltas(audit: _Payload) -> list[object] | None:
    """The bindings that the policy gained and lost; None if the entry does not list them."""
    for data in (audit.service_data, audit.metadata):
        delta = data.get("policyDelta") if isinstance(data, dict) else None
        if isinstance(delta, dict):
            deltas = delta.get("bindingDeltas", [])
            return deltas if isinstance(deltas, list) else None
    return None


def _delta(delta: object, member: Member, holds: Callable[[str], bool | None]) -> Change:
    if not isinstance(delta, dict):
        return Change.UNKNOWN
    action, role, text = (delta.get(name) for name in ("action", "role", "member"))
    if not isinstance(text, str) or not isinstance(role, str):
        return Change.UNKNOWN
    named, reads = _named(text, member), _reads(role, holds)
    if named is False or reads is False:
        return Change.NONE
    if action == "ADD":
        return Change.GIVEN if named and reads and not delta.get("condition") else Change.NONE
    if action != "REMOVE":
        return Change.UNKNOWN
    return Change.TAKEN if named else Change.UNKNOWN


def _named(text: str, member: Member) -> bool | None:
    """Whether the text names this member or everyone; None if it names a set that may contain this member.

    A deleted account counts as the account that now has its address, because the entries do not distinguish them.
    """
    plain = text.removeprefix("deleted:").partition("?uid=")[0] if text.startswith("deleted:") else text
    if plain.casefold() in _EVERYBODY or key_of(plain) == member.key:
        return True
    if plain.startswith("domain:"):
        return member.kind is MemberKind.USER and plain.casefold() == f"domain:{member.domain}"
    return None if plain.startswith(MANY) else False


def _reads(role: str, holds: Callable[[str], bool | None]) -> bool | None:
    return role in predefined_readers() if role.startswith("roles/") else holds(role)


def _shown(audit: _Payload, member: Member, holds: Callable[[str], bool | None]) -> bool:
    """Whether the policy that was set has the member in an unconditional binding of a role that can read images."""
    shown = audit.response if isinstance(audit.response, dict) else None
    bindings = shown.get("bindings") if shown else None
    for binding in bindings if isinstance(bindings, list) else []:
        if not isinstance(binding, dict) or binding.get("condition") or not isinstance(binding.get("role"), str):
            continue
        members = binding.get("members")
        texts = [text for text in members if isinstance(text, str)] if isinstance(members, list) else []
        if any(key_of(text) == member.key for text in texts) and _reads(binding["role"], holds):
            return True
    return False


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo else None
