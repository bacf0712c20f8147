"""Extracts the bytes of each LogEntry from a CloudEvent, a Pub/Sub push body or an exported document.

Sources: "CloudEvents - HTTP event format" (Eventarc), "Push subscriptions" (Pub/Sub), `entries.list` (Logging).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import msgspec

from remediate.errors import Unreadable

_MAX_WRAPPINGS = 4  # a CloudEvent in a Pub/Sub message in a list is three; no known envelope is deeper


class _Document(msgspec.Struct, rename="camel"):
    """The fields that distinguish an envelope from a log entry. Other fields stay undecoded."""

    message: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="data_base64")
    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    entries: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    log_name: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    proto_payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Message(msgspec.Struct):
    """A `PubsubMessage`: its data is base64."""

    data: str | None = None


_documents = msgspec.json.Decoder(_Document)
_messages = msgspec.json.Decoder(_Message)
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_texts = msgspec.json.Decoder(str)


def entries_in(document: bytes) -> list[bytes]:
    """The LogEntry JSON of every entry in one JSON document, in order.

    A document is a log entry, an array of documents, an `entries.list` response, a Pub/Sub push body, the output of
    `gcloud pubsub subscriptions pull`, or a structured CloudEvent. Raises Unreadable for anything else.
    """
    try:
        return list(_unwrap(document, _MAX_WRAPPINGS))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not JSON with a log entry: {error}") from None


def entry_of(data: object) -> bytes:
    """The LogEntry JSON in a CloudEvent's `data`, as functions-framework passes it.

    functions-framework passes a dict for a valid JSON object, and bytes, text, a list or None for anything else.
    Raises Unreadable unless `data` has exactly one entry.
    """
    if isinstance(data, str):
        data = data.encode()
    try:
        document = data if isinstance(data, bytes) else msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {type(error).__name__}") from None
    entries = entries_in(document)
    if len(entries) != 1:
        raise Unreadable(f"expected one log entry in the event, found {len(entries)}")
    return entries[0]


def _unwrap(document: bytes, wrappings: int) -> Iterator[bytes]:
    if wrappings < 0:
        raise Unreadable("envelopes are nested too deeply")
    if document.lstrip()[:1] == b"[":
        for element in _lists.decode(document):
            yield from _unwrap(bytes(element), wrappings - 1)
        return
    fields = _documents.decode(document)
    if fields.log_name is not msgspec.UNSET or fields.proto_payload is not msgspec.UNSET:
        yield document
    elif fields.message is not msgspec.UNSET and bytes(fields.message).lstrip()[:1] == b"{":
        yield from _unwrap(_payload(_messages.decode(fields.message).data), wrappings - 1)
    elif fields.specversion is not msgspec.UNSET and fields.data_base64 is not msgspec.UNSET:
        yield from _unwrap(_payload(_texts.decode(fields.data_base64)), wrappings - 1)
    elif fields.specversion is not msgspec.UNSET and fields.data is not msgspec.UNSET:
        yield from _unwrap(bytes(fields.data), wrappings - 1)
    elif fields.entries is not msgspec.UNSET:
        yield from _unwrap(bytes(fields.entries), wrappings - 1)
    else:
        yield document


def _payload(data: str | None) -> bytes:
    if not data:
        raise Unreadable("the Pub/Sub message has no data")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("the Pub/Sub message's data is not base64") from None
