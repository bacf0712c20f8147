"""Asks Google Cloud once a call, without retries, and keeps how it answered: status, code and reason code.

Changes nothing: every call reads, although Google takes some of them by POST.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import msgspec

from remediate.decoding import decode_json
from remediate.doctor.first_apply.words import Answer, ErrorReason, Status, known

if TYPE_CHECKING:
    import requests
    from google.auth.credentials import Credentials
    from google.auth.exceptions import GoogleAuthError

_T = TypeVar("_T")
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_HEADER = "X-Goog-User-Project"


class Quota(StrEnum):
    """On which project a call is counted."""

    AS_SET = "as_set"
    """As the credentials and the environment say."""
    NONE = "none"
    OURS = "ours"
    """The installation's project."""


class CredentialKind(StrEnum):
    """What the application default credentials are."""

    USER = "user"
    SERVICE_ACCOUNT = "service_account"
    IMPERSONATED = "impersonated"
    EXTERNAL = "external"
    NONE = "none"
    NOT_NEEDED = "not_needed"
    """The endpoints are on this machine."""
    OTHER = "OTHER"


class _Detail(msgspec.Struct, frozen=True):
    reason: str = ""


class _Error(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""
    details: tuple[_Detail, ...] = ()


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class Reply(msgspec.Struct, frozen=True):
    """An answer with its body. `text`: Google's words, which name things: only a report with names shows them."""

    answer: Answer
    body: bytes = b""
    text: str = ""

    def read(self, kind: type[_T]) -> _T | None:
        """The body in this shape; None where there is none."""
        if not self.answer.is_ok:
            return None
        try:
            return decode_json(self.body, kind)
        except msgspec.MsgspecError:
            return None


class GoogleCalls:
    """Calls for one project. `endpoints` override Google's addresses; `local`: only these addresses are called."""

    def __init__(self, project: str, endpoints: Mapping[str, str], timeout: float, *, local: bool) -> None:
        self._project = project
        self._endpoints = endpoints
        self._timeout = timeout
        self._local = local
        self._silent: dict[str, Reply] = {}

    def get(self, service: str, path: str, quota: Quota = Quota.AS_SET) -> Reply:
        """The answer to a GET."""
        return self._ask("GET", service, path, None, quota)

    def post(self, service: str, path: str, body: object, quota: Quota = Quota.AS_SET) -> Reply:
        """The answer to a POST that reads."""
        return self._ask("POST", service, path, body, quota)

    def _ask(self, method: str, service: str, path: str, body: object, quota: Quota) -> Reply:
        import requests
        from google.auth.exceptions import GoogleAuthError

        if service in self._silent:  # do not wait for each call to an API that does not answer
            return self._silent[service]
        address = self._endpoints.get(service)
        if address is None and self._local:
            return Reply(Answer(0, Status.NOT_ASKED))
        url = (address or f"https://{service.lower()}.googleapis.com").rstrip("/") + path
        plain = url.startswith("http://")  # no TLS would protect a token
        headers = {_HEADER: self._project} if plain and quota is Quota.OURS else {}
        try:
            session = requests.Session() if plain else _session(self._project, quota)
            data = None if body is None else msgspec.json.encode(body)
            headers |= {"Content-Type": "application/json"} if data else {}
            found = session.request(method, url, data=data, headers=headers, timeout=self._timeout)
        except GoogleAuthError as error:
            return Reply(Answer(0, Status.NO_CREDENTIALS), text=str(error))
        except OSError as error:
            return self._silent.setdefault(service, Reply(Answer(0, Status.NO_ANSWER), text=str(error)))
        if found.status_code == 200:
            return Reply(Answer(200, Status.OK), found.content)
        return refusal(found.status_code, found.content)


def refusal(http: int, body: bytes) -> Reply:
    """Google's refusal as a reply: of its JSON the code and the reason, if they are known ones."""
    try:
        error = decode_json(body, _Refusal).error
    except msgspec.MsgspecError:
        error = _Error()
    reasons = [known(ErrorReason, each.reason) for each in error.details if each.reason]
    text = error.message or body[:2000].decode(errors="replace")
    return Reply(Answer(http, known(Status, error.status), reasons[0] if reasons else None), text=text)


def credential_kind() -> tuple[CredentialKind, str | None]:
    """What the application default credentials are, and the quota project that they name."""
    from google.auth.exceptions import GoogleAuthError

    found = _credentials()
    if isinstance(found, GoogleAuthError):
        return CredentialKind.NONE, None
    kinds = {
        "google.oauth2.credentials": CredentialKind.USER,
        "google.oauth2.service_account": CredentialKind.SERVICE_ACCOUNT,
        "google.auth.compute_engine": CredentialKind.SERVICE_ACCOUNT,
        "google.auth.impersonated_credentials": CredentialKind.IMPERSONATED,
        "google.auth.identity_pool": CredentialKind.EXTERNAL,
        "google.auth.external_account": CredentialKind.EXTERNAL,
    }
    module = type(found).__module__
    kind = next((each for name, each in kinds.items() if module.startswith(name)), CredentialKind.OTHER)
    return kind, getattr(found, "quota_project_id", None)


@cache
def _credentials() -> Credentials | GoogleAuthError:
    """The application default credentials, or why there are none: the search for them may take seconds."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        found: Credentials = google.auth.default(scopes=_SCOPES)[0]
    except GoogleAuthError as error:
        return error
    return found


@cache
def _session(project: str, quota: Quota) -> requests.Session:
    from google.auth.credentials import CredentialsWithQuotaProject
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    found = _credentials()
    if isinstance(found, GoogleAuthError):
        raise found
    if quota is not Quota.AS_SET and isinstance(found, CredentialsWithQuotaProject):
        found = found.with_quota_project(project if quota is Quota.OURS else None)  # type: ignore[no-untyped-call]
    session: requests.Session = AuthorizedSession(found)  # type: ignore[no-untyped-call]
    return session
