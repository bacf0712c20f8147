"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import SandboxThread, Shell
from tests.sandbox_fixture import SandboxProcess


@pytest.fixture
def sandbox_server() -> Iterator[SandboxProcess]:
    """A fresh sandbox with the example organization."""
    sandbox = SandboxThread()
    yield sandbox
    sandbox.close()


@pytest.fixture
def shell(sandbox_server: SandboxProcess, tmp_path: Path) -> Shell:
    return Shell(sandbox_server, tmp_path)
