"""Shared context of all pages, and the three kinds of answer: a page, a redirect, an attachment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from remediate.decisions.policy import Mode
from remediate.errors import RemediateError
from remediate.ledger.interface import Cursor, Ledger
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.service.remediator import Remediator
from remediate.service.testimony import Testimony
from remediate.times import parse_time

LONGEST = 500  # characters of a form field
_LONGEST_ID = 40  # characters of an id in a mark
_MOST_STEPS = 1 << 31  # of one trail


@dataclass(frozen=True)
class PageContext:
    """The remediator, its ledger, the clock and the limits. `configured` is the mode that the environment sets."""

    remediator: Remediator
    ledger: Ledger
    now: Callable[[], datetime]
    configured: Mode | None
    limits: Limits

    def deadline(self, record: Remediation) -> str:
        """When a proposal expires, RFC 3339; empty for any other record."""
        if record.state is not State.PROPOSED:
            return ""
        return (parse_time(record.lifecycle.updated) + self.limits.lapse_after).isoformat()

    def why_barred(
        self, record: Remediation | None, who: str, *, about_own: bool = False, asked: Testimony | None = None
    ) -> str:
        """Why this person cannot decide about the record (None: switch the mode); empty when they can.

        `asked`: what the log says about the deployers that the records name.
        """
        try:
            self.remediator.may_review(record, who, about_own=about_own, asked=asked)
        except RemediateError as error:
            return str(error)
        return ""


class HtmlPage(msgspec.Struct, frozen=True):
    """A page: a template and its values."""

    template: str
    values: Mapping[str, object]
    code: int = 200


class Redirect(msgspec.Struct, frozen=True):
    """A redirect after each successful POST, so that a reload repeats nothing."""

    path: str


class Attachment(msgspec.Struct, frozen=True):
    """A file to download."""

    name: str
    body: str
    content_type: str


Answer = HtmlPage | Redirect | Attachment


def typed_text(values: Mapping[str, str], name: str) -> str:
    """The text of a form field, stripped and cut to LONGEST characters."""
    return values.get(name, "").strip()[:LONGEST]


def parse_mark(text: str) -> Cursor | None:
    """Parse a mark from an address; None when it is not a valid mark."""
    at, _, rest = text.partition("~")
    ident, _, seq = rest.partition("~")
    try:
        datetime.fromisoformat(at)
        number = int(seq or 0)
    except ValueError:
        return None
    ours = ident.isascii() and "/" not in ident and 0 < len(ident) <= _LONGEST_ID and 0 <= number < _MOST_STEPS
    return Cursor(at, ident, number) if ours else None


def format_mark(mark: Cursor) -> str:
    """Format a mark for an address."""
    return f"{mark.at}~{mark.id}~{mark.seq}"
