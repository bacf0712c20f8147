"""The mode: what is in force where, since when, on whose word; and the switch, which asks for a reason."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import flask
import msgspec

from remediate.decisions.policy import Mode, TextToConfirm
from remediate.errors import BadInput, LedgerFault, RemediateError, TransientFault
from remediate.ledger.checked import checked_switches
from remediate.records.modes import (
    CLEAR,
    EVERYWHERE,
    OPEN_FOR,
    POLICY,
    Modes,
    change_told,
    is_switch,
    open_request,
    scope_of,
)
from remediate.review.context import Answer, Desk, Elsewhere, View, typed

_TO = {"dry-run": Mode.DRY_RUN, "enforce": Mode.ENFORCE, "clear": None}
_CHANGES = 50  # changes that are shown, the newest first


def mode(desk: Desk, who: str, problem: str = "", code: int = 200, values: dict[str, str] | None = None) -> View:
    """The page. `values` are what somebody typed before, where it was not taken."""
    modes, changes, broken = checked_switches(desk.ledger)
    last = {change.scope: change for change in changes if is_switch(change)}
    everywhere = modes.switches.get(EVERYWHERE)
    rest = desk.configured or Mode.DRY_RUN
    policy = _policy(desk)
    waiting = _waiting(desk, modes, who, policy)
    return View(
        "mode.html",
        {
            "switches": sorted(modes.switches.items()),
            "overruled": lambda switch: desk.configured is Mode.DRY_RUN and switch is not Mode.DRY_RUN,
            "waiting": waiting,
            "told": change_told,
            "policy": policy,
            "operator": desk.remediator.switching.alone(who),
            "policy_asked": policy is not None and any(each.mode == policy.sha256 for each in waiting),
            "last": last,
            "rest": rest,
            "everywhere": everywhere is not None,
            "configured": desk.configured,
            "changes": changes[::-1][:_CHANGES],
            "older": max(0, len(changes) - _CHANGES),
            "broken": broken,
            "barred": desk.barred(None, who),
            "problem": problem,
            "typed": {name: (values or {}).get(name, "") for name in ("scope", "mode", "reason")},
        },
        code,
    )


class Waiting(msgspec.Struct, frozen=True):
    """What somebody asked for; `mine`: who reads the page did, so that another person has to confirm it."""

    scope: str
    wanted: str
    mode: str
    actor: str
    note: str
    until: str
    mine: bool
    changed: bool
    """Whether it is about a policy text that is not in force any more."""


def _waiting(desk: Desk, modes: Modes, who: str, policy: TextToConfirm | None) -> list[Waiting]:
    text = policy.sha256 if policy else ""
    found = [(scope, open_request(modes, scope, desk.now())) for scope in sorted(modes.asked)]
    return [
        Waiting(
            scope,
            f"text {each.wanted[:12]}" if scope == POLICY else "no switch" if each.wanted == CLEAR else each.wanted,
            each.wanted,
            each.actor,
            each.note,
            (datetime.fromisoformat(each.at) + OPEN_FOR).isoformat(),
            each.actor.rpartition(":")[2].casefold() == who.rpartition(":")[2].casefold(),
            scope == POLICY and each.wanted != text,
        )
        for scope, each in found
        if each
    ]


def _policy(desk: Desk) -> TextToConfirm | None:
    """The policy text that waits for confirmation; None where none does, or it cannot be read now."""
    with suppress(BadInput, LedgerFault, TransientFault):
        return desk.remediator.policy_to_confirm()
    return None


def switch(desk: Desk, request: flask.Request, who: str) -> Answer:
    """Switch, and show the page; where it is not taken, the page again with what they typed."""
    form = request.form
    try:
        to, reason = form.get("mode", ""), typed(form, "reason")
        if typed(form, "scope") == POLICY and reason:
            text = desk.remediator.policy_to_confirm()
            if text is None or to != text.sha256:
                raise BadInput("The policy text was confirmed or has changed since. Reload the page.")
            desk.remediator.switching.confirm_policy(to, actor=who, note=reason)
            return Elsewhere("/mode")
        scope = scope_of(typed(form, "scope") or EVERYWHERE)
        if to not in _TO:
            raise BadInput(f"{to[:40]!r} is no mode; accepted: {', '.join(_TO)}")
        if not reason:
            raise BadInput("Say why: the reason is recorded in the audit trail.")
        desk.remediator.switch(scope, _TO[to], actor=who, note=reason)
    except RemediateError as error:
        values = {name: typed(form, name) for name in ("scope", "mode", "reason")}
        return mode(desk, who, str(error), 503 if isinstance(error, TransientFault) else 409, values)
    return Elsewhere("/mode")
