"""How the image is built: where, and again while rights are on their way."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import hcl2
import pytest

from tests.deploy.paper import FIVE, PROJECT, REGION, ran
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"


def patiently(folder: Path, failures: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that fails so many times; `tries` has its arguments, one line a try."""
    command = folder / "command"
    command.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {folder}/tries\n'
        f'[ "$(wc -l < {folder}/tries)" -gt {failures} ] || {{ echo "Error 403" >&2; exit 7; }}\n'
    )
    command.chmod(0o755)
    return subprocess.run(
        [DEPLOY / "patiently.sh", str(command), *arguments],
        env=os.environ | {"PAUSES": "0 0 0"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_command_is_tried_again_until_its_rights_count(tmp_path: Path, failures: int) -> None:
    done = patiently(tmp_path, failures, "submit", "a b")
    assert (done.returncode, done.stderr.count("the next try is in 0 seconds")) == (0, failures)
    assert (tmp_path / "tries").read_text() == "submit a b\n" * (failures + 1)


def test_a_command_that_fails_for_good_ends_with_its_own_code(tmp_path: Path) -> None:
    done = patiently(tmp_path, 99)
    assert (done.returncode, done.stderr.count("Error 403")) == (7, 4)


def submitted(*arguments: str) -> list[str]:
    place = ("--scope=organizations/400000000001", f"--reviewers={','.join(FIVE['reviewers'])}", "--dry-run")
    done = ran(f"--project={PROJECT}", f"--region={REGION}", *place, *arguments)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("gcloud builds submit")]
    return shlex.split(line)


def test_the_build_is_global_unless_a_region_is_given() -> None:
    assert not any(word.startswith("--region") for word in submitted())
    assert "--region=europe-west3" in submitted("--build-region=europe-west3")
    refused = ran(f"--project={PROJECT}", f"--region={REGION}", "--build-region=Europe", "--dry-run")
    assert (refused.returncode, "--build-region=Europe: expected global, or a region" in refused.stderr) == (2, True)


def test_terraform_builds_as_the_script_does() -> None:
    [image] = [
        each['"image"'] if '"image"' in each else each["image"]
        for block in hcl2.loads((DEPLOY / "build.tf").read_text())["resource"]
        for kind, each in block.items()
        if kind.strip('"') == "terraform_data"
    ]
    command = str(image["provisioner"])
    assert "deploy/patiently.sh gcloud builds submit ." in command
    assert "var.build_region" in command
    assert "var.region}" not in command.replace("var.build_region", "")


def test_a_new_build_revision_is_another_image() -> None:
    [before], [after] = (
        [word.partition("_IMAGE=")[2] for word in submitted(*more) if "_IMAGE=" in word]
        for more in ((), ("--build-revision=2026-12-01",))
    )
    assert after == f"{before}-2026-12-01"
    refused = ran(f"--project={PROJECT}", f"--region={REGION}", "--build-revision=A b", "--dry-run")
    assert (refused.returncode, "--build-revision=A b: expected up to 30" in refused.stderr) == (2, True)
