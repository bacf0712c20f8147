"""The function as in production: its own process under functions-framework, with events over HTTP."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from remediate.ledger.interface import Filter
from remediate.ledger.sqlite import SqliteLedger
from remediate.records.remediation import Remediation
from tests import warm
from tests.audit_entries import activity, user_text
from tests.policies import BEFORE_2025
from tests.sandbox_fixture import SandboxProcess

PAGES = "https://review.example.com"

SAME_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"

PUBSUB_TYPE = "google.cloud.pubsub.topic.v1.messagePublished"
AUDIT_TYPE = "google.cloud.audit.log.v1.written"


class FunctionProcess:
    """`functions-framework --target on_denial` with a sandbox; `lines` are its log lines."""

    def __init__(
        self,
        sandbox: SandboxProcess | None,
        folder: Path,
        given: Mapping[str, str] = MappingProxyType({}),
        *,
        target: str = "on_denial",
        port: int = 0,
        **settings: str,
    ) -> None:
        self.port = _free_port(port)
        self.url = f"http://127.0.0.1:{self.port}/"
        self.ledger_path = folder / "ledger.db"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("REMEDIATE_", "CLOUDSDK_"))}
        environment = clean | (sandbox.env if sandbox else {}) | {"REMEDIATE_LEDGER": f"sqlite:///{self.ledger_path}"}
        arguments = ("--target", target, "--host", "127.0.0.1", "--port", str(self.port))
        self.output: list[str] = []
        self.sandbox = sandbox
        self._logged: set[str] = set()
        settings = {**given, **settings}
        if sandbox:  # by default, tests that need a grant by rule use the wider rule
            settings = {"REMEDIATE_POLICY": str(BEFORE_2025)} | settings
        reading, writing = os.pipe()
        self.process = warm.Process(
            "functions_framework",
            *arguments,
            env=environment | settings,
            stdout=writing,
            stderr=writing,
            new_session=True,
        )
        os.close(writing)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()
        self._wait_until_it_listens()

    def _read(self, reading: int) -> None:
        with open(reading, errors="replace") as stream:
            for line in stream:
                self.output.append(line.rstrip("\n"))

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            threading.Event().wait(0.05)
        raise AssertionError(self.output)

    def freeze(self) -> None:
        """Take the CPU away, as Cloud Run does after the last answer with request-based billing."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Give the CPU back."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and its workers, as a power failure would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._reader.join(5)

    def lines(self, count: int = 1, *, trail: bool = False) -> list[dict[str, Any]]:
        """Wait for that many lines (a pipe may lag behind) and return the function's own lines, decoded.

        These are lines of decisions or of the trail.
        """
        deadline = time.monotonic() + 10
        while True:
            found = [json.loads(line) for line in list(self.output) if line.startswith("{")]
            found = [line for line in found if ("trail" in line) is trail]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            threading.Event().wait(0.02)

    def _log(self, body: Any) -> None:
        """Google Cloud's log has every entry that it delivers."""
        with contextlib.suppress(TypeError, KeyError, ValueError, AttributeError):
            inner = body.get("data", body)
            entry = inner if "logName" in inner else json.loads(base64.b64decode(inner["message"]["data"]))
            if self.sandbox and json.dumps(entry) not in self._logged:
                self._logged.add(json.dumps(entry))
                self.sandbox.log(entry)

    def post(self, body: Any, *, logged: bool = True, **headers: str) -> int:
        """The status of a POST. `headers` are CloudEvent attributes (`type=` becomes `ce-type`).

        `logged`: the sandbox's log has the entry too, as in Google Cloud.
        """
        if logged:
            self._log(body)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        attributes = {f"ce-{name}": value for name, value in headers.items() if name != "content_type"}
        sent = {"Content-Type": headers.get("content_type", "application/json"), **attributes}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request("POST", "/", data, sent)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def push(self, body: Any, event_id: str = "1", *, logged: bool = True) -> int:
        """Deliver a Pub/Sub push body as Eventarc does, inside a binary CloudEvent."""
        source = "//pubsub.googleapis.com/x"
        return self.post(body, logged=logged, type=PUBSUB_TYPE, id=event_id, source=source, specversion="1.0")

    def records(self) -> list[Remediation]:
        """Every remediation in the function's ledger."""
        return SqliteLedger(self.ledger_path).find(Filter(), limit=1000)


def _free_port(port: int) -> int:
    """A port that nobody listens on; this one, once the workers of a process that was killed left it."""
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
            except OSError:
                if time.monotonic() > deadline:
                    raise
        threading.Event().wait(0.1)


def same_project(insert_id: str = "1") -> dict[str, Any]:
    return activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), insert_id=insert_id)


class Command:
    """Runs `remediate ...` with the ledger and the sandbox of a function."""

    def __init__(self, function: FunctionProcess, **environ: str) -> None:
        assert function.sandbox
        ledger = {"REMEDIATE_LEDGER": f"sqlite:///{function.ledger_path}"}
        self._environ = {"PATH": os.environ["PATH"]} | function.sandbox.env | ledger | environ

    def run(self, *arguments: str) -> str:
        """The output of the command, which must exit with 0."""
        done = warm.run_text("remediate", *arguments, env=self._environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
