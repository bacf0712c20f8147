"""Field cases, built from public reports: each is read right, and granted by a rule only where that is the answer.

They lie beside a checkout and are no part of it; where they are absent these tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediate.denial import Denial, NotADenial, understand
from remediate.envelope import entries_in
from remediate.logentry import read_entry
from remediate.plan import Plan
from remediate.policy import ASSUMED, Outcome, decide
from remediate.policyfile import parse_policy
from remediate.reasons import Reason

FIELD = Path(__file__).parents[2] / "shared" / "corpus" / "field"
POLICY = Path(__file__).parents[1] / "deploy" / "policies" / "before-2025.yaml"
pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason="the corpus of field cases is not beside this checkout")

CASES = json.loads((FIELD / "expected.json").read_text()) if FIELD.is_dir() else []
# The last entry of this operation names no caller: the member stands in the first one, which `understand` does not see.
NAMED_BY_ITS_CALL = ("operation-pair-deployer-denied-in-last.json",)
RULES = parse_policy(POLICY.read_text(), POLICY.name)


def _found(case: dict[str, Any]) -> list[Denial | NotADenial]:
    return [understand(read_entry(raw)) for raw in entries_in((FIELD / case["file"]).read_bytes())]


def _outcome(found: Denial | NotADenial) -> Outcome:
    """What a rule makes of it where everything but the entry itself speaks for a grant."""
    if isinstance(found, Denial):
        found = msgspec.structs.replace(found, authorized=True)
    return decide(found, ASSUMED, RULES).outcome


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_a_field_case_is_read_right_and_granted_only_where_that_is_right(case: dict[str, Any]) -> None:
    found = _found(case)
    denials = [each for each in found if isinstance(each, Denial)]
    if case["outcome"] == "not-grant":
        assert Outcome.GRANT not in map(_outcome, found)
        return
    if case["outcome"] == "ignore":
        assert denials == []
        return
    [denial] = denials
    assert (str(denial.repository) if denial.repository else None) == case["repository"]
    assert denial.reader == case["reader"]
    if case["file"] not in NAMED_BY_ITS_CALL:
        assert (str(denial.member) if denial.member else None) == case["member"]
    assert _outcome(denial) is Outcome(case["outcome"])
    if case["outcome"] == "grant":
        assert denial.doubts == ()


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_a_plan_lists_every_repository_that_a_field_case_denies(case: dict[str, Any]) -> None:
    plan = Plan(RULES)
    for each in _found(case):
        plan.add(each)
    listed = {grant.repository for grant in plan.report().grants}
    assert set(case.get("also", ())) <= listed
    if case["member"] and case["repository"] and case["file"] not in NAMED_BY_ITS_CALL:
        assert case["repository"] in listed


def test_each_cause_has_its_own_code() -> None:
    reasons = {case["file"]: each.reason for case in CASES for each in _found(case) if isinstance(each, NotADenial)}
    assert reasons["cause-org-policy-resource-locations.json"] is Reason.REGISTRY_POLICY
    assert reasons["cause-artifact-registry-api-disabled.json"] is Reason.REGISTRY_API_DISABLED
    assert reasons["cause-quota-429.json"] is Reason.REGISTRY_BUSY
    assert reasons["caller-does-not-have-permission-vendor-image.json"] is Reason.OTHER_PERMISSION
