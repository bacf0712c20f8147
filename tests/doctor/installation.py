"""An installation in the sandbox that tests break one part at a time, and runs of the doctor on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediate.doctor.codes import Code
from remediate.doctor.finding import Finding
from remediate.doctor.names import ResourceNames
from remediate.doctor.run import DoctorReport, local_facts, run_doctor
from tests.sandbox_fixture import SandboxProcess

PROJECT, REGION = "remediate-ops", "asia-northeast1"
HERE, PLACE = f"projects/{PROJECT}", f"projects/{PROJECT}/locations/{REGION}"
SCOPE = "organizations/400000000001"
SINK = f"/v2/{SCOPE}/sinks/remediate-denials"
TOPIC = f"/v1/{HERE}/topics/remediate-denials"
TRIGGER = f"/v1/{PLACE}/triggers/remediate-denials"
SUBSCRIPTION = f"/v1/{HERE}/subscriptions/eventarc-{REGION}-remediate-denials-sub-001"
DEAD_TOPIC, DEAD_KEPT = f"/v1/{HERE}/topics/remediate-dead-letters", f"/v1/{HERE}/subscriptions/remediate-dead-letters"
RECEIVER, REVIEW = f"/v2/{PLACE}/services/remediate-receiver", f"/v2/{PLACE}/services/remediate-review"
WRITES = f"/v2/{PLACE}/services/remediate-writer"
JOB, SCHEDULE = f"/v2/{PLACE}/jobs/remediate-sweep", f"/v1/{PLACE}/jobs/remediate-sweep"
DUE_JOB, DUE_SCHEDULE = f"/v2/{PLACE}/jobs/remediate-due", f"/v1/{PLACE}/jobs/remediate-due"
READER, WRITER = f"{SCOPE}/roles/remediateReader", f"{SCOPE}/roles/remediateWriter"
LEDGER = f"{HERE}/roles/remediateLedger"
DATABASE = f"/v1/{HERE}/databases/remediate"


def member(task: str) -> str:
    """A task's service account as an IAM member."""
    return f"serviceAccount:remediate-{task}@{PROJECT}.iam.gserviceaccount.com"


def _now() -> datetime:
    return datetime.now(UTC)


class Installation:
    """A sandbox with an installation; `change` breaks it, `run` runs the doctor."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.environ = sandbox.env | {"REMEDIATE_ORGANIZATION": "400000000001", "REMEDIATE_TIMEOUT": "2"}
        self.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = f"{sandbox.url}/"
        self.names = ResourceNames(PROJECT, REGION)

    def change(self, patches: dict[str, Any]) -> None:
        """Merge these patches into what the sandbox serves."""
        status, answer = self.sandbox.call("PUT", "/sandbox/deployment", patches)
        assert status == 200, answer

    def set_env(self, **variables: str) -> None:
        """Set these variables for every deployed part."""
        assert self.sandbox.call("PUT", "/sandbox/deployment/env", variables)[0] == 200

    def reset(self) -> None:
        """Undo every change."""
        assert self.sandbox.call("DELETE", "/sandbox/deployment")[0] == 200
        self.sandbox.faults()

    def policy(self, name: str) -> list[dict[str, Any]]:
        """The bindings of an organization's, folder's or project's allow policy."""
        return list(self.sandbox.policies()[name].get("bindings", []))

    def variables(self, path: str) -> list[dict[str, Any]]:
        """The variables of a deployed part."""
        template = self.sandbox.call("GET", path)[1]["template"]
        return list(template.get("template", template)["containers"][0]["env"])

    def run(
        self,
        names: ResourceNames | None = None,
        *,
        canary: bool = False,
        clock: Callable[[], datetime] = _now,
        wait: Callable[[float], None] = time.sleep,
        **environ: str,
    ) -> DoctorReport:
        """The doctor's report."""
        local = local_facts(self.environ | environ)
        return run_doctor(local, names or self.names, canary=canary, clock=clock, wait=wait)

    def findings(self, environ: dict[str, str]) -> list[Finding]:
        """What a run without a synthetic denial finds in this environment."""
        return run_doctor(local_facts(self.environ | environ), self.names, canary=False, clock=_now).findings

    def codes(self, **environ: str) -> set[Code]:
        """The codes of a run without a synthetic denial."""
        return {finding.code for finding in self.findings(environ)}

    def finding(self, code: Code, **environ: str) -> Finding:
        """The only finding with this code."""
        [finding] = [each for each in self.findings(environ) if each.code is code]
        return finding


class FakeClock:
    """A clock that moves only by `wait`."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for the tests of a module."""
    sandbox = SandboxProcess()
    yield sandbox
    sandbox.close()


@pytest.fixture
def installation(
    shared_sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Installation]:
    """A healthy installation, reset afterwards; it ignores a ledger in this checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    installation = Installation(shared_sandbox)
    yield installation
    installation.reset()


def clean_environment() -> dict[str, str]:
    """This process's environment without the variables of Google Cloud and of this project."""
    ours = ("REMEDIATE_", "CLOUDSDK_", "GOOGLE_CLOUD_", "FIRESTORE_", "K_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def empty_home(folder: Path) -> dict[str, str]:
    """The environment of a home directory without credentials."""
    return {"HOME": str(folder), "GCE_METADATA_HOST": "127.0.0.1:9", "NO_GCE_CHECK": "true"}
