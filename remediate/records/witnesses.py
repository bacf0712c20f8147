"""Turns denials into the list of log entries that name each deployer, so that a later approval can read them back.

The list is bounded and loses no deployer: it holds a limited number of unproven entries, and beyond the limit only
entries that the log confirms. A name without an entry comes from an older record, or from a time when the log was
unavailable: it always counts.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from remediate.entries.denial import Denial, EntryId, NotADenial, deployer_of, people_behind, understand
from remediate.entries.deploy import Body
from remediate.entries.log_entry import LogEntry
from remediate.iam.member import Member
from remediate.reasons import Reason

FEW = 5
"""The most entries for one name while none of them is proven."""
MOST_OPEN = 100
"""The most unproven entries in one record, for all names together."""
MOST_UNKEYED = 200
"""The most names without an entry; beyond it, the record counts every reviewer as named (`crowded`)."""
_KEPT = 5  # entries of denials: the first of the cycle, a proven one, and the newest


class NamedBy(msgspec.Struct, frozen=True):
    """A log entry that names a deployer, or the identity behind a deployer."""

    member: str
    entry: EntryId | None = None
    """The entry of the denial; None: no entry can be read back, so the name always counts."""
    call: EntryId | None = None
    """The entry of the call, if the call names the deployer and the entry of the denial does not."""
    proven: bool = False
    """Whether the log confirmed the denial's entry when it was counted."""


_NO_CALL = (Reason.OTHER_LOG, Reason.NOT_CLOUD_RUN, Reason.NOT_AUDIT_LOG, Reason.POLICY_CHANGE)


def named_in(entry: LogEntry) -> tuple[Member, ...]:
    """The deployer in a Cloud Run audit log entry and the identities behind it, denied or not; else empty."""
    audit, subject = entry.proto_payload, understand(entry)
    if audit is None or (isinstance(subject, NotADenial) and subject.reason in _NO_CALL):
        return ()
    body = Body.of(audit)
    deployer, _ = deployer_of(audit, body)
    return tuple(dict.fromkeys(each for each in (*people_behind(audit, body, deployer), deployer) if each))


class Proof(StrEnum):
    """What the log says of an entry when its names are recorded."""

    LATER = "later"
    """Not read back yet; an approval does that."""
    PROVEN = "proven"
    DISPROVEN = "disproven"
    """The log does not have the entry, or has a different one under its name."""
    UNANSWERED = "unanswered"
    """The service may not read the log."""


class DeployerNames(msgspec.Struct, frozen=True):
    """The deployers that a record names, the identities behind them, and the entries that name them."""

    deployers: tuple[str, ...] = ()
    """None of them may approve, except one whose naming entries Cloud Logging does not have."""
    named_by: tuple[NamedBy, ...] = ()
    """The entries that name them. A deployer without one comes from an older record, and may not approve."""
    crowded: bool = False
    """Whether entries name more than a record keeps and the log was unavailable: then nobody may approve."""


def people(denial: Denial) -> tuple[str, ...]:
    """The deployer and the identities behind it, each once, the deployer last."""
    behind = [each for each in denial.behind if each != denial.deployer]
    return tuple(dict.fromkeys(str(each) for each in (*behind, denial.deployer) if each))


def overflows(names: DeployerNames, denial: Denial) -> bool:
    """Whether the denial's names exceed the limit of unproven entries, so that the log must be asked first."""
    added = [each for each in people(denial) if not _says_all(names, each, denial)]
    unproven = [each.member for each in names.named_by if not each.proven and each.entry]
    return bool(added) and (
        len(unproven) + len(added) > MOST_OPEN or any(unproven.count(each) >= FEW for each in added)
    )


def named(names: DeployerNames, denial: Denial, proof: Proof) -> DeployerNames:
    """The names with those of the denial, the newest deployer last; unchanged if the entry is disproven."""
    members = people(denial)
    if proof is Proof.DISPROVEN or not members:
        return names
    kept, crowded = list(names.named_by), names.crowded
    for member in members:
        if _says_all(names, member, denial) and (proof is not Proof.PROVEN or _always(names, member)):
            continue
        if proof is Proof.PROVEN:  # one proven entry is enough: log entries never change
            kept = [each for each in kept if each.member != member]
            kept.append(NamedBy(member, denial.entry, denial.call, proven=True))
        elif proof is Proof.LATER:
            kept.append(NamedBy(member, denial.entry, denial.call))
        elif sum(each.entry is None for each in kept) < MOST_UNKEYED:
            kept.append(NamedBy(member))
        else:
            crowded = True
    known = {each.member for each in kept} | set(names.deployers)
    newest = tuple(each for each in members if each in known)
    deployers = (*(each for each in names.deployers if each not in newest), *newest)
    return DeployerNames(deployers, tuple(kept), crowded)


def _says_all(names: DeployerNames, member: str, denial: Denial) -> bool:
    """Whether this entry adds nothing to what is known about the member."""
    return _always(names, member) or any(
        each.member == member and (each.entry, each.call) == (denial.entry, denial.call) for each in names.named_by
    )


def _always(names: DeployerNames, member: str) -> bool:
    """Whether the member counts as named without reading back: proven, or named without an entry."""
    own = [each for each in names.named_by if each.member == member]
    return any(each.proven or each.entry is None for each in own) or (member in names.deployers and not own)


def is_full(entries: tuple[EntryId, ...], proven: EntryId | None) -> bool:
    """Whether one more entry would displace one that may be the only real one, so that the log must be asked."""
    return len(entries) >= _KEPT and proven not in entries


def with_entry(
    entries: tuple[EntryId, ...], proven: EntryId | None, entry: EntryId, proof: Proof
) -> tuple[tuple[EntryId, ...], EntryId | None]:
    """The entries of the denials with one more, the newest last; and the newest entry that the log confirmed.

    The first of the cycle and the confirmed one stay: a flood of forged entries does not displace a real one.
    """
    newest = entry if proof is Proof.PROVEN else proven
    if entry in entries or (proof is Proof.DISPROVEN and len(entries) >= _KEPT):
        return entries, newest
    room = [each for each in entries[1:] if each != newest]
    if len(entries) >= _KEPT and room:
        entries = tuple(each for each in entries if each != room[0])
    return (*entries, entry), newest
