"""Field cases, built from public reports: each is read right, and granted by a rule only where that is the answer.

They lie beside a checkout and are no part of it; where they are absent these tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediate.decisions.plan import Plan
from remediate.decisions.policy import Outcome, decide
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial, NotADenial, understand
from remediate.entries.envelope import entries_in
from remediate.entries.joining import call_of, join_call
from remediate.entries.log_entry import LogEntry, read_entry
from remediate.reasons import Reason
from tests.policies import INSIDE

FIELD = Path(__file__).parents[3] / "shared" / "corpus" / "field"
POLICY = Path(__file__).parents[2] / "deploy" / "policies" / "before-2025.yaml"
pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason="the corpus of field cases is not beside this checkout")

CASES = json.loads((FIELD / "expected.json").read_text()) if FIELD.is_dir() else []
RULES = parse_policy(POLICY.read_text(), POLICY.name)


def _entries(case: dict[str, Any]) -> list[LogEntry]:
    return [read_entry(raw) for raw in entries_in((FIELD / case["file"]).read_bytes())]


def _found(case: dict[str, Any]) -> list[Denial | NotADenial]:
    """What each entry says, joined with the calls beside it: the last entry of an operation names no caller."""
    entries = _entries(case)
    calls = [call for entry in entries if (call := call_of(entry))]
    found = [understand(entry) for entry in entries]
    return [join_call(each, calls) if isinstance(each, Denial) and each.operation else each for each in found]


def _outcome(found: Denial | NotADenial) -> Outcome:
    """What a rule makes of it where everything but the entry itself speaks for a grant."""
    if isinstance(found, Denial):
        found = msgspec.structs.replace(found, authorized=True)
    return decide(found, INSIDE, RULES).outcome


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
    assert (str(denial.member) if denial.member else None) == case["member"]
    assert _outcome(denial) is Outcome(case["outcome"])
    if case["outcome"] == "grant":
        assert denial.doubts == ()


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_a_plan_lists_every_repository_that_a_field_case_denies(case: dict[str, Any]) -> None:
    plan = Plan(RULES)
    for entry in _entries(case):
        plan.add(understand(entry), call_of(entry))
    listed = {grant.repository for grant in plan.report().grants}
    assert set(case.get("also", ())) <= listed
    if case["member"] and case["repository"]:
        assert case["repository"] in listed


def test_each_cause_has_its_own_code() -> None:
    reasons = {case["file"]: each.reason for case in CASES for each in _found(case) if isinstance(each, NotADenial)}
    assert reasons["cause-org-policy-resource-locations.json"] is Reason.REGISTRY_POLICY
    assert reasons["cause-artifact-registry-api-disabled.json"] is Reason.REGISTRY_API_DISABLED
    assert reasons["cause-quota-429.json"] is Reason.REGISTRY_BUSY
    assert reasons["caller-does-not-have-permission-vendor-image.json"] is Reason.OTHER_PERMISSION
