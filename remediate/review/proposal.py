"""The page of one remediation: what happened, why it needs review, the change, the evidence, and the decision forms."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

import flask

from remediate.decisions.policy import blocks_of
from remediate.decisions.variables import Evidence
from remediate.errors import BadInput, Refused, Stale, TerminalFault, TransientFault
from remediate.iam.allow_policy import BindingChange
from remediate.iam.member import Member
from remediate.ledger.checked import checked_trail
from remediate.reasons import Reason
from remediate.records.approval_count import approvals_text
from remediate.records.digests import content_digest
from remediate.records.remediation import Remediation
from remediate.records.results import Check
from remediate.records.states import State
from remediate.records.transitions import unmet_partners, words_of_google
from remediate.review.context import Answer, HtmlPage, PageContext, Redirect, typed_text
from remediate.review.formatting import (
    evidence_answers,
    parse_duration,
    sentence,
    sentence_parts,
)
from remediate.review.links import console_links, manual_commands
from remediate.service.handing_over import is_due
from remediate.times import RETRY_AFTER, RETRY_SURELY, parse_time

_OPEN = (State.PROPOSED, State.FAILED, State.APPROVED)
_TIMEOUT = 4.0  # seconds that a page waits for Google Cloud; later answers count as unknown
_LATE = "Google Cloud did not answer in time"
_pool = ThreadPoolExecutor(8, thread_name_prefix="look")
_T = TypeVar("_T")


class Flash:
    """The message above the page: empty, or why a decision failed."""

    def __init__(self, problem: str = "", advice: str = "", code: int = 200) -> None:
        self.problem, self.advice, self.code = problem, advice, code


def proposal_page(
    context: PageContext, ident: str, who: str, flash: Flash | None = None, values: dict[str, str] | None = None
) -> HtmlPage:
    """The page. `values`: the fields of a form that was not accepted."""
    flash = flash or Flash()
    record = context.ledger.get(ident)
    if record is None:
        what = f"This ledger has no remediation {ident[:40]!r}."
        return HtmlPage("message.html", {"title": "Remediation not found", "text": what, "advice": ""}, 404)
    change: BindingChange | None = None
    evidence: Evidence | str = ""
    check: Check | str = ""
    unknown = ""
    if record.state in _OPEN:
        binding = _pool.submit(context.remediator.proposal, ident)
        known = _pool.submit(context.remediator.evidence, ident)
        log = _pool.submit(context.remediator.check, ident, who)
        until = time.monotonic() + _TIMEOUT
        found, evidence, check = (
            _result_or_reason(binding, until),
            _result_or_reason(known, until),
            _result_or_reason(log, until),
        )
        unknown = next((each for each in (found, evidence) if isinstance(each, str)), "")
        change = None if isinstance(found, str) else found.policy
    steps, broken = checked_trail(context.ledger, ident)
    partners = [each for each in map(context.ledger.get, record.tally.partners) if each]
    now = context.now()
    about_own = record.state is State.GRANTED
    return HtmlPage(
        "proposal.html",
        {
            "record": record,
            "sentence": sentence_parts(record, now),
            "content": content_digest(record),
            "deadline": context.deadline(record),
            "change": change,
            "evidence": [] if isinstance(evidence, str) else evidence_answers(evidence),
            "unknown": unknown,
            "barred": check.barred
            if isinstance(check, Check)
            else context.why_barred(record, who, about_own=about_own),
            "check": check,
            "due": context.remediator.hands_over and is_due(record),
            "blocks": _blocks(context, record, evidence),
            "waiting": approvals_text(record.lifecycle.approvals) if record.state is State.PROPOSED else "",
            "google": words_of_google(record, steps),
            "partners": [(each, sentence(each, now)) for each in partners],
            "also_needed": [
                (each, content_digest(each)) for each in _approvable_partners(context, record, partners, who)
            ],
            "steps": steps[::-1],
            "broken": broken,
            "links": console_links(record),
            "commands": manual_commands(record),
            "retry": _retry_times(record, now),
            "lacking": unmet_partners(record, partners),
            "hold_days": context.limits.hold_rejections.days,
            "flash": flash,
            "typed": values or {"reason": "", "lasts": ""},
            "open": record.state in _OPEN,
        },
        flash.code,
    )


def _blocks(context: PageContext, record: Remediation, evidence: Evidence | str) -> list[tuple[Reason, str]]:
    """Why nobody can approve the open record now, and what helps; from the record if Google Cloud does not answer."""
    if record.state not in _OPEN:
        return []
    reasons = blocks_of(evidence) if isinstance(evidence, Evidence) else record.reasons
    return context.remediator.blocks(record, reasons)


def _result_or_reason(look: Future[_T], until: float) -> _T | str:
    """The result before the deadline, or a text that says why there is none."""
    try:
        return look.result(timeout=max(0.0, until - time.monotonic()))
    except TimeoutError:
        return _LATE
    except (TerminalFault, TransientFault) as fault:
        return str(fault)


def _approvable_partners(
    context: PageContext, record: Remediation, partners: list[Remediation], who: str
) -> list[Remediation]:
    """Other grants of the same deploy that this person can approve too; never another deployer's own grant."""
    if record.state is not State.PROPOSED:
        return []
    return [
        each
        for each in partners
        if each.state is State.PROPOSED
        and (each.tally.predicted or Member(each.member).run_agent_of or Member(record.member).run_agent_of)
        and not context.why_barred(each, who)
    ]


