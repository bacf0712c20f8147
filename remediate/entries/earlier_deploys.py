"""Finds earlier deploys in Cloud Run's audit log entries that prove that a member could read a repository.

Pure. A filter only preselects entries. This module checks each one as strictly as a denial: the exact log, the caller,
the authorization, success, no dry run, and an image of the containers. An entry that lacks one of them proves nothing.
Source: `AuditLog` (Cloud Audit Logs), `Service` and `Job` of Cloud Run's v1 and v2 API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from remediate.entries import deploy as deploys
from remediate.entries.deploy import Body
from remediate.entries.error_text import read_text
from remediate.entries.log_entry import AuditLog, LogEntry, decode, read_entry
from remediate.entries.source import Log, Source, source_of
from remediate.errors import Unreadable
from remediate.iam.member import Member, MemberKind, parse_member
from remediate.iam.repository import Repository, parse_image

_SERVICE = "run.googleapis.com"
_DEPLOYS = re.compile(
    r"google\.cloud\.run\.v[12][a-z0-9]*"
    r"\.(Service|Job|WorkerPool|Instance)s\.(?:Create|Replace|Update)\1\Z"
)
_QUIET = (None, "", "DEFAULT", "DEBUG", "INFO", "NOTICE")
"""The severities of a successful call. A warning proves nothing."""
_NOT_DRY = (None, False, 0, "", "false", "False", "FALSE", "none", "None")
_NO_LETTER = re.compile(r"[^a-z]+")
_DRY_QUERY = re.compile(r"(?:dry[_-]?run|validate[_-]?only)=(?!(?:false|none)?(?:&|\Z))", re.I)
_BODIES = {"Service": "service", "Job": "job", "WorkerPool": "workerPool", "Instance": "instance"}
"""The request field with the deployed resource, by the resource's name in the method."""
_TEMPLATE = re.compile(
    r"(?:\*|(?:(?:service|job|worker_?[Pp]ool|instance)\.)?(?:template(?:\.template)?(?:\.containers)?|containers))\Z"
)
_DEPTH = 24  # levels of a request that are searched; a deeper request proves nothing


class DeployPlace(msgspec.Struct, frozen=True):
    """The deploying project (by id and number) and the repository (under each name of its project)."""

    projects: tuple[str, ...]
    repositories: tuple[Repository, ...]


class EarlierDeploy(msgspec.Struct, frozen=True):
    """A deploy of an image of the repository by this member. `at` is the time of the call."""

    member: Member
    at: datetime
    image: str
    insert_id: str
    is_certain: bool = False
    """Whether Cloud Run certainly read the image: the call created the resource. An update that changes nothing makes
    no revision, and looks like any other one."""


class Begun(msgspec.Struct, frozen=True):
    """The first of an operation's two entries. It has the image; only the last entry says whether it succeeded."""

    deploy: EarlierDeploy
    operation: str
    method: str
    resource: str
    revisions: frozenset[str] = frozenset()
    """The revisions that the request names."""


class _Metadata(msgspec.Struct, rename="camel"):
    request_attributes: object = None


class _Payload(msgspec.Struct, rename="camel"):
    status: object = None
    request_metadata: _Metadata | None = None


class _More(msgspec.Struct, rename="camel"):
    """The fields that need strict reading: here an unusual type does not count as absent."""

    severity: object = None
    split: object = None
    operation: object = None
    proto_payload: _Payload | None = None


class _Call(NamedTuple):
    entry: LogEntry
    audit: AuditLog
    more: _More
    at: datetime
    thing: str
    """What was deployed: `Service`, `Job`, `WorkerPool` or `Instance`."""


_more = msgspec.json.Decoder(_More, strict=False)


def earlier_deploys(
    entries: Iterable[bytes], place: DeployPlace, members: Iterable[Member], since: datetime, before: datetime
) -> Iterator[EarlierDeploy | Begun]:
    """The deploys by these members that the entries prove or begin, in the order of the entries.

    Skips unreadable entries, and calls made before `since` or at `before` and later.
    """
    wanted = {member.key: member for member in members}
    for raw in entries:
        call = _call(raw, place)
        if call is not None and since <= call.at < before and (found := _judged(call, place, wanted)):
            yield found


