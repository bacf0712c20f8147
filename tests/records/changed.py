"""Changes a record wherever in it a field belongs, as no code of the service does."""

from __future__ import annotations

import msgspec

from remediate.records.remediation import Remediation

_PARTS = ("names", "tally", "terms", "lifecycle", "storage")


def with_fields(record: Remediation, **fields: object) -> Remediation:
    """The record with these values, each in the part that has the field. Raises TypeError for a field of none."""
    changes: dict[str, object] = {}
    for name in _PARTS:
        part = getattr(record, name)
        own = {field: fields.pop(field) for field in part.__struct_fields__ if field in fields}
        changes[name] = msgspec.structs.replace(part, **own)
    return msgspec.structs.replace(record, **changes, **fields)
