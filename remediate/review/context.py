"""What every page has at hand, and the four things that a page answers with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from remediate.decisions.policy import Mode
from remediate.errors import RemediateError
from remediate.ledger.interface import Ledger, Mark
from remediate.records.remediation import Remediation, State
from remediate.records.results import Limits
from remediate.service.remediator import Remediator
from remediate.service.testimony import Testimony

LONGEST = 500  # characters of anything that somebody types
_LONGEST_ID = 40  # characters of an id in a mark
_MOST_STEPS = 1 << 31  # of one trail


@dataclass(frozen=True)
class PageContext:
    """The remediator, its ledger and the clock. `configured` is the environment's mode."""

    remediator: Remediator
    ledger: Ledger
    now: Callable[[], datetime]
    configured: Mode | None
    limits: Limits

    def deadline(self, record: Remediation) -> str:
        """When a proposal lapses, RFC 3339; empty for what does not."""
        if record.state is not State.PROPOSED:
            return ""
        return (datetime.fromisoformat(record.updated) + self.limits.lapse_after).isoformat()

    def why_barred(
        self, record: Remediation | None, who: str, *, about_own: bool = False, asked: Testimony | None = None
    ) -> str:
        """Why this person may not decide about the record (None: switch the mode); empty where they may.

        `asked` is what the log says of those who were named as deployers.
        """
        try:
            self.remediator.may_review(record, who, about_own=about_own, asked=asked)
        except RemediateError as error:
            return str(error)
        return ""


class HtmlPage(msgspec.Struct, frozen=True):
    """A page: its template and what stands in it."""

    template: str
    values: Mapping[str, object]
    code: int = 200


class Redirect(msgspec.Struct, frozen=True):
    """See another page: the answer to each POST that did something, so that a reload repeats nothing."""

    path: str


class Attachment(msgspec.Struct, frozen=True):
    """A file."""

    name: str
    body: str
    content_type: str


Answer = HtmlPage | Redirect | Attachment


def typed_text(values: Mapping[str, str], name: str) -> str:
    """What somebody typed, without space around it and no longer than anybody needs."""
    return values.get(name, "").strip()[:LONGEST]


def parse_mark(text: str) -> Mark | None:
    """The mark that an address bears; None where it bears none that is ours."""
    at, _, rest = text.partition("~")
    ident, _, seq = rest.partition("~")
    try:
        datetime.fromisoformat(at)
        number = int(seq or 0)
    except ValueError:
        return None
    ours = ident.isascii() and "/" not in ident and 0 < len(ident) <= _LONGEST_ID and 0 <= number < _MOST_STEPS
    return Mark(at, ident, number) if ours else None


def format_mark(mark: Mark) -> str:
    """A mark as an address bears it."""
    return f"{mark.at}~{mark.id}~{mark.seq}"
