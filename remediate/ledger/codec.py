"""Encodes remediations, and decodes stored records from JSON.

A record that is unreadable or invalid raises an error that names it; nothing is decided on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from remediate.errors import LedgerFault
from remediate.ledger.meaning import nonsense
from remediate.records import stored_form
from remediate.records.modes import ModeChange, Modes
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord

_Record = TypeVar("_Record")
_QUOTED = re.compile(r"Invalid enum value .*(?= - at `)", re.S)  # the one error of msgspec that quotes a value


encode = stored_form.encode
"""A remediation as JSON."""


class RecordDecoder(Generic[_Record]):
    """Decodes one type of record, as this version or an older one wrote it."""

    def __init__(self, decode: Callable[[str | bytes], _Record], name: str) -> None:
        self._decode = decode
        self._name = name

    def __call__(self, stored: object, ident: object = "") -> _Record:
        """The record. Raises LedgerFault, which names `ident` and what was expected where, and never the content."""
        try:
            if not isinstance(stored, str | bytes):
                raise msgspec.ValidationError(f"expected JSON, got {type(stored).__name__}")
            record = self._decode(stored)
            if problem := nonsense(record):
                raise msgspec.ValidationError(problem)
            if ident and isinstance(record, Remediation) and record.id != ident:
                raise msgspec.ValidationError("expected the id that it is stored under - at `$.id`")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            why = _QUOTED.sub("Invalid enum value", str(error))
            raise LedgerFault(
                f"{' '.join(filter(None, (self._name, str(ident))))} cannot be read: {why}",
                advice="`remediate trail verify` checks every record. Restore this one from a backup of the ledger.",
            ) from None
        return record


class Gathered(NamedTuple, Generic[_Record]):
    """The matching records among some rows. `more`: another one matches. `damaged`: rows that cannot be read."""

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
    """The first `limit` records that match. A row is the stored JSON and its id; an unreadable row is skipped.

    `most` is the number of rows after which the query was cut off: if one of them is unreadable, more may match.
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


remediation = RecordDecoder(stored_form.decode, "the record of")
step = RecordDecoder(msgspec.json.Decoder(TrailRecord).decode, "a trail record of")
modes = RecordDecoder(msgspec.json.Decoder(Modes).decode, "the record of the switches in force")
change = RecordDecoder(msgspec.json.Decoder(ModeChange).decode, "a record of a switch")
parcel = RecordDecoder(msgspec.json.Decoder(OutboxMessage).decode, "a notice")
