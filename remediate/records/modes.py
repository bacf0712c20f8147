"""Turns the switches set at run time, and the environment's word, into the mode in force for a project.

The strictest wins: one `dry-run` above either project is enough, whatever else says `enforce`. Pure; what is not known
about where a project lies counts as lying under every `dry-run`, and under no `enforce`. A stricter switch is set at
once; one that loosens is asked for by one person and confirmed by another, or set by an operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from remediate.decisions.policy import Mode
from remediate.errors import BadInput
from remediate.iam.repository import is_project
from remediate.records.hash_chain import digest
from remediate.times import instant

EVERYWHERE = "everywhere"
"""The scope of a switch that names none."""

CLEAR = "clear"
"""What is asked for where a switch is to be taken away."""

POLICY = "policy"
"""In place of a scope: what is asked for, or confirmed, is the text of the policy file, by its digest."""

OPEN_FOR = timedelta(days=1)
"""How long a request waits for a second person, and how long a loosening bars its people from what rules grant."""

_MOST_LOOSENED = 50  # loosenings of the last day that are remembered one by one; older ones count as everywhere's

LAPSED, REPLACED, WITHDRAWN = "lapsed", "replaced", "withdrawn"
"""What becomes of a request that nobody confirms: a day passed, another one took its place, a stricter switch came."""

ACCEPTED = "organizations/NUMBER, folders/NUMBER or projects/ID"
_NODE = re.compile(r"(?:organizations|folders)/[1-9][0-9]{0,18}\Z")


class Place(msgspec.Struct, frozen=True):
    """Where a project lies: its scopes (`projects/ID`, `folders/N`, `organizations/N`), and whether these are all."""

    scopes: frozenset[str]
    whole: bool = True


class Request(msgspec.Struct, frozen=True):
    """A switch (or a policy text) that one person asked for; it waits for a second one, or lapses after a day."""

    wanted: str
    """`enforce`, `clear`, or the SHA-256 of a policy text."""
    actor: str
    at: str
    note: str


class Loosening(msgspec.Struct, frozen=True):
    """Who loosened the mode of a scope, and when."""

    scope: str
    actors: tuple[str, ...]
    at: str


class Modes(msgspec.Struct, frozen=True):
    """The switches in force, by scope. `version` counts its commits, as a remediation's does."""

    switches: Mapping[str, Mode] = {}
    asked: Mapping[str, Request] = {}
    """What waits for a second person, by scope, or `policy`."""
    loosened: tuple[Loosening, ...] = ()
    """The loosenings of the last day, the newest last, so that no decision has to read the trail."""
    policy: str = ""
    """The SHA-256 of the policy text that was confirmed last, as 64 hexadecimal digits."""
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
    requested: str | msgspec.UnsetType = msgspec.UNSET
    """What was asked for; the switch itself stays as it was."""
    confirmed: str | msgspec.UnsetType = msgspec.UNSET
    """The SHA-256 of the policy text whose rules may grant from now on."""
    asked_by: str | msgspec.UnsetType = msgspec.UNSET
    """Who asked for what this change confirms."""
    operator: bool | msgspec.UnsetType = msgspec.UNSET
    """True where this change loosens on the word of an operator, who needs no second person."""
    ended: str | msgspec.UnsetType = msgspec.UNSET
    """What became of the request that waited here, and was not confirmed: `lapsed`, `replaced` or `withdrawn`."""


def scope_of(text: str) -> str:
    """A scope as it is written down. Raises BadInput for what is none."""
    kind, _, name = text.partition("/")
    if text == EVERYWHERE or _NODE.match(text) or (kind == "projects" and is_project(name)):
        return text
    raise BadInput(f"{text!r} is no scope; accepted: {ACCEPTED}")


def loosens(modes: Modes, scope: str, mode: Mode | None) -> bool:
    """Whether a switch may let rules grant where they asked before: it says enforce, or takes a dry-run away."""
    return mode is Mode.ENFORCE or (mode is None and modes.switches.get(scope) is Mode.DRY_RUN)


def open_request(modes: Modes, scope: str, now: datetime) -> Request | None:
    """What somebody asked for and nobody confirmed yet, where it did not lapse."""
    asked = modes.asked.get(scope)
    return asked if asked and now - datetime.fromisoformat(asked.at) < OPEN_FOR else None


def switched(
    modes: Modes,
    scope: str,
    mode: Mode | None,
    *,
    actor: str,
    now: datetime,
    note: str,
    alone: bool,
    counts: Callable[[str], bool] = lambda _: True,
) -> tuple[Modes, ModeChange] | None:
    """The switches after one was set (cleared, with None) or asked for, and the record of who did it and why.

    `alone`: this person needs no second one. `counts` says of an actor whether a request of theirs still counts. None
    where nothing changes: it is so already, or the same person asks again.
    """
    before, wanted = modes.switches.get(scope), mode or CLEAR
    draft = _draft(modes, scope, before, actor, now, note)
    if not loosens(modes, scope, mode):
        if mode == before and scope not in modes.asked:
            return None
        return _done(modes, msgspec.structs.replace(draft, after=mode))
    if mode == before:
        return None
    return _loosened(modes, msgspec.structs.replace(draft, after=mode), wanted, alone=alone, counts=counts)


