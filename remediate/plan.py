"""Turns a whole export of log entries into a plan: what enforce mode would decide about each, and all grants of it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from remediate.denial import Denial, Deploy, NotADenial, Reader
from remediate.foresight import aheads
from remediate.policy import ASSUMED, BUILT_IN, ROLE, Decision, Outcome, Rules, decide, same_project
from remediate.reasons import Reason

_STRICTEST = (Outcome.REFUSE, Outcome.ASK, Outcome.GRANT)
_ORDER = {outcome: place for place, outcome in enumerate((Outcome.GRANT, Outcome.ASK, Outcome.REFUSE))}


class PlannedEntry(msgspec.Struct, frozen=True):
    """What would be done about one log entry; unknown is None."""

    insert_id: str | None
    log_name: str | None
    timestamp: str | None
    outcome: Outcome
    reasons: tuple[Reason, ...]
    rule: str | None
    reader: Reader | None
    member: str | None
    repository: str | None
    image: str | None
    deploy: Deploy | None


class PlannedGrant(msgspec.Struct):
    """One (repository, member), with every denial of it; `predicted` where only the second hop is foreseen."""

    repository: str
    member: str
    role: str
    outcome: Outcome
    rule: str | None
    reasons: list[Reason]
    readers: list[Reader]
    predicted: bool
    denials: int
    first_seen: str | None
    last_seen: str | None


class Summary(msgspec.Struct, frozen=True):
    """Counts: entries read, denials among them, the ignored by reason, and the pieces that could not be read."""

    entries: int
    denials: int
    ignored: dict[str, int]
    unreadable: int


class Report(msgspec.Struct, frozen=True):
    """The plan; this is also what `--format json` prints."""

    entries: list[PlannedEntry]
    grants: list[PlannedGrant]
    summary: Summary


class Plan:
    """Takes entries in order and gives the Report. Pure: no network, no clock."""

    def __init__(self, rules: Rules = BUILT_IN) -> None:
        self._rules = rules
        self._entries: list[PlannedEntry] = []
        self._grants: dict[tuple[str, str], PlannedGrant] = {}
        self._crossing: list[Denial] = []
        self._numbers: dict[str, set[str]] = {}
        self._seen: set[tuple[str | None, ...]] = set()
        self._ignored: Counter[str] = Counter()
        self._denials = 0
        self.unreadable = 0

    def add(self, subject: Denial | NotADenial) -> None:
        """Decide about one entry."""
        if subject.deploy and subject.deploy.project and subject.deploy.number:
            self._numbers.setdefault(subject.deploy.project, set()).add(subject.deploy.number)
        decision = decide(subject, rules=self._rules)
        if isinstance(subject, Denial):
            identity = (subject.entry.key, subject.reader, _text(subject.member), _text(subject.repository))
            if subject.entry.key and identity in self._seen:
                decision = Decision(Outcome.IGNORE, None, (Reason.DUPLICATE,))
            else:
                self._seen.add(identity)
                self._count(subject, decision)
        if decision.outcome is Outcome.IGNORE:
            self._ignored[decision.reasons[0]] += 1
        self._entries.append(_planned(subject, decision))

    def report(self) -> Report:
        """The plan of everything that was added."""
        grants = dict(self._grants)
        for denial in self._crossing:
            self._predict(denial, grants)
        ordered = sorted(grants.values(), key=lambda each: (_ORDER[each.outcome], each.repository, each.member))
        ignored = dict(sorted(self._ignored.items()))
        return Report(self._entries, ordered, Summary(len(self._entries), self._denials, ignored, self.unreadable))

    def _count(self, denial: Denial, decision: Decision) -> None:
        self._denials += 1
        if denial.member is None or denial.repository is None:
            return
        key = (str(denial.repository), denial.member.key)
        readers = [denial.reader] if denial.reader else []
        _merge(self._grants, key, denial, str(denial.member), decision, readers, denials=1)
        if denial.others or (denial.reader is Reader.DEPLOYER and same_project(denial) is False):
            self._crossing.append(denial)

    def _predict(self, denial: Denial, grants: dict[tuple[str, str], PlannedGrant]) -> None:
        """Add what the deploy is denied next: the service agent, and its images of other repositories.

        The number of the agent's project may stand in another entry of the export.
        """
        known = self._numbers.get(denial.deploy.project or "", set()) | {denial.deploy.number} - {None}
        number = next(iter(known)) if len(known) == 1 else None
        deploy = msgspec.structs.replace(denial.deploy, number=number)
        for each in aheads(msgspec.structs.replace(denial, deploy=deploy)):
            if each.member is None or each.reader is None:
                continue
            key = (str(each.repository), each.member.key)
            foreseen = decide(each, ASSUMED, self._rules, predicted=True)
            if foreseen.outcome is Outcome.ASK and (key not in grants or grants[key].predicted):
                _merge(grants, key, each, str(each.member), foreseen, [each.reader], denials=0)


def _merge(
    grants: dict[tuple[str, str], PlannedGrant],
    key: tuple[str, str],
    denial: Denial,
    member: str,
    decision: Decision,
    readers: list[Reader],
    *,
    denials: int,
) -> None:
    grant = grants.get(key)
    if grant is None:
        grant = grants[key] = PlannedGrant(
            str(denial.repository), member, ROLE, decision.outcome, decision.rule, [], [], denials == 0, 0, None, None
        )
    if _STRICTEST.index(decision.outcome) < _STRICTEST.index(grant.outcome):
        grant.outcome, grant.rule = decision.outcome, decision.rule
    grant.reasons = list(dict.fromkeys([*grant.reasons, *decision.reasons]))
    grant.readers = sorted({*grant.readers, *readers})
    grant.denials += denials
    moment = denial.entry.timestamp
    if (at := _instant(moment)) is not None:
        if (first := _instant(grant.first_seen)) is None or at < first:
            grant.first_seen = moment
        if (last := _instant(grant.last_seen)) is None or at > last:
            grant.last_seen = moment


def _planned(subject: Denial | NotADenial, decision: Decision) -> PlannedEntry:
    entry, denial = subject.entry, subject if isinstance(subject, Denial) else None
    return PlannedEntry(
        insert_id=entry.insert_id,
        log_name=entry.log_name,
        timestamp=entry.timestamp,
        outcome=decision.outcome,
        reasons=decision.reasons,
        rule=decision.rule,
        reader=denial.reader if denial else None,
        member=_text(denial.member) if denial else None,
        repository=_text(denial.repository) if denial else None,
        image=denial.image if denial else None,
        deploy=subject.deploy,
    )


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


def _instant(timestamp: str | None) -> tuple[datetime, str] | None:
    """A moment that can be compared to the nanosecond: Python's own stops at microseconds."""
    try:
        moment = datetime.fromisoformat(timestamp or "")
    except ValueError:
        return None
    fraction = (timestamp or "").partition(".")[2].rstrip("Z").partition("+")[0].partition("-")[0]
    return (moment, fraction[6:].ljust(3, "0")) if moment.tzinfo else None
