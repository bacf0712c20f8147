"""The Firestore emulator of the Google Cloud SDK, on a free port, for the test session."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator

import pytest

from tests.emulator import running, sdk_file

PROJECT = "remediate-test"
LEDGERS = ("sqlite", "firestore")
EACH_LEDGER = pytest.mark.parametrize("ledger_url", LEDGERS, indirect=True)  # for a test that has to pass on each
JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


@pytest.fixture(scope="session")
def firestore_emulator() -> Iterator[str]:
    """`HOST:PORT` of a running emulator. Skips the test if the SDK has none."""
    jar = sdk_file(JAR)
    if jar is None:
        pytest.skip("the Google Cloud SDK's Firestore emulator is not installed")
    with running("-cp", str(jar), MAIN) as address:
        yield address


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
