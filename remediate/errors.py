"""The errors that people see: one base class, with advice."""

from __future__ import annotations


class RemediateError(Exception):
    """An error: what went wrong (`str`), and what the reader can do about it (`advice`)."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class BadInput(RemediateError):
    """An input is not accepted. Names the input, its value and what is accepted. CLI exit 2."""


class Conflict(RemediateError):
    """Another process changed the record since it was read. Read it again and repeat the step."""


class Refused(RemediateError):
    """The request is not allowed, for example in this state or by this approver. CLI exit 1."""


class Stale(Refused):
    """The record changed since the approver saw it."""


class TransientFault(RemediateError):
    """Google Cloud or the ledger does not answer now; the same call may succeed later."""


class BehindPerimeter(TransientFault):
    """VPC Service Controls stopped the call. An administrator can let it through, and then the same call succeeds."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message, advice=advice or _LET_IN)


_LET_IN = "An administrator of VPC Service Controls must let this identity in (docs/hardened-organizations.md)."


class TerminalFault(RemediateError):
    """Google Cloud refused permanently (400, 403, 404): a retry gets the same answer."""


class Forbidden(TerminalFault):
    """Google Cloud answered 403: the service does not have the permission."""


class Missing(TerminalFault):
    """Google Cloud answered 404: the resource does not exist."""


class PartlyUnreadable(TerminalFault):
    """Google Cloud refused a part, which is named; the rest was read."""


class LedgerFault(RemediateError):
    """The ledger is damaged, or refuses a request. A person must repair it; events are redelivered."""


class Unreadable(RemediateError):
    """The bytes are not a log entry in a known envelope. Says what was expected where, and never the content."""
