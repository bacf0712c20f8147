"""Runs Google's emulators for tests: the Google Cloud SDK's jar, in its own process, on a free port."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path


def sdk_file(pattern: str) -> Path | None:
    """The file in `gcloud`'s SDK; None without the SDK, the file or Java."""
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    roots = [Path(gcloud).resolve().parents[1], Path("/usr/lib/google-cloud-sdk"), Path("/usr/share/google-cloud-sdk")]
    return next((found for root in roots for found in sorted(root.glob(pattern))), None)


@contextlib.contextmanager
def running(*java: str) -> Iterator[str]:
    """Run `java ARGUMENTS` for the block and yield its `HOST:PORT` when it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["java", "-Xmx512m", *java, "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        threading.Event().wait(0.1)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)
