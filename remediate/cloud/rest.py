"""Reads JSON by plain REST, where Google has no REST client or only a large one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from remediate.cloud.client import translate_errors, with_retries

if TYPE_CHECKING:
    import requests

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def get(url: str, timeout: float, what: str) -> bytes:
    """The body of the answer. Raises TransientFault (BehindPerimeter too) or TerminalFault; all begin with `what`."""
    return _asked("GET", url, None, timeout, what)


def get_public(url: str, timeout: float, what: str) -> bytes:
    """As `get`, for public data: sends no credentials."""
    return _asked("GET", url, None, timeout, what, anonymous=True)


def post(url: str, body: dict[str, object], timeout: float, what: str) -> bytes:
    """The body of the answer to a POST. Retries, so a repeated request must be harmless. Raises as `get` does."""
    return _asked("POST", url, body, timeout, what)


def _asked(
    method: str, url: str, body: dict[str, object] | None, timeout: float, what: str, *, anonymous: bool = False
) -> bytes:
    from google.api_core.exceptions import from_http_response

    data = None if body is None else msgspec.json.encode(body)
    headers = {"Content-Type": "application/json"} if data else {}

    def call() -> bytes:
        session = _session(anonymous=anonymous or url.startswith("http://"))
        answer = session.request(method, url, data=data, headers=headers, timeout=timeout)
        if answer.status_code != 200:
            raise from_http_response(answer)  # type: ignore[no-untyped-call]
        return bytes(answer.content)

    with translate_errors(what):
        return with_retries(call, timeout)


@cache
def _session(*, anonymous: bool) -> requests.Session:
    """A session with application default credentials, or without any, for example where no TLS protects them."""
    import google.auth
    import requests
    from google.auth.transport.requests import AuthorizedSession

    if anonymous:
        return requests.Session()
    credentials, _ = google.auth.default(scopes=[_SCOPE])
    session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return session
