"""Webhook receivers over HTTP: healthy, slow, dead, failing for a while, or answering with Retry-After."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "T0SECRET/B0SECRET/hunter2"  # the secret of a webhook's URL, which must not appear anywhere else


@dataclass
class Receiver:
    """A receiver at `url`. `answers` are its next statuses (then 200), `posts` the requests that it received."""

    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    port: int = 0
    posts: list[Any] = field(default_factory=list)
    requests: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/{TOKEN}"

    def wait_for(self, count: int, seconds: float = 15) -> list[Any]:
        """Wait for so many requests and return them."""
        deadline = time.monotonic() + seconds
        while len(self.posts) < count and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert len(self.posts) >= count, self.posts
        return self.posts


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Serve it for the duration of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.requests += 1
            threading.Event().wait(receiver.delay)
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                receiver.posts.append(body)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # the client closed the connection before the answer

    server = Server(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


def dead_port() -> int:
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
