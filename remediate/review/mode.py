"""The mode: what is in force where, since when, on whose word; and the switch, which asks for a reason."""

from __future__ import annotations

import flask

from remediate.errors import BadInput, RemediateError, TransientFault
from remediate.ledger.checked import checked_switches
from remediate.modes import EVERYWHERE, scope_of
from remediate.policy import Mode
from remediate.review.desk import Answer, Desk, Elsewhere, View, typed

_TO = {"dry-run": Mode.DRY_RUN, "enforce": Mode.ENFORCE, "clear": None}
_CHANGES = 50  # changes that are shown, the newest first


def mode(desk: Desk, who: str, problem: str = "", code: int = 200, values: dict[str, str] | None = None) -> View:
    """The page. `values` are what somebody typed before, where it was not taken."""
    modes, changes, broken = checked_switches(desk.ledger)
    last = {change.scope: change for change in changes}
    everywhere = modes.switches.get(EVERYWHERE)
    rest = desk.configured or Mode.DRY_RUN
    return View(
        "mode.html",
        {
            "switches": sorted(modes.switches.items()),
            "overruled": lambda switch: desk.configured is Mode.DRY_RUN and switch is not Mode.DRY_RUN,
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


def switch(desk: Desk, request: flask.Request, who: str) -> Answer:
    """Switch, and show the page; where it is not taken, the page again with what they typed."""
    form = request.form
    try:
        scope = scope_of(typed(form, "scope") or EVERYWHERE)
        to, reason = form.get("mode", ""), typed(form, "reason")
        if to not in _TO:
            raise BadInput(f"{to[:40]!r} is no mode; accepted: {', '.join(_TO)}")
        if not reason:
            raise BadInput("Say why: the reason stands on the trail.")
        desk.remediator.switch(scope, _TO[to], actor=who, note=reason)
    except RemediateError as error:
        values = {name: typed(form, name) for name in ("scope", "mode", "reason")}
        return mode(desk, who, str(error), 503 if isinstance(error, TransientFault) else 409, values)
    return Elsewhere("/mode")
