"""Turns a refusal into the JSON error body and status code that Google's REST APIs answer with."""

from __future__ import annotations

from typing import NoReturn

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_STATUS = {code: status for status, code in _HTTP.items()} | {400: "INVALID_ARGUMENT", 412: "FAILED_PRECONDITION"}
"""The canonical status that goes with each code (google/rpc/code.proto); of two for one code, the usual one."""


class ApiError(Exception):
    """A refusal by its canonical status (`NOT_FOUND`); `body` is Google's JSON for it; `code`: another than usual."""

    def __init__(self, status: str, message: str, reason: str | None = None, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code or _HTTP[status]
        error: dict[str, object] = {"code": self.code, "message": message, "status": status}
        if reason:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
            error["details"] = [info]
        self.body = {"error": error}


class SeedError(Exception):
    """The organization file is not what it should be; names the place in the file and what is accepted there."""


def refuse(status: str, message: str, reason: str | None = None) -> NoReturn:
    """Raise the ApiError of these."""
    raise ApiError(status, message, reason)


def fail(code: int, message: str) -> NoReturn:
    """Raise the ApiError of an HTTP status code, 400 to 599; one that has no canonical status is UNKNOWN."""
    raise ApiError(_STATUS.get(code, "UNKNOWN"), message, code=code)
