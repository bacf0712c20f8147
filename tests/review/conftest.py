"""The review pages for a browser without JavaScript: under functions-framework, over HTTP, with the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remediate.ledger.opening import open_ledger
from tests.review.page import Page
from tests.sandbox_fixture import SandboxProcess
from tests.service.world import World


@pytest.fixture
def page(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[Page]:
    opened = Page(sandbox_server, tmp_path)
    yield opened
    opened.function.close()


@pytest.fixture
def world(ledger_url: str) -> World:
    """An empty ledger and an organization, both in memory or a file."""
    return World(open_ledger(ledger_url))
