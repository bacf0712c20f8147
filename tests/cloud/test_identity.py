"""Who calls is told by the credentials, never by the caller."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from remediate.cloud.caller import caller_address
from remediate.errors import BadInput, TransientFault


@pytest.fixture
def identity_server() -> Iterator[tuple[str, dict[str, Any]]]:
    """Google's userinfo endpoint, on loopback; the dictionary is what it answers."""
    userinfo: dict[str, Any] = {"email": "ana@example.com"}

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "Bearer token"
            self._answer(userinfo)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", userinfo
    server.shutdown()
    server.server_close()


def _credentials(folder: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]) -> None:
    (folder / "credentials.json").write_text(json.dumps(content))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "credentials.json"))


USER = {
    "type": "authorized_user",
    "client_id": "c",
    "client_secret": "s",
    "refresh_token": "r",
    "quota_project_id": "p",
    "token": "token",
    "expiry": "2099-01-01T00:00:00Z",
}


def test_a_service_account_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    email = "sweeper@ops.iam.gserviceaccount.com"
    content = {"type": "service_account", "client_email": email, "private_key": pem, "token_uri": "http://127.0.0.1:9/"}
    _credentials(tmp_path, monkeypatch, content)
    assert caller_address() == email


def test_a_user_is_asked_for_by_their_own_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity_server: tuple[str, dict[str, Any]]
) -> None:
    url, userinfo = identity_server
    _credentials(tmp_path, monkeypatch, USER)
    assert caller_address(f"{url}/userinfo") == "ana@example.com"
    del userinfo["email"]
    with pytest.raises(BadInput, match="have no email address"):
        caller_address(f"{url}/userinfo")


def test_who_cannot_be_told_is_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _credentials(tmp_path, monkeypatch, USER)
    with pytest.raises(TransientFault):
        caller_address("http://127.0.0.1:9/userinfo")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(BadInput, match="no application default credentials"):
        caller_address()
