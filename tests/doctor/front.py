"""Google Cloud for the checklist: what the sandbox does not serve is answered from a list, the rest by the sandbox."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.doctor.installation import Installation

Answers = dict[str, tuple[int, Any] | Callable[["Request"], tuple[int, Any]]]


class Request:
    """One request: `METHOD /path?query`, the body, and the project that it is counted on."""

    def __init__(self, line: str, body: bytes, quota: str | None) -> None:
        self.line, self.body, self.quota = line, body, quota


class Front:
    """A server before the sandbox. `answers`: status and JSON by a pattern of `METHOD /path?query BODY`."""

    def __init__(self, behind: str) -> None:
        self.answers: Answers = {}
        self.requests: list[Request] = []
        self._behind = behind
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(f"{self.command} {self.path}", body, self.headers.get("X-Goog-User-Project"))
                front.requests.append(request)
                status, answer = front.answer(request)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815  (the name that http.server calls)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Request) -> tuple[int, Any]:
        """The listed answer, or the sandbox's."""
        for pattern, found in self.answers.items():
            if re.search(pattern, f"{request.line} {request.body.decode()}"):
                return found(request) if callable(found) else found
        method, path = request.line.split(" ", 1)
        asked = urllib.request.Request(
            self._behind + path, request.body or None, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@contextmanager
def front_of(installation: Installation) -> Iterator[tuple[Front, dict[str, str]]]:
    """A front, and the environment in which every API is behind it."""
    front = Front(installation.sandbox.url)
    apis = {name: front.url for name in installation.environ if name.startswith("CLOUDSDK_API_ENDPOINT_OVERRIDES_")}
    try:
        yield front, installation.environ | apis | {"CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBUILD": front.url}
    finally:
        front.close()


def refusal(status: str, reason: str, message: str, code: int = 403) -> tuple[int, Any]:
    """An error as Google words it."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": {"x": message}}]
    return code, {"error": {"code": code, "message": message, "status": status, "details": details}}
