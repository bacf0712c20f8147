"""What the doctor expects is what the deployment gives: one table of rights and of indexes, compared with deploy/."""

from __future__ import annotations

import json
from typing import Any

import yaml

from remediate.doctor import requirements as expected
from tests.sandbox_fixture import ROOT

TABLE = ROOT / "deploy" / "permissions.yaml"


def test_the_indexes_are_those_that_are_deployed() -> None:
    deployed = json.loads((ROOT / "deploy" / "firestore.indexes.json").read_text())["indexes"]
    fields = [
        tuple(field["fieldPath"] for field in index["fields"])
        for index in deployed
        if index["collectionGroup"] == "remediations"
    ]
    assert sorted(fields) == sorted(expected.INDEXES)


def test_the_rights_are_those_that_are_deployed() -> None:
    table: dict[str, Any] = yaml.safe_load(TABLE.read_text())

    def given(role: str) -> set[str]:
        return {each["permission"] for each in table["calls"] if role in each["roles"]}

    assert given("reader") == {*expected.READER, *expected.ANCESTRY, expected.TAGS}
    assert given("writer") == {*expected.WRITER}
    assert given("ancestry") == {*expected.ANCESTRY, "iam.roles.get"}  # a right on folders reaches no role above
    assert {each["permission"] for each in table["ledger"]} == {*expected.LEDGER}
