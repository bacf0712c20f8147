"""Runs a command to its end, in pipes or at a terminal of its own, where it prints what a person at a terminal sees."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

_CHUNK = 1 << 16  # bytes


def run_in_pipes(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The finished command with what it printed."""
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603


def run_at_terminal(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The finished command: its standard output went to a terminal, its standard error to a pipe."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=theirs, stderr=subprocess.PIPE) as process:  # noqa: S603
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        _, told = process.communicate()
    os.close(ours)
    return subprocess.CompletedProcess(command, process.returncode, shown.decode().replace("\r\n", "\n"), told.decode())


def _read(terminal: int) -> bytes:
    """The next bytes; none once the command has closed its end, which Linux reports as an error."""
    try:
        return os.read(terminal, _CHUNK)
    except OSError:
        return b""
