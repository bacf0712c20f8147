"""Decodes one Cloud Logging entry into the typed audit log fields that a decision needs.

`request`, `response`, `metadata` and `details` stay undecoded until a denial needs them: they contain environment
variables in plain text, and nine out of ten entries are ignored without them. Source: `LogEntry` and `AuditLog` in
the Cloud Logging and Cloud Audit Logs references.
"""

from __future__ import annotations

from typing import TypeVar, get_args, get_type_hints

import msgspec

from remediate.errors import Unreadable

_NOTHING = msgspec.Raw(b"null")


class Status(msgspec.Struct, frozen=True):
    """`google.rpc.Status`: code 0 is success."""

    code: int | None = None
    message: str | None = None
    details: msgspec.Raw = _NOTHING


class AuthenticationInfo(msgspec.Struct, frozen=True, rename="camel"):
    """The caller. With impersonation, the e-mail is the service account's."""

    principal_email: str | None = None
    principal_subject: str | None = None
    service_account_delegation_info: msgspec.Raw = _NOTHING
    """The impersonating principals: a list, by address or by subject."""


class ResourceLocation(msgspec.Struct, frozen=True, rename="camel"):
    """The locations of the resource."""

    current_locations: list[str] | None = None


class AuditLog(msgspec.Struct, frozen=True, rename="camel"):
    """`google.cloud.audit.AuditLog`."""

    service_name: str | None = None
    method_name: str | None = None
    resource_name: str | None = None
    status: Status | None = None
    authentication_info: AuthenticationInfo | None = None
    authorization_info: msgspec.Raw = _NOTHING
    """The permissions that IAM checked, each with its resource and whether IAM granted it."""
    resource_location: ResourceLocation | None = None
    request: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    metadata: msgspec.Raw = _NOTHING


class MonitoredResource(msgspec.Struct, frozen=True):
    """The monitored resource of the entry. Cloud Run's labels are strings."""

    type: str | None = None
    labels: dict[str, object] | None = None


class LogSplit(msgspec.Struct, frozen=True):
    """Present in each part of a split entry."""

    uid: str | None = None


class Operation(msgspec.Struct, frozen=True):
    """What joins the two entries of one v2 call: `first` has the request, `last` the outcome."""

    id: str | None = None
    first: bool | None = None
    last: bool | None = None


class LogEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A Cloud Logging entry. `proto_payload` is None if it is not an audit log entry."""

    insert_id: str | None = None
    log_name: str | None = None
    timestamp: str | None = None
    resource: MonitoredResource | None = None
    split: LogSplit | None = None
    operation: Operation | None = None
    proto_payload: AuditLog | None = None
    unusual: tuple[str, ...] = msgspec.field(default=(), name="remediate.unusual")
    """The paths of fields with an unusual type, such as `protoPayload.status.code`. They count as absent."""


_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_decoder = msgspec.json.Decoder(LogEntry, strict=False)


def read_entry(raw: bytes) -> LogEntry:
    """The entry in `raw`, the JSON of one LogEntry. A field of an unusual type counts as absent and is in `unusual`.

    Raises Unreadable if the entry or its payload is not a JSON object. The message gives the path, never the content.
    """
    try:
        try:
            return _decoder.decode(raw)
        except msgspec.ValidationError:
            unusual: list[str] = []
            entry = _tolerant(raw, LogEntry, "", unusual)
            if "protoPayload" in unusual:
                raise Unreadable("not a log entry: expected an object at `$.protoPayload`") from None
            return msgspec.structs.replace(entry, unusual=tuple(unusual))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a log entry: {error}" if str(error) else "not a log entry") from None


def _tolerant(raw: bytes | msgspec.Raw, kind: type[_Struct], path: str, unusual: list[str]) -> _Struct:
    """The struct in `raw` without the fields of an unexpected type; adds their paths to `unusual`.

    Raises ValidationError if `raw` is not a JSON object.
    """
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in fields or field.name == "unusual":
            continue
        value, hint = fields[field.encode_name], hints[field.name]
        where = f"{path}.{field.encode_name}" if path else field.encode_name
        try:
            values[field.name] = msgspec.json.decode(value, type=hint, strict=False)
        except msgspec.ValidationError:
            try:
                values[field.name] = _tolerant(value, _struct_in(hint), where, unusual)
            except msgspec.ValidationError:
                unusual.append(where)
    return kind(**values)


def _struct_in(hint: object) -> type[msgspec.Struct]:
    """The struct in `Struct | None`. Raises ValidationError if the type has none."""
    for each in get_args(hint):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    raise msgspec.ValidationError("not a struct")


def decode(raw: msgspec.Raw) -> object:
    """The JSON value of a field that `read_entry` left undecoded; None if it is not valid JSON."""
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value
