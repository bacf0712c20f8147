"""Fixtures that every test may use."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.firestore_fixture", "tests.pubsub_fixture", "tests.sandbox_fixture", "tests.deploy.paper"]


@pytest.fixture(params=["sqlite", "firestore"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger of each implementation; Firestore's only if its emulator is installed."""
    if request.param == "firestore":
        return str(request.getfixturevalue("firestore"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"
