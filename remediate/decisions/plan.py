"""Makes a plan from an export of log entries: what enforce mode decides about each entry, and all grants."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import msgspec

from remediate.decisions.organization import HomeNames, home_offline
from remediate.decisions.policy import BUILT_IN, Decision, Outcome, Rules, assumed_evidence, decide
from remediate.decisions.prediction import predict_denials
from remediate.decisions.variables import same_project
from remediate.entries.denial import Denial, Deploy, EntryId, NotADenial, Reader
from remediate.entries.joining import Call
from remediate.entries.pairing import Pairing
from remediate.iam.grant import ROLE
from remediate.reasons import Reason

_STRICTEST = (Outcome.REFUSE, Outcome.ASK, Outcome.GRANT)
_MOST_WAITING = 50_000  # denials that wait for their call; beyond that, the oldest one is decided without its call
_MOST_PROJECTS = 100_000  # projects whose number is kept; an organization has far fewer
_ORDER = {outcome: place for place, outcome in enumerate((Outcome.GRANT, Outcome.ASK, Outcome.REFUSE))}


class PlannedEntry(msgspec.Struct, frozen=True):
    """The decision about one log entry; None means unknown."""

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
    """One repository and member, with all their denials. `predicted`: predicted from another denial only."""

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
    """Counts: entries read, denials among them, ignored entries by reason, and unreadable parts."""

    entries: int
    denials: int
    ignored: dict[str, int]
    unreadable: int


class Report(msgspec.Struct, frozen=True):
    """The plan, as `--format json` prints it."""

    entries: list[PlannedEntry]
    grants: list[PlannedGrant]
    summary: Summary


class Plan:
    """Collects entries in order and gives the Report. Pure: no network, no clock.

    If `keep` is given, it gets each planned entry and the Report has none, so that an export of any length fits into
    memory. Memory then grows with the grants, sixteen bytes for each denial, and the denials that wait for their call.
    `keep` gets None for a waiting denial; `late` has its entry after `report`.
    """

    def __init__(
        self,
        rules: Rules = BUILT_IN,
        home_names: HomeNames = HomeNames(),  # noqa: B008  (frozen)
        keep: Callable[[PlannedEntry | None], None] | None = None,
    ) -> None:
        self._rules = rules
        self._inside = home_offline(home_names)
        self._entries: list[PlannedEntry | None] = []
        self._keep = keep or self._entries.append
        self._added = 0
        self._waiting: dict[int, Denial] = {}
        self._pairing = Pairing()
        self.late: dict[int, PlannedEntry] = {}
        """After `report`: the planned entries that `keep` got None for, by place in the input (from 0)."""
        self._grants: dict[tuple[str, str], PlannedGrant] = {}
        self._crossing: dict[Denial, tuple[Denial, Denial]] = {}
        self._numbers: dict[str, str | None] = {}
        self._seen: set[bytes] = set()
        self._ignored: Counter[str] = Counter()
        self._denials = 0
        self.unreadable = 0

    def add(self, subject: Denial | NotADenial, call: Call | None = None) -> None:
        """Decide about one entry; `call` is the call in the entry, if it has one.

        `report` decides a denial of an operation, because its call may come later in the export.
        """
        if call is not None:
            self._pairing.note(call)
        waits = isinstance(subject, Denial) and subject.operation is not None
        if isinstance(subject, Denial) and subject.operation:
            self._pairing.want(subject.operation)
            self._waiting[self._added] = subject
            if len(self._waiting) > _MOST_WAITING:
                self._end_waiting(next(iter(self._waiting)))
        self._keep(None if waits else self._decide(subject))
        self._added += 1

    def _end_waiting(self, place: int) -> None:
        self.late[place] = self._decide(self._pairing.join(self._waiting.pop(place)))

    def _decide(self, subject: Denial | NotADenial) -> PlannedEntry:
        if subject.deploy and subject.deploy.project and subject.deploy.number:
            self._note_number(subject.deploy.project, subject.deploy.number)
        decision = decide(subject, assumed_evidence(subject, self._inside), self._rules)
        if isinstance(subject, Denial):
            identity = _identity(subject) if subject.entry.key else None
            if identity in self._seen:
                decision = Decision(Outcome.IGNORE, None, (Reason.DUPLICATE,))
            else:
                if identity:
                    self._seen.add(identity)
                self._count(subject, decision)
        if decision.outcome is Outcome.IGNORE:
            self._ignored[decision.reasons[0]] += 1
        return _planned(subject, decision)

    def report(self) -> Report:
        """The plan of all added entries."""
        for place in list(self._waiting):
            self._end_waiting(place)
        grants = dict(self._grants)
        for seen in self._crossing.values():
            for denial in seen:
                self._predict(denial, grants)
        ordered = sorted(grants.values(), key=lambda each: (_ORDER[each.outcome], each.repository, each.member))
        ignored = dict(sorted(self._ignored.items()))
        entries = [entry or self.late[place] for place, entry in enumerate(self._entries)]
        return Report(entries, ordered, Summary(self._added, self._denials, ignored, self.unreadable))

    def _count(self, denial: Denial, decision: Decision) -> None:
        self._denials += 1
        if denial.member is None or denial.repository is None:
            return
        key = (str(denial.repository), denial.member.key)
        readers = [denial.reader] if denial.reader else []
        _merge(self._grants, key, denial, str(denial.member), decision, readers, denials=1)
        if denial.others or (denial.reader is Reader.DEPLOYER and same_project(denial) is False):
            self._note_crossing(denial)

    def _note_crossing(self, denial: Denial) -> None:
        """Keep the first and the last of the denials that differ only in their entry: a prediction needs no others."""
        alike = msgspec.structs.replace(denial, entry=EntryId(), call=None)
        first, last = self._crossing.get(alike, (denial, denial))
        if (at := _instant(denial.entry.timestamp)) is not None:
            if (begins := _instant(first.entry.timestamp)) is None or at < begins:
                first = denial
            if (ends := _instant(last.entry.timestamp)) is None or at > ends:
                last = denial
        self._crossing[alike] = first, last

    def _note_number(self, project: str, number: str) -> None:
        """Keep the number of a project; None if entries name several numbers for it.

        Projects beyond the limit have no number, so nothing is predicted for them.
        """
        if project in self._numbers:
            if self._numbers[project] != number:
                self._numbers[project] = None
        elif len(self._numbers) < _MOST_PROJECTS:
            self._numbers[project] = number

    def _predict(self, denial: Denial, grants: dict[tuple[str, str], PlannedGrant]) -> None:
        """Add the next denials of the deploy: the service agent's, and those for its images in other repositories.

        The number of the agent's project may be in another entry of the export.
        """
        number = self._numbers.get(denial.deploy.project or "", denial.deploy.number)
        deploy = msgspec.structs.replace(denial.deploy, number=number)
        for each in predict_denials(msgspec.structs.replace(denial, deploy=deploy)):
            if each.member is None or each.reader is None:
                continue
            key = (str(each.repository), each.member.key)
            foreseen = decide(each, assumed_evidence(each, self._inside), self._rules, predicted=True)
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
    timestamp = denial.entry.timestamp
    if (at := _instant(timestamp)) is not None:
        if (first := _instant(grant.first_seen)) is None or at < first:
            grant.first_seen = timestamp
        if (last := _instant(grant.last_seen)) is None or at > last:
            grant.last_seen = timestamp


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


def _identity(denial: Denial) -> bytes:
    """Sixteen bytes that identify one denial of one entry: exports are long, and overlap."""
    named = (denial.entry.key, denial.reader, _text(denial.member), _text(denial.repository))
    return hashlib.blake2b(msgspec.json.encode(named), digest_size=16).digest()


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


def _instant(timestamp: str | None) -> tuple[datetime, str] | None:
    """A timestamp that compares to the nanosecond: a datetime has only microseconds."""
    try:
        at = datetime.fromisoformat(timestamp or "")
    except ValueError:
        return None
    fraction = (timestamp or "").partition(".")[2].rstrip("Z").partition("+")[0].partition("-")[0]
    return (at, fraction[6:].ljust(3, "0")) if at.tzinfo else None
