"""`make mutants`: what dies, what survives, what the list says of it; with mutants made by hand in place of mutmut's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_fixture import ROOT

pytestmark = pytest.mark.slow

SOURCE = (ROOT / "remediate" / "iam" / "allow_policy.py").read_text()
RUN = """
import pathlib, sys
from bench import mutants
folder = pathlib.Path(sys.argv[1])
mutants.KNOWN, mutants.ACCEPTED = folder / "known", folder / "mutants.yaml"
mutants.GENERATOR = str(folder / "generator")
mutants.MODULES = {"iam.allow_policy": mutants.Module(("iam/test_allow_policy.py",))}
sys.exit(mutants.main(sys.argv[2:]))
"""
SAME = {"in": "", "before": "a", "after": "b", "because": "a comment"}


def mutant(old: str, new: str, **fields: Any) -> dict[str, Any]:
    assert old in SOURCE
    return {"line": 1, "where": "", "before": "a", "after": "b", "source": SOURCE.replace(old, new, 1)} | fields


KILLED = mutant("binding.role == ROLE", "binding.role != ROLE", before="==", after="!=")
BROKEN = mutant("def edit_to_add", "def edit_to_ad", before="name", after="nam")
EQUIVALENT = mutant("def edit_to_add", "# nothing else\ndef edit_to_add")


def run(folder: Path, mutants: list[dict[str, Any]], accepted: list[dict[str, str]], *words: str) -> tuple[int, str]:
    (folder / "mutants.json").write_text(json.dumps(mutants))
    (folder / "mutants.yaml").write_text(json.dumps({"iam.allow_policy": accepted}))
    generator = folder / "generator"
    generator.write_text(f"#!/bin/sh\ncat {folder}/mutants.json\n")
    generator.chmod(0o755)
    command = [sys.executable, "-c", RUN, str(folder), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_survivor_that_is_not_listed_fails_and_a_listed_one_does_not(tmp_path: Path) -> None:
    code, said = run(tmp_path, [KILLED, BROKEN, EQUIVALENT], [])
    assert code == 1
    assert "iam.allow_policy: 2 of 3 died, 0 equivalent" in said
    assert "survives  remediate/iam/allow_policy.py:1 module\n    - a\n    + b\n" in said
    code, said = run(tmp_path, [KILLED, BROKEN, EQUIVALENT], [SAME])
    assert (code, "2 of 3 died, 1 equivalent\n" in said) == (0, True)  # known of: nothing is run, so no time is told
    assert "2 of 3 mutants died (66.7%" in said
    assert "\r" not in said  # no progress in a pipe


def test_a_stale_entry_is_reported_and_one_without_a_reason_fails(tmp_path: Path) -> None:
    gone = SAME | {"before": "gone"}
    code, said = run(tmp_path, [KILLED], [gone])
    assert (code, "stale     mutants.yaml iam.allow_policy" in said) == (0, True)
    code, said = run(tmp_path, [KILLED, EQUIVALENT], [SAME | {"because": " "}])
    assert (code, "no reason mutants.yaml iam.allow_policy" in said) == (1, True)


def test_survivors_are_printed_as_entries_of_the_list(tmp_path: Path) -> None:
    _, said = run(tmp_path, [EQUIVALENT], [], "--yaml")
    assert "iam.allow_policy:\n- in: ''\n  before: a\n  after: b\n  because: ''\n" in said


@pytest.mark.parametrize("name", ["nothing", "policy.py"])
def test_a_module_that_is_not_in_the_table_is_named(tmp_path: Path, name: str) -> None:
    code, said = run(tmp_path, [], [], name)
    assert (code, f"{name!r}: expected some of iam.allow_policy" in said) == (2, True)
