"""`python -m bench`: cold start, events a second, one grant and 32 writers (gcloud too), a plan of 100,000 entries."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from remediate.cloud.registry import GoogleRegistry
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from tests.audit_entries import activity, push_body, system_event, user_text
from tests.sandbox_fixture import ROOT, SandboxProcess
from tests.wire.function_fixture import FunctionProcess

CONTAINERS = Repository("platform-images", "asia-northeast1", "containers")
SAME = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"


def main() -> None:
    """Run every benchmark and print one line for each."""
    with tempfile.TemporaryDirectory() as folder:
        for measure in (_cold_start, _events, _one_grant, _writers, _plan):
            measure(Path(folder))


def _sandbox(folder: Path, count: int = 64) -> tuple[SandboxProcess, list[str]]:
    members = [f"serviceAccount:deployer-{number}@shop-frontend.iam.gserviceaccount.com" for number in range(count)]
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    listed = "".join(f"  - {member}\n" for member in members)
    (folder / "organization.yaml").write_text(text.replace("identities:\n", f"identities:\n{listed}"))
    return SandboxProcess("--org", str(folder / "organization.yaml")), members


def _tell(what: str, seconds: list[float]) -> None:
    median, least, most = statistics.median(seconds), min(seconds), max(seconds)
    print(f"{what}: median {median * 1000:.0f} ms (min {least * 1000:.0f}, max {most * 1000:.0f}, n={len(seconds)})")


def _cold_start(folder: Path) -> None:
    taken = []
    for number in range(5):
        started = time.perf_counter()
        function = FunctionProcess(None, folder, REMEDIATE_LEDGER=f"sqlite:///{folder}/cold-{number}.db")
        assert function.push(push_body(activity("Something else."))) == 200
        taken.append(time.perf_counter() - started)
        function.close()
    _tell("process start to the first 200 for an ignored event", taken)


def _events(folder: Path) -> None:
    function = FunctionProcess(None, folder)
    body = json.dumps(push_body(activity("Something else."))).encode()
    with ThreadPoolExecutor(8) as pool:
        started = time.perf_counter()
        statuses = list(pool.map(lambda _: function.push(body), range(2000)))
    assert set(statuses) == {200}
    print(f"ignored events: {2000 / (time.perf_counter() - started):.0f} a second (8 connections at a time)")
    function.close()


def _gcloud(sandbox: SandboxProcess, folder: Path, member: str) -> int:
    environment = os.environ | sandbox.env | {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
    }  # fmt: skip
    command = ["gcloud", "artifacts", "repositories", "add-iam-policy-binding", "containers", f"--member={member}"]
    command += ["--project=platform-images", "--location=asia-northeast1", "--role=roles/artifactregistry.reader"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def _one_grant(folder: Path) -> None:
    sandbox, members = _sandbox(folder)
    registry = GoogleRegistry(sandbox.url, 10.0)
    taken = []
    for member in members[:20]:
        started = time.perf_counter()
        registry.add_reader(Grant(CONTAINERS, Member(member)), request_reason="bench", precondition=lambda: True)
        taken.append(time.perf_counter() - started)
    _tell("one grant, read and write, client warm", taken[1:])
    if shutil.which("gcloud"):
        taken = []
        for member in members[20:25]:
            started = time.perf_counter()
            assert _gcloud(sandbox, folder, member) == 0
            taken.append(time.perf_counter() - started)
        _tell("the same by gcloud", taken)
    sandbox.close()


def _writers(folder: Path) -> None:
    def grant(sandbox: SandboxProcess, member: str) -> bool:
        registry = GoogleRegistry(sandbox.url, 10.0)
        return registry.add_reader(
            Grant(CONTAINERS, Member(member)), request_reason="bench", precondition=lambda: True
        ).written

    sandbox, members = _sandbox(folder)
    with ThreadPoolExecutor(32) as pool:
        started = time.perf_counter()
        written = sum(pool.map(lambda member: grant(sandbox, member), members[:32]))
    seconds = time.perf_counter() - started
    print(f"32 writers, a client each: {written} succeed, {len(sandbox.readers()) - 2} members added, {seconds:.1f} s")
    sandbox.close()
    if shutil.which("gcloud"):
        sandbox, members = _sandbox(folder)
        with ThreadPoolExecutor(32) as pool:
            done = list(pool.map(lambda member: _gcloud(sandbox, folder, member), members[:32]))
        print(f"32 gcloud writers: {done.count(0)} succeed, {len(sandbox.readers()) - 2} members added")
        sandbox.close()


def _plan(folder: Path) -> None:
    bases: list[Any] = [
        activity(),
        system_event(),
        activity(user_text(SAME), images=(SAME,)),
        activity("Something else."),
    ]
    texts = [json.dumps(each, indent=2).replace('"insertId": "', '"insertId": "%d-', 1) for each in bases]
    export = folder / "export.json"
    with export.open("w") as file:
        file.write("[\n")
        file.writelines(texts[number % 4].replace("%d", str(number), 1) + ",\n" for number in range(100_000))
        file.write("{}]\n")
    started = time.perf_counter()
    command = [sys.executable, "-m", "remediate", "plan", str(export), "--format", "json"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    size, peak = export.stat().st_size / 1e6, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"a plan of 100,000 entries ({size:.0f} MB): {time.perf_counter() - started:.1f} s,"
        f" peak {peak:.0f} MiB a process"
    )


if __name__ == "__main__":
    main()
