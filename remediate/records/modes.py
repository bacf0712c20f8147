"""Turns the switches set at run time, and the setting REMEDIATE_MODE, into the mode in force for a project.

`dry-run` always wins: one such switch above either project outweighs every `enforce`. If the ancestors of a project
are unknown, every `dry-run` applies to it and no `enforce` does. Pure. A stricter switch applies at once. A switch that
loosens needs a request by one person and a confirmation by another, or an operator.
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
from remediate.times import parse_time, to_rfc3339

EVERYWHERE = "everywhere"
"""The scope of a switch for all projects."""

CLEAR = "clear"
"""The requested mode when a switch is to be removed."""

POLICY = "policy"
"""In place of a scope: the request or confirmation is about the text of the policy file, by its digest."""

OPEN_FOR = timedelta(days=1)
"""How long a request waits for a second person, and how long rules grant nothing to the people who loosened a mode."""

_MOST_LOOSENED = 50  # loosenings of the last day with their own scope; older ones count as `everywhere`

LAPSED, REPLACED, WITHDRAWN = "lapsed", "replaced", "withdrawn"
"""How an unconfirmed request ends: a day passed, another request replaced it, or a stricter switch was set."""

ACCEPTED = "organizations/NUMBER, folders/NUMBER or projects/ID"
_NODE = re.compile(r"(?:organizations|folders)/[1-9][0-9]{0,18}\Z")


class Place(msgspec.Struct, frozen=True):
    """The scopes above a project (`projects/ID`, `folders/N`, `organizations/N`); `whole`: these are all of them."""

    scopes: frozenset[str]
    whole: bool = True


class Request(msgspec.Struct, frozen=True):
    """A request for a switch or a policy text. It waits for a second person, and expires after a day."""

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
    """The switches in force, by scope. `version` counts the commits."""

    switches: Mapping[str, Mode] = {}
    asked: Mapping[str, Request] = {}
    """The requests that wait for a second person, by scope or `policy`."""
    loosened: tuple[Loosening, ...] = ()
    """The loosenings of the last day, the newest last: decisions need them without reading the trail."""
    policy: str = ""
    """The SHA-256 of the last confirmed policy text, as 64 hexadecimal digits."""
    version: int = 0
    trail: int = 0
    trail_hash: str = ""


class ModeChange(msgspec.Struct, frozen=True):
    """One change in the mode's audit trail: who, what, why, when. None means "not set"."""

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
    """The requested mode or text; the switch itself does not change."""
    confirmed: str | msgspec.UnsetType = msgspec.UNSET
    """The SHA-256 of the policy text whose rules may grant from this change on."""
    asked_by: str | msgspec.UnsetType = msgspec.UNSET
    """Who made the request that this change confirms."""
    operator: bool | msgspec.UnsetType = msgspec.UNSET
    """True if an operator loosened the mode without a second person."""
    ended: str | msgspec.UnsetType = msgspec.UNSET
    """How the unconfirmed request for this scope ended: `lapsed`, `replaced` or `withdrawn`."""


def scope_of(text: str) -> str:
    """The scope that the text names, in its stored form. Raises BadInput if it names none."""
    kind, _, name = text.partition("/")
    if text == EVERYWHERE or _NODE.match(text) or (kind == "projects" and is_project(name)):
        return text
    raise BadInput(f"{text!r} is not a scope; accepted: {ACCEPTED}")


def loosens(modes: Modes, scope: str, mode: Mode | None) -> bool:
    """Whether a switch may let rules grant where they asked before: it sets `enforce`, or removes `dry-run`."""
    return mode is Mode.ENFORCE or (mode is None and modes.switches.get(scope) is Mode.DRY_RUN)


