"""The mode page: active switches with date, actor and reason; and the form that sets a switch."""

from __future__ import annotations

from contextlib import suppress

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
    describe_change,
    is_switch,
    open_request,
    scope_of,
)
from remediate.review.context import Answer, HtmlPage, PageContext, Redirect, typed_text
from remediate.times import parse_time

_TARGETS = {"dry-run": Mode.DRY_RUN, "enforce": Mode.ENFORCE, "clear": None}
_SHOWN_CHANGES = 50  # changes on the page, newest first


def mode_page(
    context: PageContext, who: str, problem: str = "", code: int = 200, values: dict[str, str] | None = None
) -> HtmlPage:
    """The mode page. `values`: the fields of a form that was not accepted."""
    modes, changes, broken = checked_switches(context.ledger)
    last = {change.scope: change for change in changes if is_switch(change)}
    everywhere = modes.switches.get(EVERYWHERE)
    rest = context.configured or Mode.DRY_RUN
    policy = _unconfirmed_policy(context)
    waiting = _pending_requests(context, modes, who, policy)
    return HtmlPage(
        "mode.html",
        {
            "switches": sorted(modes.switches.items()),
            "overruled": lambda switch: context.configured is Mode.DRY_RUN and switch is not Mode.DRY_RUN,
            "waiting": waiting,
            "change_text": describe_change,
            "policy": policy,
            "operator": context.remediator.switching.alone(who),
            "policy_asked": policy is not None and any(each.mode == policy.sha256 for each in waiting),
            "last": last,
            "rest": rest,
            "everywhere": everywhere is not None,
            "configured": context.configured,
            "changes": changes[::-1][:_SHOWN_CHANGES],
            "older": max(0, len(changes) - _SHOWN_CHANGES),
            "broken": broken,
            "barred": context.why_barred(None, who),
            "problem": problem,
            "typed": {name: (values or {}).get(name, "") for name in ("scope", "mode", "reason")},
        },
        code,
    )


class PendingRequest(msgspec.Struct, frozen=True):
    """A request that waits for confirmation; `mine`: the current person made it, so another person must confirm it."""

    scope: str
    wanted: str
    mode: str
    actor: str
    note: str
    until: str
    mine: bool
    changed: bool
    """Whether the policy text changed since the request."""


def _pending_requests(
    context: PageContext, modes: Modes, who: str, policy: TextToConfirm | None
) -> list[PendingRequest]:
    text = policy.sha256 if policy else ""
    found = [(scope, open_request(modes, scope, context.now())) for scope in sorted(modes.asked)]
    return [
        PendingRequest(
            scope,
            f"text {each.wanted[:12]}" if scope == POLICY else "no switch" if each.wanted == CLEAR else each.wanted,
            each.wanted,
            each.actor,
            each.note,
            (parse_time(each.at) + OPEN_FOR).isoformat(),
            each.actor.rpartition(":")[2].casefold() == who.rpartition(":")[2].casefold(),
            scope == POLICY and each.wanted != text,
        )
        for scope, each in found
        if each
    ]


def _unconfirmed_policy(context: PageContext) -> TextToConfirm | None:
    """The policy text that waits for confirmation; None when there is none or it cannot be read."""
    with suppress(BadInput, LedgerFault, TransientFault):
        return context.remediator.policy_to_confirm()
    return None


def switch_mode(context: PageContext, request: flask.Request, who: str) -> Answer:
    """Set a switch and redirect; on an error, the page again with the submitted fields."""
    form = request.form
    try:
        to, reason = form.get("mode", ""), typed_text(form, "reason")
        if typed_text(form, "scope") == POLICY and reason:
            text = context.remediator.policy_to_confirm()
            if text is None or to != text.sha256:
                raise BadInput("The policy text was confirmed or changed since you opened this page. Reload the page.")
            context.remediator.switching.confirm_policy(to, actor=who, note=reason)
            return Redirect("/mode")
        scope = scope_of(typed_text(form, "scope") or EVERYWHERE)
        if to not in _TARGETS:
            raise BadInput(f"{to[:40]!r} is not a mode; accepted: {', '.join(_TARGETS)}")
        if not reason:
            raise BadInput("Enter a reason: it is recorded in the audit trail.")
        context.remediator.switch(scope, _TARGETS[to], actor=who, note=reason)
    except RemediateError as error:
        values = {name: typed_text(form, name) for name in ("scope", "mode", "reason")}
        return mode_page(context, who, str(error), 503 if isinstance(error, TransientFault) else 409, values)
    return Redirect("/mode")
