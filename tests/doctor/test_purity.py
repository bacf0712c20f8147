"""The doctor's checks do no I/O, and the service loads nothing of the doctor."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.modules import imports_of
from tests.sandbox_fixture import ROOT

PURE = (
    "access", "canary", "checks", "codes", "configuration", "environment", "finding", "installation", "names",
    "requirements", "resources", "routing", "services", "signals", "snapshot",
    "first_apply/items", "first_apply/words",
)  # fmt: skip
NEVER = ("os", "sqlite3", "requests", "socket", "time", "concurrent", "google", "remediate.cloud", "remediate.ledger")


@pytest.mark.parametrize("module", PURE)
def test_a_check_is_a_pure_function_of_facts(module: str) -> None:
    imported = imports_of(ROOT / "remediate" / "doctor" / f"{module}.py")
    for name in imported:
        assert not any(name == banned or name.startswith(f"{banned}.") for banned in NEVER), name


def test_the_function_loads_nothing_of_the_doctor() -> None:
    code = (
        "import sys, remediate.wiring, remediate.service.remediator, remediate.settings\n"
        "print([name for name in sys.modules if name.startswith('remediate.doctor')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