def open_request(modes: Modes, scope: str, now: datetime) -> Request | None:
    """The request for this scope that waits for a second person; None if there is none, or it expired."""
    asked = modes.asked.get(scope)
    return asked if asked and now - parse_time(asked.at) < OPEN_FOR else None


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
    """The switches after one is set (None: cleared) or requested, and the record of who did it and why.

    `alone`: this person needs no second one. `counts` says whether a request by an actor is still valid. None if
    nothing changes: the mode is set already, or the same person repeats a request.
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
    """As `switched`, for the text of the policy file: once confirmed, its rules may grant."""
    if modes.policy == sha256:
        return None
    draft = msgspec.structs.replace(_draft(modes, POLICY, None, actor, now, note), confirmed=sha256)
    return _loosened(modes, draft, sha256, alone=alone, counts=counts)


def lapsed(modes: Modes, *, actor: str, now: datetime) -> tuple[Modes, ModeChange] | None:
    """The switches without one expired request, and the record of its end; None if no request has expired."""
    over = next((scope for scope in sorted(modes.asked) if open_request(modes, scope, now) is None), None)
    return None if over is None else _done(modes, _draft(modes, over, modes.switches.get(over), actor, now, ""))


def applied(modes: Modes, change: ModeChange) -> Modes:
    """The switches after a change. An audit applies every change of the trail and gets the switches in force."""
    at = parse_time(change.at)
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
    """Who loosened the mode above one of these places within the last day, in lower case."""
    covering = [(place.scopes, place.whole) for place in places]
    return frozenset(
        actor.casefold()
        for each in modes.loosened
        if now - parse_time(each.at) < OPEN_FOR
        and (each.scope == EVERYWHERE or any(each.scope in scopes or not whole for scopes, whole in covering))
        for actor in each.actors
    )


def is_switch(change: ModeChange) -> bool:
    """Whether a change set or cleared a switch, and not only made or ended a request."""
    idle = change.before == change.after and isinstance(change.ended, str)
    return change.scope != POLICY and not isinstance(change.requested, str) and not idle


def describe_change(change: ModeChange) -> str:
    """A description of one change: the switch before and after, or the request."""
    if isinstance(change.requested, str):
        return f"asked for {change.requested[:12] if change.scope == POLICY else change.requested}"
    if isinstance(change.confirmed, str):
        return f"text {change.confirmed[:12]} confirmed"
    if isinstance(change.ended, str) and change.before == change.after:
        return f"request {change.ended}"
    return f"{change.before or 'no switch'} → {change.after or 'no switch'}"


def _draft(modes: Modes, scope: str, before: Mode | None, actor: str, now: datetime, note: str) -> ModeChange:
    """The draft of a change, which changes nothing yet."""
    return ModeChange(modes.trail + 1, to_rfc3339(now), actor, scope, before, before, note, modes.trail_hash)


def _loosened(
    modes: Modes, change: ModeChange, wanted: str, *, alone: bool, counts: Callable[[str], bool]
) -> tuple[Modes, ModeChange] | None:
    """The change, if one or two people may make it; else the request for it; None if the same person repeats it."""
    asked = open_request(modes, change.scope, parse_time(change.at))
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
    """The switches after the change, and the change with its hash."""
    at = parse_time(change.at)
    if change.scope in modes.asked and not isinstance(change.asked_by, str):
        taken = isinstance(change.requested, str) or change.operator is True
        ended = LAPSED if open_request(modes, change.scope, at) is None else REPLACED if taken else WITHDRAWN
        change = msgspec.structs.replace(change, ended=ended)
    change = msgspec.structs.replace(change, hash=digest(change))
    return applied(modes, change), change


def _recent(loosened: tuple[Loosening, ...], now: datetime) -> tuple[Loosening, ...]:
    """The loosenings of the last day. Beyond the limit, the oldest count as `everywhere`: nobody displaces theirs."""
    kept = [each for each in loosened if now - parse_time(each.at) < OPEN_FOR]
    older, newest = kept[:-_MOST_LOOSENED], kept[-_MOST_LOOSENED:]
    if not older:
        return tuple(newest)
    people = dict.fromkeys(actor for each in older for actor in each.actors)
    return (Loosening(EVERYWHERE, tuple(people), max(each.at for each in older)), *newest)


def effective(modes: Modes, configured: Mode | None, places: Iterable[Place]) -> Mode:
    """The mode in force for a deploy that touches these places: `enforce` only if it applies to each of them.

    `configured` is REMEDIATE_MODE; None if it is not set, so that the switches alone decide.
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
