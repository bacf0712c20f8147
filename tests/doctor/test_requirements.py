"""The doctor's tables of permissions and indexes are those of deploy/."""

from __future__ import annotations

from typing import Any

import yaml

from remediate.doctor import requirements
from remediate.doctor.codes import Code
from remediate.doctor.installation import INDEXES
from tests.doctor.installation import HERE, Installation
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

    assert given("reader") == {*requirements.READER, *requirements.ANCESTRY, requirements.TAGS}
    assert (
        given("writer")
        == {*requirements.WRITER}
        == {"artifactregistry.repositories.getIamPolicy", requirements.SET_POLICY}
    )
    assert given("ancestry") == {*requirements.ANCESTRY, "iam.roles.get"}  # a right on folders reaches no role above
    assert {each["permission"] for each in TABLE["ledger"]} == {*requirements.LEDGER}
    assert requirements.ANCESTRY[2:] == ("resourcemanager.organizations.getIamPolicy",)  # beyond a folder


def test_an_api_under_a_condition_is_missed_if_the_condition_holds(installation: Installation) -> None:
    assert Code.API_DISABLED not in installation.codes()
    installation.set_env(REMEDIATE_TROUBLESHOOTER="on")
    fix = "gcloud services enable policytroubleshooter.googleapis.com --project=remediate-ops"
    assert installation.finding(Code.API_DISABLED).fix == fix
    installation.change({f"/v1/{HERE}/services": {"policytroubleshooter.googleapis.com": "ENABLED"}})
    assert Code.API_DISABLED not in installation.codes()


def test_the_api_that_keeps_the_source_is_missed(installation: Installation) -> None:
    installation.change({f"/v1/{HERE}/services": {"storage.googleapis.com": "DISABLED"}})
    assert "storage.googleapis.com" in installation.finding(Code.API_DISABLED).what
