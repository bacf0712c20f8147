"""Every error this project raises at a person: one base, each with what to do about it."""

from __future__ import annotations


class RemediateError(Exception):
    """What went wrong (`str`), and what the reader can do about it (`advice`)."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class BadInput(RemediateError):
    """Something the caller gave is not accepted: names it, its value and what is accepted. CLI exit 2."""


class Conflict(RemediateError):
    """Somebody else changed the record since it was read. Read again and redo."""


class Refused(RemediateError):
    """The request is understood and not allowed (wrong state, wrong approver). CLI exit 1."""


class Stale(Refused):
    """The approver saw another content than the record has now."""


class TransientFault(RemediateError):
    """Google Cloud (or the ledger) could not answer now; the same call may succeed later."""


class TerminalFault(RemediateError):
    """Google Cloud answered, and will answer the same again: 400, 403, 404."""


class Missing(TerminalFault):
    """Google Cloud's final answer is a 404: what was asked about does not exist (any more)."""


class LedgerFault(RemediateError):
    """The ledger is damaged, or refuses what it is asked. A person has to mend it; what came comes again."""


class Unreadable(RemediateError):
    """These bytes are no log entry, nor an envelope of one. Says where and what was expected, never the content."""
