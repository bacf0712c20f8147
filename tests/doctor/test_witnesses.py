"""gcloud, which knows nothing of the sandbox, reads the same installation, and the doctor's commands fix what is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from remediate.doctor.codes import Code
from tests.doctor.installation import PROJECT, REGION, SCHEDULE, SINK, SUBSCRIPTION, TOPIC, Installation

READS = [
    ["pubsub", "subscriptions", "describe", f"eventarc-{REGION}-remediate-denials-sub-001"],
    ["logging", "sinks", "describe", "remediate-denials", "--organization=400000000001"],
    ["eventarc", "triggers", "describe", "remediate-denials", f"--location={REGION}"],
    ["iam", "service-accounts", "describe", f"remediate-receiver@{PROJECT}.iam.gserviceaccount.com"],
]
CURES: list[tuple[Code, dict[str, Any]]] = [
    (Code.SINK_FILTER, {SINK: {"filter": "severity>=ERROR"}}),
    (Code.SUBSCRIPTION_NO_DEAD_LETTER, {SUBSCRIPTION: {"deadLetterPolicy": None}}),
    (Code.SCHEDULE_PAUSED, {SCHEDULE: {"state": "PAUSED"}}),
    (Code.TOPIC_WRITER, {f"{TOPIC}:getIamPolicy": {"bindings": None}}),
]


@pytest.fixture
def shell(installation: Installation, tmp_path: Path) -> dict[str, str]:
    """The environment in which gcloud talks to the sandbox and to nothing else."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    return os.environ | installation.sandbox.env | {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
    }  # fmt: skip


def test_gcloud_reads_what_the_doctor_reads(shell: dict[str, str], installation: Installation) -> None:
    before = installation.sandbox.requests()
    for words in READS:
        done = subprocess.run(["gcloud", *words], env=shell, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "remediate" in done.stdout
    assert installation.sandbox.requests() - before >= len(READS)


@pytest.mark.parametrize(("code", "patch"), CURES, ids=[code for code, _ in CURES])
def test_a_cure_typed_as_it_was_printed_cures(
    shell: dict[str, str], installation: Installation, code: Code, patch: dict[str, Any]
) -> None:
    installation.change(patch)
    finding = installation.finding(code)
    done = subprocess.run(finding.fix, shell=True, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert installation.codes() == set()
