"""Turns the switches set at run time, and the environment's word, into the mode in force for a project.

The strictest wins: one `dry-run` above either project is enough, whatever else says `enforce`. Pure; what is not known
about where a project lies counts as lying under every `dry-run`, and under no `enforce`. A stricter switch is set at
once; one that loosens is asked for by one person and confirmed by another, or set by an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from remediate.chain import digest
from remediate.errors import BadInput
from remediate.image import is_project
from remediate.policy import Mode
from remediate.remediation import instant

EVERYWHERE = "everywhere"
"""The scope of a switch that names none."""

CLEAR = "clear"
"""What is asked for where a switch is to be taken away."""

POLICY = "policy"
"""In place of a scope: what is asked for, or confirmed, is the text of the policy file, by its digest."""

OPEN_FOR = timedelta(days=1)
"""How long a request waits for a second person, and how long a loosening bars its people from what rules grant."""

_MOST_LOOSENED = 50  # loosenings of the last day that are remembered; the newest

ACCEPTED = "organizations/NUMBER, folders/NUMBER or projects/ID"
_NODE = re.compile(r"(?:organizations|folders)/[1-9][0-9]{0,18}\Z")


class Place(msgspec.Struct, frozen=True):
    """Where a project lies: its scopes (`projects/ID`, `folders/N`, `organizations/N`), and whether these are all."""

    scopes: frozenset[str]
    whole: bool = True


class Request(msgspec.Struct, frozen=True):
    """A switch (or a policy text) that one person asked for; it waits for a second one, or lapses after a day."""

    wanted: str
    """`enforce`, `clear`, or the digest of a policy text."""
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
    """The loosenings of the last day, the newest last."""
    policy: str = ""
    """The digest of the policy text that was confirmed last."""
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
    """The digest of the policy text whose rules may grant from now on."""
    asked_by: str | msgspec.UnsetType = msgspec.UNSET
    """Who asked for what this change confirms."""


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
    modes: Modes, scope: str, mode: Mode | None, *, actor: str, now: datetime, note: str, alone: bool = True
) -> tuple[Modes, ModeChange] | None:
    """The switches after one was set (cleared, with None) or asked for, and the record of who did it and why.

    `alone`: this person needs no second one. None where nothing changes: the same person asks again.
    """
    before, wanted = modes.switches.get(scope), mode or CLEAR
    loosening, asked = loosens(modes, scope, mode), open_request(modes, scope, now)
    confirms = asked is not None and asked.wanted == wanted and asked.actor.casefold() != actor.casefold()
    if loosening and not alone and not confirms:
        if asked is not None and asked.wanted == wanted:
            return None
        return _asked(modes, scope, Request(wanted, actor, instant(now), note), before)
    by = asked.actor if asked and confirms else None
    change = _change(modes, scope, before, mode, actor=actor, now=now, note=note, asked_by=by)
    others = {name: each for name, each in modes.switches.items() if name != scope}
    switches = others if mode is None else others | {scope: mode}
    loosened = modes.loosened
    if loosening:
        loosened = _recent(loosened, Loosening(scope, (*([by] if by else []), actor), change.at), now)
    return _next(modes, change, switches=switches, asked=_without(modes, scope), loosened=loosened), change


def policy_confirmed(
    modes: Modes, digest_: str, *, actor: str, now: datetime, note: str, alone: bool
) -> tuple[Modes, ModeChange] | None:
    """As `switched`, of the text of the policy file: from now on its rules may grant."""
    asked = open_request(modes, POLICY, now)
    same = asked is not None and asked.wanted == digest_
    confirms = asked is not None and same and asked.actor.casefold() != actor.casefold()
    if not alone and not confirms:
        return None if same else _asked(modes, POLICY, Request(digest_, actor, instant(now), note), None)
    by = asked.actor if asked and confirms else None
    change = _change(modes, POLICY, None, None, actor=actor, now=now, note=note, asked_by=by, confirmed=digest_)
    loosened = _recent(modes.loosened, Loosening(EVERYWHERE, (*([by] if by else []), actor), change.at), now)
    return _next(modes, change, asked=_without(modes, POLICY), policy=digest_, loosened=loosened), change


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


def change_told(change: ModeChange) -> str:
    """What one change did, in words: the switch before and after, or what was asked for."""
    if isinstance(change.confirmed, str):
        return f"text {change.confirmed} confirmed"
    if isinstance(change.requested, str):
        return f"asked for {change.requested}"
    return f"{change.before or 'no switch'} → {change.after or 'no switch'}"


def _asked(modes: Modes, scope: str, request: Request, before: Mode | None) -> tuple[Modes, ModeChange]:
    at = datetime.fromisoformat(request.at)
    change = _change(
        modes, scope, before, before, actor=request.actor, now=at, note=request.note, requested=request.wanted
    )
    return _next(modes, change, asked={**_without(modes, scope), scope: request}), change


def _change(
    modes: Modes,
    scope: str,
    before: Mode | None,
    after: Mode | None,
    *,
    actor: str,
    now: datetime,
    note: str,
    requested: str | None = None,
    confirmed: str | None = None,
    asked_by: str | None = None,
) -> ModeChange:
    change = ModeChange(
        seq=modes.trail + 1,
        at=instant(now),
        actor=actor,
        scope=scope,
        before=before,
        after=after,
        note=note,
        previous=modes.trail_hash,
        requested=requested or msgspec.UNSET,
        confirmed=confirmed or msgspec.UNSET,
        asked_by=asked_by or msgspec.UNSET,
    )
    return msgspec.structs.replace(change, hash=digest(change))


def _next(modes: Modes, change: ModeChange, **fields: object) -> Modes:
    return msgspec.structs.replace(modes, version=modes.version + 1, trail=change.seq, trail_hash=change.hash, **fields)


def _without(modes: Modes, scope: str) -> dict[str, Request]:
    return {name: each for name, each in modes.asked.items() if name != scope}


def _recent(loosened: tuple[Loosening, ...], one: Loosening, now: datetime) -> tuple[Loosening, ...]:
    kept = [each for each in loosened if now - datetime.fromisoformat(each.at) < OPEN_FOR]
    return (*kept, one)[-_MOST_LOOSENED:]


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
