"""What the doctor expects is what the deployment gives: one table of rights and of indexes, compared with deploy/."""

from __future__ import annotations

from typing import Any

import yaml

from remediate.doctor import requirements as expected
from remediate.doctor.codes import Code
from remediate.doctor.installation import INDEXES
from tests.doctor.ward import HERE, Ward
from tests.sandbox_fixture import ROOT

TABLE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "installation.yaml").read_text())


def test_the_indexes_are_those_that_are_deployed() -> None:
    fields = [
        tuple(each.partition(" ")[0] for each in index["by"])
        for index in TABLE["indexes"]
        if index["in"] == "remediations"
    ]
    assert sorted(fields) == sorted(INDEXES)


def test_the_rights_are_those_that_are_deployed() -> None:
    def given(role: str) -> set[str]:
        return {each["permission"] for each in TABLE["calls"] if role in each["roles"]}

    assert given("reader") == {*expected.READER, *expected.ANCESTRY, expected.TAGS}
    assert given("writer") == {*expected.WRITER} == {"artifactregistry.repositories.getIamPolicy", expected.SET_POLICY}
    assert given("ancestry") == {*expected.ANCESTRY, "iam.roles.get"}  # a right on folders reaches no role above
    assert {each["permission"] for each in TABLE["ledger"]} == {*expected.LEDGER}
    assert expected.ANCESTRY[2:] == ("resourcemanager.organizations.getIamPolicy",)  # beyond a folder


def test_an_api_under_a_condition_is_missed_where_the_condition_holds(ward: Ward) -> None:
    assert Code.API_DISABLED not in ward.codes()
    ward.tell(REMEDIATE_TROUBLESHOOTER="on")
    fix = "gcloud services enable policytroubleshooter.googleapis.com --project=remediate-ops"
    assert ward.found(Code.API_DISABLED).fix == fix
    ward.change({f"/v1/{HERE}/services": {"policytroubleshooter.googleapis.com": "ENABLED"}})
    assert Code.API_DISABLED not in ward.codes()


def test_the_api_that_keeps_the_source_is_missed(ward: Ward) -> None:
    ward.change({f"/v1/{HERE}/services": {"storage.googleapis.com": "DISABLED"}})
    assert "storage.googleapis.com" in ward.found(Code.API_DISABLED).what
