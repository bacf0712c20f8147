"""How many calls one decision makes, and that none is made twice: the table of docs/architecture.md, counted."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import activity, denial, user_text
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import IMAGE, ROOT, SandboxProcess

SAME_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
SAME, CROSS = (activity(user_text(image), images=(image,)) for image in (SAME_IMAGE, IMAGE))
CASES = {
    "same project, dry-run": (SAME, "dry-run", 1),
    "same project, enforce: a grant": (SAME, "enforce", 1),
    "another project: both hops asked": (CROSS, "enforce", 1),
    "the same denial delivered again": (SAME, "dry-run", 2),
}


def _table() -> dict[str, dict[str, int]]:
    """The table of docs/architecture.md: case to calls by service."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.M)
    names = ("resource manager", "artifact registry", "logging", "iam")
    return {row[0].strip(): dict(zip(names, map(int, row[1:]), strict=True)) for row in rows}


@pytest.mark.parametrize("case", CASES)
def test_a_decision_makes_the_calls_of_the_table_and_none_twice(
    sandbox_server: SandboxProcess, tmp_path: Path, case: str
) -> None:
    entry, mode, deliveries = CASES[case]
    sandbox_server.log(entry)
    settings = {"REMEDIATE_MODE": mode, "REMEDIATE_ORGANIZATION": "400000000001", "REMEDIATE_POLICY": str(BEFORE_2025)}
    settings |= sandbox_server.env | {"REMEDIATE_LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}"}
    remediator = remediator_from(load_settings(settings))
    for _ in range(deliveries):
        before = Counter(sandbox_server.call("GET", "/sandbox/requests")[1]["requests"])
        remediator.handle(denial(entry))
        made = Counter(sandbox_server.call("GET", "/sandbox/requests")[1]["requests"]) - before
    made = Counter({name: number for name, number in made.items() if "/sandbox/" not in name})
    counted = {"resource manager": 0, "artifact registry": 0, "logging": 0, "iam": 0}
    for name, number in made.items():
        kind = "resource manager" if "/v3/" in name else "logging" if "/v2/" in name else "artifact registry"
        counted[kind] += number
    assert _table()[case] == counted
    # The write reads the policy for itself: what was read to decide may be older than the write.
    twice = {name for name, number in made.items() if number > 1}
    assert all(name.endswith("repositories/app:getIamPolicy") and mode == "enforce" for name in twice), made
