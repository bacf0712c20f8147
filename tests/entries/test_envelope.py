"""Every kind of envelope returns the log entry that was put into it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from remediate.entries.envelope import entries_in, entry_of
from remediate.entries.log_entry import read_entry
from remediate.errors import Unreadable
from tests.audit_entries import activity, push_body

ENTRY = activity()
AUDIT_EVENT = {"specversion": "1.0", "type": "google.cloud.audit.log.v1.written", "id": "1", "source": "x"}
PUBSUB_EVENT = AUDIT_EVENT | {"type": "google.cloud.pubsub.topic.v1.messagePublished"}
IN_BASE64 = base64.b64encode(json.dumps(push_body(ENTRY)).encode()).decode()

DOCUMENTS: dict[str, Any] = {
    "a log entry": ENTRY,
    "a push body": push_body(ENTRY),
    "a direct audit log event": AUDIT_EVENT | {"data": ENTRY},
    "a structured Pub/Sub event": PUBSUB_EVENT | {"data": push_body(ENTRY)},
    "a structured event in base64": PUBSUB_EVENT | {"data_base64": IN_BASE64},
    "an array": [ENTRY],
    "an answer of entries.list": {"entries": [ENTRY], "nextPageToken": "x"},
    "what gcloud pubsub subscriptions pull prints": [{"ackId": "x", "message": push_body(ENTRY)["message"]}],
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_envelope_gives_its_entry(document: Any) -> None:
    [entry] = entries_in(json.dumps(document, indent=2).encode())
    assert json.loads(entry) == ENTRY


@pytest.mark.parametrize("data", [push_body(ENTRY), ENTRY, json.dumps(ENTRY), json.dumps(ENTRY).encode()])
def test_an_events_data_gives_its_entry(data: object) -> None:
    assert json.loads(entry_of(data)) == ENTRY


def test_a_list_gives_its_entries_in_order() -> None:
    entries = [activity(insert_id=str(number)) for number in range(5)]
    found = [
        read_entry(raw).insert_id
        for raw in entries_in(json.dumps([entries[:2], push_body(entries[2]), *entries[3:]]).encode())
    ]
    assert found == ["0", "1", "2", "3", "4"]


POISON: dict[str, object] = {
    "nothing": None,
    "no bytes": b"",
    "a number": 7,
    "text": "hello",
    "half of JSON": b'{"logName": ',
    "not UTF-8": b"\xff\xfe{}",
    "an empty list": [],
    "two entries": [ENTRY, ENTRY],
    "a message without data": {"message": {"messageId": "1"}},
    "data that is no base64": {"message": {"data": "!!"}},
    "data that is no JSON": {"message": {"data": base64.b64encode(b"test message 3").decode()}},
    "a message of the wrong type": {"message": {"data": 7}},
    "nesting without end": b"[" * 100_000 + b"]" * 100_000,
    "an object nested without end": b'{"entries":' * 100_000 + b"1" + b"}" * 100_000,
    "something that JSON cannot say": object(),
}


@pytest.mark.parametrize("data", POISON.values(), ids=POISON)
def test_poison_is_unreadable_and_nothing_worse(data: object) -> None:
    with pytest.raises(Unreadable):
        entry_of(data)


def test_what_is_unreadable_is_told_without_its_content() -> None:
    secret = json.dumps(ENTRY | {"protoPayload": ["hunter2"]})
    with pytest.raises(Unreadable) as told:
        read_entry(secret.encode())
    assert "protoPayload" in str(told.value)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("raw", [b"[]", b"7", b"null", b'"x"', b"{", b'{"protoPayload": 7}', b"\xff"])
def test_what_is_no_entry_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        read_entry(raw)
