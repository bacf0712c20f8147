"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remediate.ledger.opening import open_ledger
from tests.audit_entries import LOGGED
from tests.service.world import World


@pytest.fixture
def world(ledger_url: str) -> World:
    """An empty ledger and an organization, both in memory or a file."""
    return World(open_ledger(ledger_url))


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Each test has a log of its own; entries made at import stay."""
    before = dict(LOGGED)
    yield
    LOGGED.clear()
    LOGGED.update(before)
