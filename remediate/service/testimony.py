"""Reads the entries of a record back from Cloud Logging: does the log confirm the denial, and who deployed?

One look-up serves one approval, or a whole batch of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from remediate.cloud.interface import EntryKey, Logs
from remediate.decisions.prediction import predict_denials
from remediate.entries.denial import Denial, Deploy, EntryId, IncompleteDenial, Reader, understand
from remediate.entries.joining import call_of, join_call
from remediate.entries.log_entry import LogEntry, read_entry
from remediate.errors import RemediateError, TransientFault, Unreadable
from remediate.iam.member import Member, parse_member
from remediate.records.lifecycle import displaces
from remediate.records.remediation import Remediation
from remediate.records.results import Verdict
from remediate.records.witnesses import NamedBy, Proof, is_full, named_in, overflows
from remediate.service.evidence import LAG, EvidenceCollector, entry_key, is_moment

_WITNESSES = 5  # entries that are read to find out whether the log names any deployer


class Testimony:
    """The entries of the log under some keys, each read once. `logs` is None if there is no Cloud Logging."""

    def __init__(self, logs: Logs | None, collector: EvidenceCollector, clock: Callable[[], datetime]) -> None:
        self._logs = logs
        self._collector = collector
        self._now = clock
        self._answers: dict[EntryKey, list[bytes] | RemediateError] = {}
        self._asked_at: dict[EntryKey, datetime] = {}
        self._verdicts: dict[Remediation, Verdict] = {}

    # Asking

    def ask(self, records: Iterable[Remediation], *people: str) -> None:
        """Read back all entries that approvals of these records by these people need, in one look-up. Raises nothing:
        `verdict` raises a fault for the records that it concerns."""
        keys = dict.fromkeys(key for record in records for key in _keys(record, people))
        unread = TransientFault("not read yet")
        missing = [key for key in keys if isinstance(self._answers.get(key, unread), TransientFault)]
        if missing:
            self._look_up(missing)

    def _look_up(self, keys: Sequence[EntryKey]) -> None:
        if self._logs is not None:
            self._asked_at |= dict.fromkeys(keys, self._now())
            self._answers |= self._logs.entries(keys)

    def _read(self, entry: EntryId) -> list[LogEntry] | None:
        """The entries of the log with this key; None if the service may not read the log. Raises TransientFault."""
        key = entry_key(entry)
        if self._logs is None:
            return None
        if key is None:  # every entry in the log has a complete key
            return []
        found = self._answers.get(key, TransientFault("the entry was not read back"))
        if isinstance(found, TransientFault):
            raise TransientFault(f"Cloud Logging did not answer: {found}", advice=_AGAIN) from found
        if isinstance(found, RemediateError):
            return None
        return [each for raw in found if (each := _parsed(raw)) and _is(each, key)]

    # Judging

    def verdict(self, record: Remediation, *people: str) -> Verdict:
        """Whether the log has the denial of the record. Raises TransientFault if that is not known yet.

        The newest entry that the log confirms counts; entries that it does not have are ignored and noted.
        """
        if self._logs is not None:
            self.ask([record], *people)
        if record not in self._verdicts:
            self._verdicts[record] = self._judged(record)
        return self._verdicts[record]

    def _judged(self, record: Remediation) -> Verdict:
        known = bool(record.names.deployers) or Reader.DEPLOYER in record.tally.readers
        if self._logs is None:
            return Verdict(verified=True, deployer_known=known)
        notes: list[str] = []
        unanswered = not record.tally.entries
        young = False
        for entry in reversed(record.tally.entries):
            found = self._read(entry)
            if found is None:
                unanswered = True
                continue
            for denial, whole in filter(None, (self._understood(record, entry, each) for each in found)):
                who = tuple(each for each in (*whole.behind, whole.deployer) if each)
                known = self._deployer_known(record, denial)
                return Verdict(True, denial, who, known, tuple(notes), predicted=denial is not whole)
            young = young or (not found and self._is_young(entry))
            notes.append(f"entry {_name(entry)} {'says something else' if found else 'is not there'} in the log")
        if unanswered:
            return Verdict(None, deployer_known=known, notes=(_UNASKED, *notes))
        if young:
            raise TransientFault("Cloud Logging does not have the entry yet", advice=_AGAIN)
        return Verdict(False, deployer_known=known, notes=tuple(notes))

    def unanswered(self, record: Remediation) -> bool:
        """Whether the log gives no answer about the record's denial: no permission, or a temporary fault."""
        try:
            return self.verdict(record).verified is None
        except TransientFault:
            return True

    def _understood(self, record: Remediation, entry: EntryId, found: LogEntry) -> tuple[Denial, Denial] | None:
        """The denial of this record in an entry that was read back, and the whole denial in that entry."""
        subject = understand(found)
        if not isinstance(subject, Denial):
            return None
        placed = self._collector.resolve_projects(subject)
        if not isinstance(placed, Denial):
            return None
        whole = self._joined(record, entry, placed)
        for each in (whole, *predict_denials(whole)):
            if not isinstance(each, IncompleteDenial) and each.grant.id == record.id:
                return (each, whole) if _tells_of(record, each) else None
        return None

    def _joined(self, record: Remediation, entry: EntryId, denial: Denial) -> Denial:
        """The denial with its deployer from the calls that named one when it was counted.

        If no call named one, the log is asked for the call of the operation, which also contains permissions.
        """
        calls = dict.fromkeys(each.call for each in record.names.named_by if each.entry == entry and each.call)
        if not calls:
            found = self._collector.resolve(denial)
            return found if isinstance(found, Denial) else denial
        read = [each for call in calls if call for each in self._read(call) or ()]
        return join_call(denial, [call for each in read if (call := call_of(each))])

    def _deployer_known(self, record: Remediation, denial: Denial) -> bool:
        """Whether the log itself names a deployer for this record: the deployer in a forged entry does not count."""
        if denial.deployer or denial.reader is Reader.DEPLOYER:
            return True
        with suppress(TransientFault):
            return any(self._confirms(each) for each in record.names.named_by[-_WITNESSES:])
        return False

    def cleared(self, record: Remediation, person: Member) -> bool:
        """Whether the log has none of the entries that name this person as deployer. Raises TransientFault."""
        if self._logs is None or record.names.crowded:
            return False
        self.ask([record], person.id)
        spelled = {each for each in record.names.deployers if Member(each).key == person.key}
        own = naming(record, person.id)
        if not spelled <= {each.member for each in own}:  # an older version recorded the name without an entry
            return False
        return all(self._confirms(each) is False for each in own)

    def _confirms(self, by: NamedBy) -> bool | None:
        """Whether the log has this entry with this name; None if unknown. Raises TransientFault."""
        if by.proven:  # the log had it; entries that are deleted after their retention stay proven
            return True
        found = self._read(by.entry) if by.entry else None
        if found is None:
            return None
        if not found:
            if by.entry and self._is_young(by.entry):
                raise TransientFault("Cloud Logging does not have the entry yet", advice=_AGAIN)
            return False
        if _name_anybody(found, by.member):
            return True
        if by.call is None:  # a call may have named them, but the record does not say which one
            return (
                None if any(isinstance(each, Denial) and each.operation for each in map(understand, found)) else False
            )
        calls = self._read(by.call)
        return None if calls is None else _name_anybody(calls, by.member)

    def proof(self, record: Remediation | None, denial: Denial, *, from_log: bool) -> Proof:
        """What the log says of a denial's entry whose names are about to be recorded. Raises TransientFault.

        Asks the log only if the record has reached a limit, so that the names, entries, images or deploys of this
        denial displace others that may be the only real ones.
        """
        if from_log:
            return Proof.PROVEN
        if record is None or not (overflows(record.names, denial) or _counting_displaces(record, denial)):
            return Proof.LATER
        key = entry_key(denial.entry)
        if key is not None and key not in self._answers:
            self._look_up([key])
        found = self._read(denial.entry)
        if found is None:
            return Proof.UNANSWERED
        if not found and self._is_young(denial.entry):
            raise TransientFault("Cloud Logging does not have the entry yet; the event is redelivered")
        told = [self._collector.resolve(each) for each in map(understand, found) if isinstance(each, Denial)]
        names = [(each.repository, each.member) for each in told if isinstance(each, Denial)]
        same = (denial.repository, denial.member) in names
        return Proof.PROVEN if same else Proof.DISPROVEN

    def _is_young(self, entry: EntryId) -> bool:
        """Whether the log may not have had the entry yet when it was asked."""
        key = entry_key(entry)
        return (
            key is not None and abs(self._asked_at.get(key, self._now()) - datetime.fromisoformat(key.timestamp)) < LAG
        )


