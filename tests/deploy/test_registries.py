"""Where the service may see and write: registries outside of watched folders, the opt-in by tag, the deny policy."""

from __future__ import annotations

import re

import pytest

from tests.deploy.paper import (
    FIVE,
    MODES,
    NUMBER,
    ORGANIZATION,
    SCOPES,
    Paper,
    containers,
    environment,
)
from tests.deploy.test_install import flag, printed
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
MODED = pytest.mark.parametrize("mode", MODES)


REGISTRIES = ["projects/platform-images", "folders/310000000009"]


def test_registries_outside_of_watched_folders_are_reached_alike(paper: Paper) -> None:
    """Who may see and write there, and where the service's own policy writes are collected."""
    plan = paper.plan(scope=SCOPES["folders"], mode="enforce", registries=REGISTRIES, **FIVE)
    commands = printed("folders", "enforce", f"--registries={','.join(REGISTRIES)}")
    reach: dict[str, set[tuple[str, str]]] = {}
    for words in commands:
        if "add-iam-policy-binding" in words and flag(words, "role").endswith(("remediateReader", "remediateWriter")):
            assert ("matchTagId" in flag(words, "condition")) is flag(words, "role").endswith("Writer")
            place = words[words.index("add-iam-policy-binding") + 1]
            reach.setdefault(place, set()).add((flag(words, "member"), flag(words, "role")))
    planned: dict[str, set[tuple[str, str]]] = {}
    given = plan.of("google_folder_iam_member") | plan.of("google_project_iam_member")
    for each in given.values():
        if each["role"].endswith(("remediateReader", "remediateWriter")):
            assert bool(each["condition"]) is each["role"].endswith("Writer")
            place = str(each.get("folder") or each["project"]).rpartition("/")[2]
            planned.setdefault(place, set()).add((each["member"], each["role"]))
    assert reach == planned
    assert {"platform-images", "310000000009"} <= reach.keys()
    made = {
        (words[3], *[each for each in words if re.match("--(project|folder)=", each)])
        for words in commands
        if words[:3] == ["logging", "sinks", "create"]
    }
    assert {("remediate-writes", "--project=platform-images"), ("remediate-writes", "--folder=310000000009")} <= made
    sinks = [plan.of("google_logging_project_sink"), plan.of("google_logging_folder_sink")]
    assert "platform-images" in {each["project"] for each in sinks[0].values() if each["name"] == "remediate-writes"}
    assert "folders/310000000009" in {
        each["folder"] for each in sinks[1].values() if each["name"] == "remediate-writes"
    }
    denials = [each["folder"] for each in sinks[1].values() if each["name"] == "remediate-denials"]
    assert sorted(denials) == SCOPES["folders"]  # a registry's own deploys are not watched


@pytest.mark.parametrize("scope", ["organization", "folders"])
def test_a_registry_that_did_not_opt_in_is_out_of_reach(paper: Paper, scope: str) -> None:
    """By default, every grant of the writer above projects has the tag's condition, and the service looks for it."""
    plan = paper.plan(scope=SCOPES[scope], mode="enforce", **FIVE)
    given = plan.of("google_organization_iam_member") | plan.of("google_folder_iam_member")
    writing = [each for each in given.values() if each["role"].endswith("Writer")]
    assert writing
    for each in writing:
        [condition] = each["condition"]
        both = [f"resource.matchTagId('tagKeys/281', 'tagValues/{number}')" for number in (282, 283)]
        assert condition["expression"] == " || ".join(both)
    assert environment(containers(plan)["receiver"])["REMEDIATE_OPT_IN_TAG"] == "tagValues/282,tagValues/283"
    anywhere = paper.plan(scope=SCOPES[scope], mode="enforce", registry_opt_in="none", **FIVE)
    assert not anywhere.of("google_tags_tag_key")
    assert not any(each["condition"] for each in anywhere.of("google_organization_iam_member").values())


def test_the_deny_policy_lets_through_where_the_tag_is_and_nowhere_else(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["organization"], deny_policy=True, **FIVE)
    [policy] = plan.of("google_iam_deny_policy").values()
    assert policy["parent"] == f"cloudresourcemanager.googleapis.com%2Forganizations%2F{ORGANIZATION}"
    [rule] = policy["rules"][0]["deny_rule"]
    assert rule["denied_permissions"] == ["artifactregistry.googleapis.com/repositories.setIamPolicy"]
    assert rule["denied_principals"] == [
        f"principalSet://cloudresourcemanager.googleapis.com/projects/{NUMBER}/type/ServiceAccount"
    ]
    [condition] = rule["denial_condition"]
    writing = [each for each in plan.of("google_organization_iam_member").values() if each["role"].endswith("Writer")]
    assert {f"!({each['condition'][0]['expression']})" for each in writing} == {condition["expression"]}
    assert not paper.plan(scope=SCOPES["organization"], **FIVE).of("google_iam_deny_policy")


@pytest.mark.parametrize(
    ("scope", "wrong", "told"),
    [
        (
            "organization",
            {"registries": ["projects/platform-images"]},
            "registries: expected none but for watched folders",
        ),
        ("project", {"registries": ["projects/platform-images"]}, "registries: expected none but for watched folders"),
        ("folders", {"registries": ["platform-images"]}, "registries: expected projects/ID or folders/NUMBER"),
        ("folders", {"registries": ["folders/310000000001"]}, "registries: expected only what scope does not name"),
        ("organization", {"deny_policy": True, "registry_opt_in": "none"}, "deny_policy: expected false"),
        ("project", {"deny_policy": True}, "deny_policy: expected false"),
    ],
)
def test_what_cannot_be_is_told_by_name(paper: Paper, scope: str, wrong: dict[str, object], told: str) -> None:
    with pytest.raises(AssertionError) as error:
        paper.plan(scope=SCOPES[scope], **FIVE | wrong)
    assert told in " ".join(str(error.value).split())
