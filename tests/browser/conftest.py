"""A headless Chromium, and the servers that it visits: the sandbox, the function, and the pages over one ledger."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.organization import live_through_three_months
from tests.browser.scene import _PATIENCE, LEAD, SECURITY, Scene

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests. Each test opens its own contexts."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed; `make test` as root installs Debian's")
    with sync_playwright() as playwright:
        expect.set_options(timeout=_PATIENCE)
        opened = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def scene(tmp_path: Path, browser: Browser) -> Iterator[Scene]:
    """An empty ledger and one reviewer."""
    opened = Scene(tmp_path, browser)
    yield opened
    opened.close()


@pytest.fixture
def two_reviewers(tmp_path: Path, browser: Browser) -> Iterator[Scene]:
    """An empty ledger and two reviewers, each with their own pages."""
    opened = Scene(tmp_path, browser, reviewers=(LEAD, SECURITY))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Scene]:
    """A ledger with three months of a mid-sized company; read-only."""
    opened = Scene(tmp_path_factory.mktemp("company"), browser)
    live_through_three_months(opened.environment)
    yield opened
    opened.close()
