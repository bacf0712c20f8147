"""Hash chains: each record carries the hash of the one before it, so that none is changed, lost or moved unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import msgspec


class ChainedRecord(Protocol):
    """One record of a chain; `seq` counts from 1, `hash` covers all other fields."""

    @property
    def seq(self) -> int: ...
    @property
    def previous(self) -> str: ...
    @property
    def hash(self) -> str: ...


class Anchor(Protocol):
    """What a chain belongs to: it knows how long the chain is and the last record's hash."""

    @property
    def trail(self) -> int: ...
    @property
    def trail_hash(self) -> str: ...


def digest(link: msgspec.Struct) -> str:
    """The hash that a record must carry: SHA-256 over its other fields as canonical JSON."""
    fields = msgspec.structs.replace(link, hash="")
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def broken_link(anchor: Anchor | None, chain: Sequence[ChainedRecord]) -> str | None:
    """The first place where a chain is not what was written, in words; None where it is whole.

    A changed record does not match its own hash; a missing or exchanged one, the next one's `previous`; a missing last
    one, the count and the hash that the anchor itself carries.
    """
    previous = ""
    for number, link in enumerate(chain, 1):
        if link.seq != number:
            return f"record {number} is missing: {link.seq} stands in its place"
        if not isinstance(link, msgspec.Struct) or digest(link) != link.hash:
            return f"record {number} was changed after it was written"
        if link.previous != previous:
            return f"record {number} does not follow the record before it"
        previous = link.hash
    if anchor is None:
        return "what the trail belongs to is missing" if chain else None
    if anchor.trail != len(chain):
        return f"record {len(chain) + 1} is missing, the last of {anchor.trail}"
    if anchor.trail_hash != previous:
        return f"record {len(chain)} is not the one that it ends with"
    return None