def completed_deploys(begun: Iterable[Begun], entries: Iterable[bytes], place: DeployPlace) -> list[EarlierDeploy]:
    """The deploys of the begun operations that succeeded, according to all of their last entries."""
    ends: dict[str, list[_Call]] = {}
    for raw in entries:
        call = _call(raw, place)
        operation = call.more.operation if call else None
        if call and isinstance(operation, dict) and operation.get("last") is True:
            ends.setdefault(str(operation.get("id")), []).append(call)
    return [each.deploy for each in begun if _ended_well(each, ends.get(each.operation, []))]


def _call(raw: bytes, place: DeployPlace) -> _Call | None:
    """The call in an entry that Google wrote about a deploy to this project; None for every other entry.

    A split entry may be cut at any character, so it proves nothing.
    """
    try:
        entry, more = read_entry(raw), _more.decode(raw)
    except (Unreadable, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if source_of(entry.log_name) not in [Source(Log.ACTIVITY, name) for name in place.projects] or more.split:
        return None
    audit, at = entry.proto_payload, _moment(entry.timestamp)
    method = _DEPLOYS.match((audit.method_name if audit else None) or "")
    if audit is None or at is None or method is None or audit.service_name != _SERVICE:
        return None
    return _Call(entry, audit, more, at, method[1])


def _judged(call: _Call, place: DeployPlace, members: Mapping[str, Member]) -> EarlierDeploy | Begun | None:
    member, image = _caller(call.audit, members), _image(call, place)
    if member is None or image is None or not _went_well(call) or not _authorized(call.audit) or _is_dry(call):
        return None
    method, revisions = call.audit.method_name or "", _revisions(call)
    deploy = EarlierDeploy(member, call.at, image, call.entry.insert_id or "", is_certain=".Create" in method)
    match call.more.operation:
        case None | {"first": True, "last": True}:
            return deploy
        case {"id": str(ident), "first": True} if ident:
            return Begun(deploy, ident, method, call.audit.resource_name or "", revisions)
    return None


def _went_well(call: _Call) -> bool:
    """Whether status and severity show no failure, and the text no denied image."""
    payload = call.more.proto_payload
    status = payload.status if payload else None
    if status is not None:
        if not isinstance(status, dict) or status.get("code") not in (None, 0):
            return False
        text = status.get("message")
        if text and not (isinstance(text, str) and read_text(text) is None):
            return False
    return call.more.severity in _QUIET


def _caller(audit: AuditLog, members: Mapping[str, Member]) -> Member | None:
    """The member that called; None if another identity did, or if the entry names two contradictory callers.

    With impersonation, the caller is the service account and not the external identity.
    """
    info = audit.authentication_info
    texts = [info.principal_email, info.principal_subject] if info else []
    named = [parse_member(text) for text in texts if text]
    callers = [member for member in named if isinstance(member, Member)]
    if not callers or len(callers) != len(named):
        return None
    first, last = callers[0], callers[-1]
    if first.key != last.key and last.kind is not MemberKind.PRINCIPAL:
        return None
    return members.get((first if first.kind is MemberKind.SERVICE_ACCOUNT else last).key)


def _authorized(audit: AuditLog) -> bool:
    """Whether IAM granted at least one Cloud Run permission and refused none (an absent `granted` means refused)."""
    infos = decode(audit.authorization_info)
    if not isinstance(infos, list) or not all(isinstance(info, dict) for info in infos):
        return False
    asked = [info for info in infos if str(info.get("permission", "")).startswith("run.")]
    return bool(asked) and all(info.get("granted") is True for info in asked)


def _image(call: _Call, place: DeployPlace) -> str | None:
    """The image of the request's containers that the repository holds; None if there is none.

    Reads only the request: a response also shows earlier deploys. An update whose mask excludes the containers deploys
    no image.
    """
    request = decode(call.audit.request)
    if not isinstance(request, dict) or not _writes_containers(request) or _knows(call, _revisions(call)):
        return None
    for text in deploys.images(Body({"service": request.get(_BODIES[call.thing])}, None)):
        image = parse_image(text)
        if image is not None and image.repository in place.repositories:
            return text
    return None


def _revisions(call: _Call) -> frozenset[str]:
    """The revisions that the request names, by their last path segments: `metadata.name` in v1, `revision` in v2."""
    body = _under(decode(call.audit.request), _BODIES[call.thing])
    named = (_under(body, "spec", "template", "metadata", "name"), _under(body, "template", "revision"))
    return frozenset(each.rpartition("/")[2] for each in named if isinstance(each, str) and each)


def _knows(call: _Call, revisions: frozenset[str]) -> bool:
    """Whether the response knows a revision that the request names: then the call may keep the template.

    A call that moves traffic sends the whole service, whose template still names its revision; Cloud Run reads no image
    for it. A first call that names its revision may look the same: then it proves nothing either.
    """
    response = decode(call.audit.response) if revisions else None
    known = (_under(response, *path) for path in _KNOWN_REVISIONS)
    return any(isinstance(each, str) and each.rpartition("/")[2] in revisions for each in known)


_KNOWN_REVISIONS = (
    *(("status", name) for name in ("latestReadyRevisionName", "latestCreatedRevisionName")),
    *(path for name in ("latestReadyRevision", "latestCreatedRevision") for path in ((name,), ("metadata", name))),
)
"""Where a response names the revisions: `status` in the v1 API; the service or an operation's metadata in v2."""


def _under(value: object, *path: str) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _writes_containers(request: dict[str, object]) -> bool:
    for mask in (request[name] for name in ("updateMask", "update_mask") if request.get(name)):
        paths = mask.get("paths") if isinstance(mask, dict) else mask
        texts = paths.split(",") if isinstance(paths, str) else paths
        if not isinstance(texts, list) or not any(isinstance(each, str) and _TEMPLATE.match(each) for each in texts):
            return False
    return True


def _is_dry(call: _Call) -> bool:
    """Whether the call was a dry run: `dryRun` in the v1 API, `validateOnly` in v2, in the body or in the URL."""
    audit, payload = call.audit, call.more.proto_payload
    attributes = payload.request_metadata.request_attributes if payload and payload.request_metadata else None
    named = any(_dry_name(decode(raw), _DEPTH) for raw in (audit.request, audit.metadata))
    return named or _dry_text(attributes, _DEPTH) or bool(_DRY_QUERY.search(audit.resource_name or ""))


def _dry_name(value: object, depth: int) -> bool:
    """Whether a field anywhere is set and has such a name, in any spelling. Only field names count, not typed texts."""
    if depth == 0:
        return True
    if isinstance(value, list):
        return any(_dry_name(each, depth - 1) for each in value)
    if not isinstance(value, dict):
        return False
    return any(
        (_NO_LETTER.sub("", name.lower()).endswith(("dryrun", "validateonly")) and _says_dry(each))
        or _dry_name(each, depth - 1)
        for name, each in value.items()
    )


def _says_dry(value: object) -> bool:
    return bool(value) if isinstance(value, list | dict) else value not in _NOT_DRY


def _dry_text(value: object, depth: int) -> bool:
    if depth == 0:
        return True
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return any(_dry_text(each, depth - 1) for each in inner)
    return isinstance(value, str) and _DRY_QUERY.search(value) is not None


def _ended_well(begun: Begun, ends: list[_Call]) -> bool:
    return bool(ends) and all(
        _belongs(begun, end) and _went_well(end) and not _knows(end, begun.revisions) for end in ends
    )


def _belongs(begun: Begun, end: _Call) -> bool:
    """Whether the last entry belongs to the begun call: everything that it names again must agree."""
    audit, info = end.audit, end.audit.authentication_info
    if end.at < begun.deploy.at or audit.method_name != begun.method:
        return False
    named = info is not None and any((info.principal_email, info.principal_subject))
    if named and _caller(audit, {begun.deploy.member.key: begun.deploy.member}) is None:
        return False
    asked = decode(audit.authorization_info)
    return audit.resource_name in (None, "", begun.resource) and (not asked or _authorized(audit))


def _moment(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo else None
