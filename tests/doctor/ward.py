"""An installation in the sandbox that tests break, one thing at a time, and the doctor's visits to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediate.doctor.codes import Code
from remediate.doctor.finding import Finding
from remediate.doctor.names import Site
from remediate.doctor.run import Report, local_facts, visit
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
JOB, SCHEDULE = f"/v2/{PLACE}/jobs/remediate-sweep", f"/v1/{PLACE}/jobs/remediate-sweep"
READER, WRITER = f"{SCOPE}/roles/remediateReader", f"{SCOPE}/roles/remediateWriter"
LEDGER = f"{HERE}/roles/remediateLedger"
DATABASE = f"/v1/{HERE}/databases/remediate"


def member(task: str) -> str:
    """A task's service account as an IAM member."""
    return f"serviceAccount:remediate-{task}@{PROJECT}.iam.gserviceaccount.com"


class Ward:
    """A sandbox with an installation; `change` breaks it, `visit` is the doctor's."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.environ = sandbox.env | {"REMEDIATE_ORGANIZATION": "400000000001", "REMEDIATE_TIMEOUT": "2"}
        self.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = f"{sandbox.url}/"
        self.site = Site(PROJECT, REGION)

    def change(self, patches: dict[str, Any]) -> None:
        """Merge these patches into what the sandbox serves."""
        status, answer = self.sandbox.call("PUT", "/sandbox/deployment", patches)
        assert status == 200, answer

    def tell(self, **variables: str) -> None:
        """Set these variables for every deployed part."""
        assert self.sandbox.call("PUT", "/sandbox/deployment/env", variables)[0] == 200

    def heal(self) -> None:
        """All of it as it was."""
        assert self.sandbox.call("DELETE", "/sandbox/deployment")[0] == 200
        self.sandbox.faults()

    def policy(self, name: str) -> list[dict[str, Any]]:
        """The bindings of an organization's, folder's or project's allow policy."""
        return list(self.sandbox.policies()[name].get("bindings", []))

    def variables(self, path: str) -> list[dict[str, Any]]:
        """The variables of a deployed part."""
        template = self.sandbox.call("GET", path)[1]["template"]
        return list(template.get("template", template)["containers"][0]["env"])

    def visit(
        self,
        site: Site | None = None,
        *,
        canary: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait: Callable[[float], None] | None = None,
        **environ: str,
    ) -> Report:
        """The doctor's report."""
        local = local_facts(self.environ | environ)
        options = {"wait": wait} if wait else {}
        return visit(local, site or self.site, canary=canary, clock=clock, **options)

    def codes(self, **environ: str) -> set[Code]:
        """The codes that a visit without a synthetic denial comes to."""
        return {finding.code for finding in self.visit(**environ).findings}

    def found(self, code: Code, **environ: str) -> Finding:
        """The one finding of this code."""
        [finding] = [each for each in self.visit(**environ).findings if each.code is code]
        return finding


class Hours:
    """Time that passes by waiting alone."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def hospital() -> Iterator[SandboxProcess]:
    """One sandbox for the tests of a module."""
    sandbox = SandboxProcess()
    yield sandbox
    sandbox.close()


@pytest.fixture
def ward(hospital: SandboxProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ward]:
    """A healthy installation, healed again afterwards; far from the ledger that a reader of this checkout may have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    ward = Ward(hospital)
    yield ward
    ward.heal()


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that speaks of a Google Cloud or of this project."""
    ours = ("REMEDIATE_", "CLOUDSDK_", "GOOGLE_CLOUD_", "FIRESTORE_", "K_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def empty_home(folder: Path) -> dict[str, str]:
    """Where no credentials are found."""
    return {"HOME": str(folder), "GCE_METADATA_HOST": "127.0.0.1:9", "NO_GCE_CHECK": "true"}
