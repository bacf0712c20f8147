"""Turns the switches set at run time, and the environment's word, into the mode in force for a project.

The strictest wins: one `dry-run` above either project is enough, whatever else says `enforce`. Pure; what is not known
about where a project lies counts as lying under every `dry-run`, and under no `enforce`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from remediate.chain import digest
from remediate.errors import BadInput
from remediate.image import is_project
from remediate.policy import Mode
from remediate.remediation import instant

EVERYWHERE = "everywhere"
"""The scope of a switch that names none."""

ACCEPTED = "organizations/NUMBER, folders/NUMBER or projects/ID"
_NODE = re.compile(r"(?:organizations|folders)/[1-9][0-9]{0,18}\Z")


class Place(msgspec.Struct, frozen=True):
    """Where a project lies: its scopes (`projects/ID`, `folders/N`, `organizations/N`), and whether these are all."""

    scopes: frozenset[str]
    whole: bool = True


class Modes(msgspec.Struct, frozen=True):
    """The switches in force, by scope. `version` counts its commits, as a remediation's does."""

    switches: Mapping[str, Mode] = {}
    version: int = 0
    trail: int = 0
    trail_hash: str = ""


class ModeChange(msgspec.Struct, frozen=True):
    """One switch on the trail: who, what, why, when. None is "not set"."""

    seq: int
    at: str
    actor: str
    scope: str
    before: Mode | None
    after: Mode | None
    note: str
    previous: str
    hash: str = ""


def scope_of(text: str) -> str:
    """A scope as it is written down. Raises BadInput for what is none."""
    kind, _, name = text.partition("/")
    if text == EVERYWHERE or _NODE.match(text) or (kind == "projects" and is_project(name)):
        return text
    raise BadInput(f"{text!r} is no scope; accepted: {ACCEPTED}")


def switched(
    modes: Modes, scope: str, mode: Mode | None, *, actor: str, now: datetime, note: str
) -> tuple[Modes, ModeChange]:
    """The switches after one was set (or cleared, with None), and the record of who did it and why."""
    change = ModeChange(
        seq=modes.trail + 1,
        at=instant(now),
        actor=actor,
        scope=scope,
        before=modes.switches.get(scope),
        after=mode,
        note=note,
        previous=modes.trail_hash,
    )
    change = msgspec.structs.replace(change, hash=digest(change))
    others = {name: each for name, each in modes.switches.items() if name != scope}
    switches = others if mode is None else others | {scope: mode}
    return Modes(switches, modes.version + 1, change.seq, change.hash), change


def effective(modes: Modes, configured: Mode | None, places: Iterable[Place]) -> Mode:
    """The mode in force for a deploy that touches these places: `enforce` only where each of them is under one.

    `configured` is the environment's word; None where it says nothing, and the switches alone decide.
    """
    if configured is Mode.DRY_RUN:
        return Mode.DRY_RUN
    every = [_at(modes, configured, place) for place in places]
    return Mode.ENFORCE if every and all(mode is Mode.ENFORCE for mode in every) else Mode.DRY_RUN


def _at(modes: Modes, configured: Mode | None, place: Place) -> Mode:
    covering = {EVERYWHERE, *place.scopes}
    said = {mode for scope, mode in modes.switches.items() if scope in covering}
    hidden = {mode for scope, mode in modes.switches.items() if scope not in covering and not place.whole}
    if Mode.DRY_RUN in said | hidden:
        return Mode.DRY_RUN
    return Mode.ENFORCE if Mode.ENFORCE in said or configured is Mode.ENFORCE else Mode.DRY_RUN
