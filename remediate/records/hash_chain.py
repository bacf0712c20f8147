"""Hash chains: each record contains the hash of the one before it, so that a change, loss or move is detected."""

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
    """The record that a chain belongs to: it stores the length of the chain and the hash of the last record."""

    @property
    def trail(self) -> int: ...
    @property
    def trail_hash(self) -> str: ...


def digest(link: msgspec.Struct) -> str:
    """The hash of a record: SHA-256 over its other fields as canonical JSON."""
    fields = msgspec.structs.replace(link, hash="")
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def broken_link(anchor: Anchor | None, chain: Sequence[ChainedRecord]) -> str | None:
    """A description of the first broken place in a chain; None if the chain is intact.

    A changed record does not match its own hash. A missing or exchanged one does not match `previous` of the next one.
    A missing last one does not match the count and the hash in the anchor.
    """
    previous = ""
    for number, link in enumerate(chain, 1):
        if link.seq != number:
            return f"record {number} is missing: record {link.seq} is in its place"
        if not isinstance(link, msgspec.Struct) or digest(link) != link.hash:
            return f"record {number} was changed after it was written"
        if link.previous != previous:
            return f"record {number} does not follow the record before it"
        previous = link.hash
    if anchor is None:
        return "the record that the trail belongs to is missing" if chain else None
    if anchor.trail != len(chain):
        return f"record {len(chain) + 1} of {anchor.trail} is missing at the end"
    if anchor.trail_hash != previous:
        return f"record {len(chain)} is not the recorded last one"
    return None