def policy_confirmed(
    modes: Modes,
    sha256: str,
    *,
    actor: str,
    now: datetime,
    note: str,
    alone: bool,
    counts: Callable[[str], bool] = lambda _: True,
) -> tuple[Modes, ModeChange] | None:
    """As `switched`, of the text of the policy file: from now on its rules may grant."""
    if modes.policy == sha256:
        return None
    draft = msgspec.structs.replace(_draft(modes, POLICY, None, actor, now, note), confirmed=sha256)
    return _loosened(modes, draft, sha256, alone=alone, counts=counts)


def lapsed(modes: Modes, *, actor: str, now: datetime) -> tuple[Modes, ModeChange] | None:
    """The switches without a request that nobody confirmed in time, and the record of that; None where none is."""
    over = next((scope for scope in sorted(modes.asked) if open_request(modes, scope, now) is None), None)
    return None if over is None else _done(modes, _draft(modes, over, modes.switches.get(over), actor, now, ""))


def applied(modes: Modes, change: ModeChange) -> Modes:
    """What a change leads to. The trail alone leads to what is in force: an audit applies every change again."""
    at = datetime.fromisoformat(change.at)
    switches = {name: each for name, each in modes.switches.items() if name != change.scope}
    asked = {name: each for name, each in modes.asked.items() if name != change.scope}
    loosened = modes.loosened
    if change.after is not None:
        switches[change.scope] = change.after
    if isinstance(change.requested, str):
        asked[change.scope] = Request(change.requested, change.actor, change.at, change.note)
    if isinstance(change.asked_by, str) or change.operator is True:
        people = dict.fromkeys(each for each in (change.asked_by, change.actor) if isinstance(each, str))
        scope = EVERYWHERE if change.scope == POLICY else change.scope
        loosened = _recent((*loosened, Loosening(scope, tuple(people), change.at)), at)
    policy = change.confirmed if isinstance(change.confirmed, str) else modes.policy
    return Modes(switches, asked, loosened, policy, modes.version + 1, change.seq, change.hash)


def loosened_by(modes: Modes, places: Iterable[Place], now: datetime) -> frozenset[str]:
    """Who loosened the mode above one of these places within the last day, each in small letters."""
    covering = [(place.scopes, place.whole) for place in places]
    return frozenset(
        actor.casefold()
        for each in modes.loosened
        if now - datetime.fromisoformat(each.at) < OPEN_FOR
        and (each.scope == EVERYWHERE or any(each.scope in scopes or not whole for scopes, whole in covering))
        for actor in each.actors
    )


def is_switch(change: ModeChange) -> bool:
    """Whether a change set or cleared a switch, and did not only ask for one, or end what was asked for."""
    idle = change.before == change.after and isinstance(change.ended, str)
    return change.scope != POLICY and not isinstance(change.requested, str) and not idle


def change_told(change: ModeChange) -> str:
    """What one change did, in words: the switch before and after, or what was asked for."""
    if isinstance(change.requested, str):
        return f"asked for {change.requested[:12] if change.scope == POLICY else change.requested}"
    if isinstance(change.confirmed, str):
        return f"text {change.confirmed[:12]} confirmed"
    if isinstance(change.ended, str) and change.before == change.after:
        return f"request {change.ended}"
    return f"{change.before or 'no switch'} → {change.after or 'no switch'}"


def _draft(modes: Modes, scope: str, before: Mode | None, actor: str, now: datetime, note: str) -> ModeChange:
    """A change that changes nothing yet."""
    return ModeChange(modes.trail + 1, instant(now), actor, scope, before, before, note, modes.trail_hash)


def _loosened(
    modes: Modes, change: ModeChange, wanted: str, *, alone: bool, counts: Callable[[str], bool]
) -> tuple[Modes, ModeChange] | None:
    """The change where one person or two may make it; else the request for it, or None where they asked before."""
    asked = open_request(modes, change.scope, datetime.fromisoformat(change.at))
    same = asked is not None and asked.wanted == wanted and counts(asked.actor)
    if asked is not None and same and asked.actor.casefold() != change.actor.casefold():
        change = msgspec.structs.replace(change, asked_by=asked.actor)
    elif not alone and same:
        return None
    elif not alone:
        change = msgspec.structs.replace(change, after=change.before, confirmed=msgspec.UNSET, requested=wanted)
    if alone:
        change = msgspec.structs.replace(change, operator=True)
    return _done(modes, change)


def _done(modes: Modes, change: ModeChange) -> tuple[Modes, ModeChange]:
    """The change, sealed, and what it leads to."""
    at = datetime.fromisoformat(change.at)
    if change.scope in modes.asked and not isinstance(change.asked_by, str):
        taken = isinstance(change.requested, str) or change.operator is True
        ended = LAPSED if open_request(modes, change.scope, at) is None else REPLACED if taken else WITHDRAWN
        change = msgspec.structs.replace(change, ended=ended)
    change = msgspec.structs.replace(change, hash=digest(change))
    return applied(modes, change), change


def _recent(loosened: tuple[Loosening, ...], now: datetime) -> tuple[Loosening, ...]:
    """Those of the last day. Beyond so many the oldest count as everywhere's: nobody pushes their own one out."""
    kept = [each for each in loosened if now - datetime.fromisoformat(each.at) < OPEN_FOR]
    older, newest = kept[:-_MOST_LOOSENED], kept[-_MOST_LOOSENED:]
    if not older:
        return tuple(newest)
    people = dict.fromkeys(actor for each in older for actor in each.actors)
    return (Loosening(EVERYWHERE, tuple(people), max(each.at for each in older)), *newest)


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
