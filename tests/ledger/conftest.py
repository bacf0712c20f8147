"""Fixtures of the ledger's tests: both implementations must pass them."""

import pytest

from tests.firestore_fixture import LEDGERS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that uses a ledger runs on each."""
    if "ledger_url" in metafunc.fixturenames:
        metafunc.parametrize("ledger_url", LEDGERS, indirect=True)
