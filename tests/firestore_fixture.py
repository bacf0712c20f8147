"""The Firestore emulator of the Google Cloud SDK, on a free port, for as long as a test session lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = "remediate-test"
_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


def emulator_jar() -> Path | None:
    """The emulator's jar inside the SDK that `gcloud` belongs to, or None."""
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    roots = [Path(gcloud).resolve().parents[1], Path("/usr/lib/google-cloud-sdk"), Path("/usr/share/google-cloud-sdk")]
    return next((root / _JAR for root in roots if (root / _JAR).is_file()), None)


@pytest.fixture(scope="session")
def firestore_emulator() -> Iterator[str]:
    """`HOST:PORT` of a running emulator; skips where the SDK does not have one."""
    jar = emulator_jar()
    if jar is None:
        pytest.skip("the Google Cloud SDK's Firestore emulator is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["java", "-Xmx512m", "-cp", str(jar), _MAIN, "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        threading.Event().wait(0.1)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def firestore(firestore_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty Firestore ledger."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator)
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    url = f"http://{firestore_emulator}/emulator/v1/projects/{PROJECT}/databases/(default)/documents"
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=30):
        pass
    assert os.environ["FIRESTORE_EMULATOR_HOST"]
    return f"firestore://{PROJECT}/(default)"
