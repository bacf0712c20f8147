"""What an item came to, and what the items look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec

from remediate.doctor.first_apply.calls import GoogleCalls, Reply
from remediate.doctor.first_apply.items import Item, Verdict
from remediate.doctor.first_apply.words import Fact
from remediate.doctor.run import DoctorReport
from remediate.doctor.snapshot import Snapshot
from remediate.times import to_rfc3339


class Result(msgspec.Struct, frozen=True):
    """One item's verdict and facts. `texts` name things: only a report with names shows them."""

    item: Item
    verdict: Verdict
    facts: Mapping[str, Fact] = {}
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One installation, what the doctor found there, and the calls that the items may make."""

    report: DoctorReport
    snapshot: Snapshot
    calls: GoogleCalls
    environ: Mapping[str, str]
    now: datetime

    @property
    def organization(self) -> str | None:
        """`organizations/N`: the watched one, or the one above the project; None where it is not known."""
        places = (*self.snapshot.names.scopes, *self.snapshot.ancestors)
        return next((each for each in places if each.startswith("organizations/")), None)

    def since(self, **span: float) -> str:
        """The moment that long ago, as a filter of Cloud Logging takes it."""
        return to_rfc3339(self.now - timedelta(**span))

    def span(self, **span: float) -> str:
        """The interval up to now, as a query of Cloud Monitoring takes it."""
        start, end = quote(self.since(**span)), quote(to_rfc3339(self.now))
        return f"interval.startTime={start}&interval.endTime={end}"


def texts(*replies: Reply) -> tuple[str, ...]:
    """Google's words in these replies, each once."""
    return tuple(dict.fromkeys(each.text for each in replies if each.text))


def judge(good: bool, *, bad: bool = False) -> Verdict:
    """The verdict where one of two observations decides; without either it is not known."""
    return Verdict.AS_EXPECTED if good else Verdict.OTHERWISE if bad else Verdict.NOT_KNOWN
