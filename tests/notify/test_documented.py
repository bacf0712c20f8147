"""What machines read is documented: every field, every kind, and an example that is a notice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import msgspec

from remediate.records.notice import NEEDS_A_PERSON, Notice, NoticeKind, notice_schema
from tests.sandbox_fixture import ROOT

DOCUMENT = (ROOT / "docs" / "notifications.md").read_text()


def test_every_field_and_every_kind_has_a_row() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT, re.M)
    assert rows == [*NoticeKind, *(field.encode_name for field in msgspec.structs.fields(Notice))]
    assert all(f"`{reason}`" in DOCUMENT for reason in NEEDS_A_PERSON)


def test_the_example_is_a_notice_with_every_field() -> None:
    [example] = re.findall(r"```json\n(.*?)\n```", DOCUMENT, re.S)
    notice = msgspec.json.decode(example, type=Notice, strict=True)
    assert json.loads(msgspec.json.encode(notice)) == json.loads(example)


def test_the_schema_is_printed_and_knows_every_field() -> None:
    command = [sys.executable, "-m", "remediate", "notices", "schema"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    schema = json.loads(done.stdout)
    assert schema == json.loads(msgspec.json.encode(notice_schema()))
    fields = schema["$defs"]["Notice"]
    assert sorted(fields["required"]) == sorted(fields["properties"])
