"""Runs a reviewer's commands in this process; gives their output and exit code."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from remediate.cli.app import main
from remediate.cloud import rest
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from sandbox.__main__ import EXAMPLE
from sandbox.organization import load
from sandbox.server import Sandbox, listen
from tests.audit_entries import activity, denial, user_text
from tests.sandbox_fixture import IMAGE, ROOT, SandboxProcess

REVIEWER = "platform-lead@example.com"


def call_main(
    arguments: tuple[str, ...], environment: dict[str, str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m remediate` in a process with only this environment."""
    out, err = io.BytesIO(), io.BytesIO()
    given, told, warned = (io.TextIOWrapper(stream, "utf-8") for stream in (io.BytesIO(stdin), out, err))
    rest._session.cache_clear()  # a new process has no connection of the previous command
    with (
        contextlib.chdir(ROOT),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.multiple(sys, argv=["remediate", *arguments], excepthook=sys.excepthook),
        mock.patch.multiple(sys, stdin=given, stdout=told, stderr=warned),
        mock.patch.object(sys, "__stdout__", told),  # otherwise a table is as wide as the terminal of pytest
    ):
        try:
            main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        told.flush()
        warned.flush()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def outside() -> dict[str, str]:
    """The environment of these tests, without settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REMEDIATE_")}


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return call_main(arguments, outside() | environment, stdin)


def run_process(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The same in a separate process."""
    command = [sys.executable, "-m", "remediate", *arguments]
    return subprocess.run(command, cwd=ROOT, env=outside() | environment, input=stdin, capture_output=True, check=False)


def plan(text: str | bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return run("plan", "-", *arguments, stdin=text.encode() if isinstance(text, str) else text)


def remediate(*arguments: str, code: int = 0, **environment: str) -> str:
    """The output of a command that must exit with this code; includes standard error if the code is not 0."""
    done = call_main(arguments, {"PATH": os.environ["PATH"]} | environment, b"")
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, out + err
    assert "Traceback" not in err
    return out if code == 0 else out + err


class SandboxThread(SandboxProcess):
    """A sandbox in this process: it starts in a tenth of the time."""

    def __init__(self) -> None:
        self.sandbox = Sandbox(load(EXAMPLE))
        self._server = listen(self.sandbox, 0)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        services = ("ARTIFACTREGISTRY", "CLOUDRESOURCEMANAGER", "IAM", "LOGGING", "POLICYTROUBLESHOOTER")
        self.env = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}": f"{self.url}/" for service in services}
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.sandbox.delivering.close()


class Shell:
    """Runs commands as a reviewer does, with a ledger that has one denial."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.environment = sandbox.env | {"REMEDIATE_LEDGER": f"sqlite:///{folder / 'ledger.db'}"}
        self.environment |= {"REMEDIATE_OPERATORS": REVIEWER}
        remediator = remediator_from(load_settings(self.environment))
        entry = activity(user_text(IMAGE), images=(IMAGE,))
        sandbox.log(entry)
        handled = remediator.handle(denial(entry))
        assert handled.remediation
        assert handled.partners
        self.ids = [handled.remediation.id, handled.partners[0]]

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """The output of a command that must exit with this code; includes standard error if the code is not 0."""
        return remediate(*arguments, code=code, **{**self.environment, **environment})

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--format", "json"))
