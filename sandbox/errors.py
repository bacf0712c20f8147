"""Errors with the JSON body and status code of Google's REST APIs."""

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
"""The canonical status of each HTTP code (google/rpc/code.proto); of two for one code, the usual one."""


class ApiError(Exception):
    """A refusal with a canonical status (`NOT_FOUND`). `body` is Google's JSON; `code` overrides the HTTP code."""

    def __init__(
        self,
        status: str,
        message: str,
        reason: str | None = None,
        *,
        code: int | None = None,
        details: tuple[dict[str, object], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code or _HTTP[status]
        error: dict[str, object] = {"code": self.code, "message": message, "status": status}
        if reason:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
            error["details"] = [*details, info]
        self.body = {"error": error}


class SeedError(Exception):
    """The organization file is not valid. The message names the place in the file and the accepted values."""


def refuse(status: str, message: str, reason: str | None = None) -> NoReturn:
    """Raise ApiError with this status, message and reason."""
    raise ApiError(status, message, reason)


def fail(code: int, message: str) -> NoReturn:
    """Raise ApiError for an HTTP status code, 400 to 599. A code without a canonical status is UNKNOWN."""
    raise ApiError(_STATUS.get(code, "UNKNOWN"), message, code=code)


def stop_at_perimeter() -> NoReturn:
    """Raise the ApiError of VPC Service Controls for a call from outside a perimeter ("Troubleshooting" there)."""
    number = "Xq1-sandbox"
    text = f"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: {number}"
    violation = {"type": "VPC_SERVICE_CONTROLS", "description": number}
    failure: dict[str, object] = {
        "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
        "violations": [violation],
    }
    raise ApiError("PERMISSION_DENIED", text, "SECURITY_POLICY_VIOLATED", details=(failure,))
