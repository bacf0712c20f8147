"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.firestore_fixture", "tests.pubsub_fixture", "tests.sandbox_fixture", "tests.deploy.paper"]


# No deadline for an example: the machine may be busy. HYPOTHESIS_PROFILE=thorough looks for longer.
settings.register_profile("suite", max_examples=100, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


# A run in the background inherits that interrupts are ignored, and every process of a test would.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_EXTERNAL = {"firestore_emulator", "pubsub", "browser", "blank_paper", "paper", "plans", "gcloud"}  # fixtures
_SLOW = {"sandbox_server", "installation"}  # fixtures that start processes
_SLOW_FOLDERS = {"browser", "deploy", "faults", "package", "sandbox", "wire"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make check` leaves out, by the fixtures that a test uses and the folder that it is in."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        chosen = getattr(getattr(item, "callspec", None), "params", {})
        if fixtures & _EXTERNAL or chosen.get("ledger_url") == "firestore":
            item.add_marker(pytest.mark.external)
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if fixtures & _SLOW or folder in _SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger: in a file, or in Firestore's emulator if a test requests each implementation."""
    if getattr(request, "param", "sqlite") == "firestore":
        return str(request.getfixturevalue("firestore"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"
