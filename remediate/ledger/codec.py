"""Reads what a ledger stores: JSON of the records. One that cannot be read, or means nothing, is named, and nothing is
decided on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from remediate.errors import LedgerFault
from remediate.ledger.meaning import nonsense
from remediate.records.modes import ModeChange, Modes
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord

_Record = TypeVar("_Record")
_QUOTED = re.compile(r"Invalid enum value .*(?= - at `)", re.S)  # the one error of msgspec that quotes a value


class RecordDecoder(Generic[_Record]):
    """Reads one kind of record back, as this version or an older one wrote it."""

    def __init__(self, kind: type[_Record], name: str) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._name = name

    def __call__(self, stored: object, ident: object = "") -> _Record:
        """The record. Raises LedgerFault that names `ident`, and says what was expected where, never the content."""
        try:
            if not isinstance(stored, str | bytes):
                raise msgspec.ValidationError(f"expected JSON, got {type(stored).__name__}")
            record = self._decoder.decode(stored)
            if problem := nonsense(record):
                raise msgspec.ValidationError(problem)
            if ident and isinstance(record, Remediation) and record.id != ident:
                raise msgspec.ValidationError("expected the id that it is filed under - at `$.id`")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            why = _QUOTED.sub("Invalid enum value", str(error))
            raise LedgerFault(
                f"{' '.join(filter(None, (self._name, str(ident))))} cannot be read: {why}",
                advice="`python -m remediate trail verify` checks every record; a backup of the ledger has it whole.",
            ) from None
        return record


class Gathered(NamedTuple, Generic[_Record]):
    """What was found among rows; `more`: another one matches. `damaged`: what could not be read."""

    found: list[_Record]
    more: bool
    looked_at: int
    damaged: list[LedgerFault]


def gather(
    rows: Iterable[tuple[object, ...]],
    read: RecordDecoder[_Record],
    matches: Callable[[_Record], bool],
    limit: int,
    *,
    most: int | None = None,
) -> Gathered[_Record]:
    """The first `limit` that match. A row is what is stored, and whose it is; one that cannot be read stops no other.

    `most` says after how many rows they were cut off: where one of them could not be read, others may follow.
    """
    found, damaged, looked_at = list[_Record](), list[LedgerFault](), 0
    for looked_at, row in enumerate(rows, start=1):
        try:
            record = read(*row)
        except LedgerFault as fault:
            damaged.append(fault)
            continue
        if matches(record):
            if len(found) == limit:
                return Gathered(found, True, looked_at, damaged)
            found.append(record)
    return Gathered(found, bool(found and damaged) and looked_at == most, looked_at, damaged)


remediation = RecordDecoder(Remediation, "the record of")
step = RecordDecoder(TrailRecord, "a record on the trail of")
modes = RecordDecoder(Modes, "the record of the switches in force")
change = RecordDecoder(ModeChange, "a record of a switch")
parcel = RecordDecoder(OutboxMessage, "a notice")
