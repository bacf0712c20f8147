"""The JSON of a remediation, as ledgers store it and as commands print it: one flat object.

The parts of `Remediation` are for readers of the code. Records outlive versions of the code, so the stored names and
their order stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from remediate.records.remediation import Lifecycle, Remediation, Storage, Tally, Terms
from remediate.records.witnesses import DeployerNames

_ORDER = """
    id state repository member readers rule reasons first_seen last_seen updated role denials predicted deploys images
    deployers named_by crowded entries proven partners expires approver approvals_needed approvals added_by_us
    max_duration reviewers rule_comment shown doubts authorized image_confirmed ending taken_away ended cycle gathered
    version trail trail_hash troubleshooter
""".split()
_RENAMED = {"added_by_us": "ours", "max_duration": "lasts", "rule_comment": "because"}
_PARTS = (DeployerNames, Tally, Terms, Lifecycle, Storage)
_Part = TypeVar("_Part", bound=msgspec.Struct)


def _fields() -> Iterator[tuple[str, type] | tuple[str, type, object]]:
    known = {each.name: each for part in (Remediation, *_PARTS) for each in msgspec.structs.fields(part)}
    for name in _ORDER:
        field = known[name]
        yield (name, field.type) if field.required else (name, field.type, field.default)


_Flat = msgspec.defstruct("_Flat", list(_fields()), rename=_RENAMED, frozen=True)
_decoder = msgspec.json.Decoder(_Flat)


def parts(record: Remediation) -> tuple[msgspec.Struct, ...]:
    """The record and its parts: all structs whose fields the flat object has."""
    return record, record.names, record.tally, record.terms, record.lifecycle, record.storage


def stored_name(name: str) -> str:
    """The name of a field in the flat object."""
    return _RENAMED.get(name, name)


def encode(record: Remediation) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(_flat(record))


def to_builtins(record: Remediation) -> dict[str, object]:
    """The record as a flat dictionary of JSON values."""
    found: dict[str, object] = msgspec.to_builtins(_flat(record))
    return found


def decode(stored: str | bytes) -> Remediation:
    """The record of this JSON, as this version or an older one wrote it. Raises msgspec.ValidationError."""
    flat = msgspec.structs.asdict(_decoder.decode(stored))

    def part(kind: type[_Part]) -> _Part:
        return kind(**{each.name: flat.pop(each.name) for each in msgspec.structs.fields(kind)})

    return Remediation(
        names=part(DeployerNames),
        tally=part(Tally),
        terms=part(Terms),
        lifecycle=part(Lifecycle),
        storage=part(Storage),
        **flat,
    )


def _flat(record: Remediation) -> msgspec.Struct:
    values: dict[str, object] = {}
    for part in parts(record):
        values |= msgspec.structs.asdict(part)
    return _Flat(**{name: values[name] for name in _ORDER})
