"""Fixtures that every test may use."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.firestore_fixture", "tests.pubsub_fixture", "tests.sandbox_fixture", "tests.deploy.paper"]


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger: in a file, or in Firestore's emulator if a test requests each implementation."""
    if getattr(request, "param", "sqlite") == "firestore":
        return str(request.getfixturevalue("firestore"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"