_AGAIN = "Nothing was changed; try again in a moment."
_UNASKED = "Cloud Logging could not be asked whether it has the entry"


def _counting_displaces(record: Remediation, denial: Denial) -> bool:
    """Whether counting this denial displaces an entry, an image or a deploy. A predicted grant's record keeps none."""
    tally = record.tally
    return record.id == denial.grant.id and (is_full(tally.entries, tally.proven) or displaces(tally, denial))


def _keys(record: Remediation, people: Sequence[str]) -> list[EntryKey]:
    """The keys to read back: the denials' entries with their calls, and the entries that name these people."""
    own = [each for each in record.names.named_by if each.entry in record.tally.entries]
    persons = [*people]
    persons += [each.actor for each in record.lifecycle.approvals]
    persons += [record.lifecycle.approver or ""]
    theirs = [each for person in dict.fromkeys(persons) for each in naming(record, person)]
    by = (*own, *theirs, *record.names.named_by[-_WITNESSES:])
    entries = (*record.tally.entries, *(entry for each in by for entry in (each.entry, each.call) if entry))
    return [key for key in map(entry_key, dict.fromkeys(entries)) if key]


def naming(record: Remediation, person: str) -> list[NamedBy]:
    """The entries that name this person, an address or a member, in any spelling."""
    found = parse_member(person)
    return [
        each for each in record.names.named_by if isinstance(found, Member) and Member(each.member).key == found.key
    ]


