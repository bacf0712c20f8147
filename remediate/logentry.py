"""Turns the bytes of one Cloud Logging entry into the few audit log fields that a decision needs, typed.

`request`, `response`, `metadata` and `details` stay undecoded until a denial asks for them: they hold environment
variables in clear, and nine entries in ten are ignored without them. Source: `LogEntry` and `AuditLog` in the
Cloud Logging and Cloud Audit Logs references.
"""

from __future__ import annotations

import msgspec

from remediate.errors import Unreadable

_NOTHING = msgspec.Raw(b"null")


class Status(msgspec.Struct, frozen=True):
    """`google.rpc.Status`: code 0 is success."""

    code: int | None = None
    message: str | None = None
    details: msgspec.Raw = _NOTHING


class AuthenticationInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Who called. With an impersonated service account, the e-mail is the service account's."""

    principal_email: str | None = None
    principal_subject: str | None = None
    service_account_delegation_info: msgspec.Raw = _NOTHING
    """Who impersonated whom: a list of principals, by address or by subject."""


class ResourceLocation(msgspec.Struct, frozen=True, rename="camel"):
    """Where the resource lies."""

    current_locations: list[str] | None = None


class AuditLog(msgspec.Struct, frozen=True, rename="camel"):
    """`google.cloud.audit.AuditLog`."""

    service_name: str | None = None
    method_name: str | None = None
    resource_name: str | None = None
    status: Status | None = None
    authentication_info: AuthenticationInfo | None = None
    authorization_info: msgspec.Raw = _NOTHING
    """Which permissions were asked for, on which resource, and whether each was granted."""
    resource_location: ResourceLocation | None = None
    request: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    metadata: msgspec.Raw = _NOTHING


class MonitoredResource(msgspec.Struct, frozen=True):
    """What the entry is about; Cloud Run's labels are strings."""

    type: str | None = None
    labels: dict[str, object] | None = None


class LogSplit(msgspec.Struct, frozen=True):
    """Present in each part of an entry that was too large for one."""

    uid: str | None = None


class Operation(msgspec.Struct, frozen=True):
    """What joins the two entries of one v2 call: `first` has the request, `last` the outcome."""

    id: str | None = None
    first: bool | None = None
    last: bool | None = None


class LogEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A Cloud Logging entry; `proto_payload` is None where it is not an audit log entry."""

    insert_id: str | None = None
    log_name: str | None = None
    timestamp: str | None = None
    resource: MonitoredResource | None = None
    split: LogSplit | None = None
    operation: Operation | None = None
    proto_payload: AuditLog | None = None


_decoder = msgspec.json.Decoder(LogEntry, strict=False)


def read_entry(raw: bytes) -> LogEntry:
    """The entry in `raw`, the JSON of one LogEntry. Raises Unreadable (which names the field, never its value)."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a log entry: {error}" if str(error) else "not a log entry") from None


def decode(raw: msgspec.Raw) -> object:
    """The JSON value in a field that `read_entry` left undecoded; None where it cannot be read."""
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value