def _retry_times(record: Remediation, now: datetime) -> tuple[str, str] | None:
    """When to retry the deploy, usually and at the latest; None without a grant, or long after it."""
    granted = parse_time(record.lifecycle.updated)
    if record.state is not State.GRANTED or now - granted > 2 * RETRY_SURELY:
        return None
    return (granted + RETRY_AFTER).isoformat(), (granted + RETRY_SURELY).isoformat()


def approve(context: PageContext, ident: str, request: flask.Request, who: str) -> Answer:
    """Approve the proposal as shown."""
    form = request.form

    def decide() -> Remediation:
        max_duration = parse_duration(form.get("lasts", ""))
        note, content = typed_text(form, "reason"), form.get("content", "")
        declared = form.get("not_mine") == "yes"
        return context.remediator.approve(
            ident, actor=who, note=note, max_duration=max_duration, content=content, not_mine=declared
        ).remediation

    return _apply(context, ident, request, who, decide)


def reject(context: PageContext, ident: str, request: flask.Request, who: str) -> Answer:
    """Reject the proposal."""
    return _apply(
        context,
        ident,
        request,
        who,
        lambda: context.remediator.reject(ident, actor=who, note=_required_reason(request)),
    )


def revoke(context: PageContext, ident: str, request: flask.Request, who: str) -> Answer:
    """Revoke the grant."""
    return _apply(
        context,
        ident,
        request,
        who,
        lambda: context.remediator.revoke(ident, actor=who, note=_required_reason(request)),
    )


def _required_reason(request: flask.Request) -> str:
    reason = typed_text(request.form, "reason")
    if not reason:
        raise BadInput("Enter a reason: it is recorded in the audit trail.")
    return reason


def _apply(
    context: PageContext, ident: str, request: flask.Request, who: str, decide: Callable[[], Remediation]
) -> Answer:
    """Call `decide` and redirect; on an error, the page again with the submitted fields and the reason."""
    try:
        [record] = context.remediator.outcome([decide()])
        return Redirect(f"/r/{record.id}")
    except Stale:
        flash = Flash(_CHANGED, _REVIEW_AGAIN, 409)
    except (Refused, BadInput, TerminalFault) as error:
        flash = Flash(str(error), error.advice, 409)
    except TransientFault as fault:
        flash = Flash(str(fault), fault.advice or _RETRY_SOON, 503)
    values = {name: typed_text(request.form, name) for name in ("reason", "lasts")}
    return proposal_page(context, ident, who, flash, values)


_CHANGED = "The proposal changed since you opened this page, so nothing was done."
_REVIEW_AGAIN = "This page shows the current proposal: review it and submit again."
_RETRY_SOON = "Submit again in a moment. No data is lost; a change that was started finishes automatically."
