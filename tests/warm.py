"""Forks processes from a warm parent that has imported everything: real processes without Python's start-up time.

Each one has its own arguments, environment, folder, standard streams and exit code, and can be killed. The first test
that needs the parent starts it; the parent ends with the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PACKAGES = ("remediate", "sandbox")
_MODULES = (
    "cel_expr_python", "cloudevents.http", "concurrent.futures.thread", "flask", "functions_framework._cli",
    "functions_framework._http.gunicorn", "google.api_core.retry", "google.cloud.artifactregistry_v1",
    "google.cloud.firestore", "google.cloud.logging_v2.services.config_service_v2", "google.cloud.resourcemanager_v3",
    "gunicorn.app.base", "gunicorn.arbiter", "gunicorn.workers.gthread", "jinja2.loaders", "requests", "rich.console",
    "rich.markup", "rich.table", "sqlite3", "typer", "werkzeug.serving", "yaml",
)  # fmt: skip


class Process:
    """`python -m MODULE ARGUMENTS`, like `subprocess.Popen`. Streams are file descriptors; the caller closes them."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        stdout: int,
        stderr: int,
        stdin: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        new_session: bool = False,
    ) -> None:
        self.args = [module, *arguments]
        self.returncode: int | None = None
        request = {
            "arguments": self.args,
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd),
            "new_session": new_session,
        }
        self._line, theirs = socket.socketpair()
        with theirs, open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno() if stdin is None else stdin, stdout, stderr]
            _parent().send([theirs.fileno(), *streams])
        self._line.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._line.makefile("rb")
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """The exit code, negative if a signal ended the process; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code."""
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._line.close()
        return self.returncode

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended since, and its parent knows before we do
                os.kill(self.pid, number)


def run(
    module: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    cwd: Path = ROOT,
    timeout: float = 110,
) -> subprocess.CompletedProcess[bytes]:
    """The result of `subprocess.run` for `python -m MODULE ARGUMENTS`, with captured output."""
    reading, writing = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as pipe:
            pipe.write(stdin)

    feeding = threading.Thread(target=feed)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Process(module, *arguments, stdin=reading, stdout=out.fileno(), stderr=err.fileno(), env=env, cwd=cwd)
        os.close(reading)
        feeding.start()
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            feeding.join()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(process.args, code, out.read(), err.read())


def run_text(
    module: str, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """The same, as text."""
    done = run(module, *arguments, env=env, cwd=cwd)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class _Parent:
    """The client of the warm parent: requests forks."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.warm", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        atexit.register(self.close)

    def send(self, descriptors: list[int]) -> None:
        with self._lock:
            socket.send_fds(self._control, [b"x"], descriptors)

    def close(self) -> None:
        if self.owner == os.getpid():
            self._control.close()
            self._process.wait(20)


_started: list[_Parent] = []
_starting = threading.Lock()


def _parent() -> _Parent:
    with _starting:
        if not _started or _started[-1].owner != os.getpid():  # a fork of a test session uses its own parent
            _started.append(_Parent())
        return _started[-1]


def _warm_up() -> None:
    for name in _PACKAGES:
        for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if not found.name.endswith(".__main__"):
                importlib.import_module(found.name)
    for name in _MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread is lost in a fork"
    gc.collect()
    gc.freeze()


def _forked(control: socket.socket) -> dict[str, Any]:
    """Fork for each request until all clients are gone; in each fork, return the request."""
    children: dict[int, socket.socket] = {}

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with children.pop(ended[0]) as line, contextlib.suppress(OSError):
                    line.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))

    usual = signal.signal(signal.SIGCHLD, reap)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 4)
        if not message:
            sys.exit()
        line = socket.socket(fileno=descriptors[0])
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, usual)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            for number, each in enumerate(descriptors[1:]):
                os.dup2(each, number)
                os.close(each)
            for other in (control, *children.values()):
                other.close()
            with line, line.makefile("rb") as asked:
                return dict(json.loads(asked.readline()))
        children[pid] = line
        line.sendall(b"%d\n" % pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for each in descriptors[1:]:
            os.close(each)


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    _warm_up()
    asked = _forked(control)
    if asked["new_session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    module, *sys.argv[1:] = asked["arguments"]
    code: object = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    _end(code)


def _end(code: object) -> None:
    """Do what Python does at exit, except for the clean-up of a thousand modules."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as Python does it, by a name that is not public
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _main()
