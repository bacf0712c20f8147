"""What Eventarc does between Pub/Sub and Cloud Run: it takes a push and passes it on as a binary CloudEvent.

Source: "CloudEvents - HTTP event format" (Eventarc).
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.wire.function_fixture import PUBSUB_TYPE


@contextmanager
def delivering_to(port: int) -> Iterator[str]:
    """The URL of an Eventarc whose trigger calls the receiver on this port; its answer goes back to Pub/Sub."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ident = json.loads(body)["message"]["messageId"]
            attributes = {"id": ident, "type": PUBSUB_TYPE, "source": "//pubsub.googleapis.com/x", "specversion": "1.0"}
            sent = {"Content-Type": "application/json", **{f"ce-{name}": value for name, value in attributes.items()}}
            self.send_response(_asked(port, body, sent))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def _asked(port: int, body: bytes, headers: dict[str, str]) -> int:
    """The receiver's status; 503 if it is not there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    try:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 503
    finally:
        connection.close()
