"""Fixtures of the tests of records."""

from __future__ import annotations

import pytest

from remediate.ledger.opening import open_ledger
from tests.service.world import World


@pytest.fixture
def world(ledger_url: str) -> World:
    """An empty ledger and an organization, both in memory or a file."""
    return World(open_ledger(ledger_url))