def _parsed(raw: bytes) -> LogEntry | None:
    with suppress(Unreadable):
        return read_entry(raw)
    return None


def _is(found: LogEntry, key: EntryKey) -> bool:
    """Whether an entry has this key. The trailing zeros of the timestamps may differ."""
    if (found.log_name, found.insert_id) != (key.log_name, key.insert_id) or not is_moment(found.timestamp or ""):
        return False
    return datetime.fromisoformat(found.timestamp or "") == datetime.fromisoformat(key.timestamp)


def _name(entry: EntryId) -> str:
    return repr((entry.insert_id or "")[:40])


def _name_anybody(entries: Iterable[LogEntry], member: str) -> bool:
    """Whether one of these entries names the member, or a member with the same address."""
    return any(each.key == Member(member).key for entry in entries for each in named_in(entry))


def _tells_of(record: Remediation, denial: Denial) -> bool:
    """Whether the deploy and the image of a denial from the log agree with the record."""
    shown = denial.image is None or denial.image in record.tally.images
    return shown and any(_agree(each, denial.deploy) for each in record.tally.deploys)


def _agree(shown: Deploy, found: Deploy) -> bool:
    """Whether two deploys agree in all fields that both have."""
    pairs = zip(msgspec.structs.astuple(shown), msgspec.structs.astuple(found), strict=True)
    return all(one is None or other is None or one == other for one, other in pairs)
