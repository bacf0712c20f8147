"""One remediation's page: what happened, why it is asked, what would change, what is known; and what one can say."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

import flask

from remediate.decisions.variables import Evidence
from remediate.errors import BadInput, Refused, Stale, TerminalFault, TransientFault
from remediate.iam.allow_policy import BindingChange
from remediate.iam.member import Member
from remediate.ledger.checked import checked_trail
from remediate.records.approval_count import told
from remediate.records.remediation import Remediation, State, content_digest
from remediate.records.results import Check
from remediate.records.transitions import google_said, unmet_partners
from remediate.review.context import Answer, Desk, Elsewhere, View, typed
from remediate.review.formatting import RETRY_AFTER, RETRY_SURELY, answered, duration, parts, sentence
from remediate.review.links import equivalents, links

_OPEN = (State.PROPOSED, State.FAILED, State.APPROVED)
_PATIENCE = 4.0  # seconds that a page waits for Google Cloud; what is not known by then is unknown
_LATE = "Google Cloud did not answer in time"
_pool = ThreadPoolExecutor(8, thread_name_prefix="look")
_T = TypeVar("_T")


class Said:
    """What is told above the page: nothing, or why what somebody said was not done."""

    def __init__(self, problem: str = "", advice: str = "", code: int = 200) -> None:
        self.problem, self.advice, self.code = problem, advice, code


def proposal(desk: Desk, ident: str, who: str, said: Said | None = None, values: dict[str, str] | None = None) -> View:
    """The page. `values` are what somebody typed before, where it was not taken."""
    said = said or Said()
    record = desk.ledger.get(ident)
    if record is None:
        what = f"There is no remediation {ident[:40]!r} in this ledger."
        return View("message.html", {"title": "No such remediation", "text": what, "advice": ""}, 404)
    change: BindingChange | None = None
    evidence: Evidence | str = ""
    check: Check | str = ""
    unknown = ""
    if record.state in _OPEN:
        binding = _pool.submit(desk.remediator.proposal, ident)
        known = _pool.submit(desk.remediator.evidence, ident)
        log = _pool.submit(desk.remediator.check, ident, who)
        until = time.monotonic() + _PATIENCE
        found, evidence, check = _answer(binding, until), _answer(known, until), _answer(log, until)
        unknown = next((each for each in (found, evidence) if isinstance(each, str)), "")
        change = None if isinstance(found, str) else found.policy
    steps, broken = checked_trail(desk.ledger, ident)
    partners = [each for each in map(desk.ledger.get, record.partners) if each]
    now = desk.now()
    about_own = record.state is State.GRANTED
    return View(
        "proposal.html",
        {
            "record": record,
            "sentence": parts(record, now),
            "content": content_digest(record),
            "deadline": desk.deadline(record),
            "change": change,
            "evidence": [] if isinstance(evidence, str) else answered(evidence),
            "unknown": unknown,
            "barred": check.barred if isinstance(check, Check) else desk.barred(record, who, about_own=about_own),
            "check": check,
            "waiting": told(record.approvals) if record.state is State.PROPOSED else "",
            "google": google_said(record, steps),
            "partners": [(each, sentence(each, now)) for each in partners],
            "together": [(each, content_digest(each)) for each in _together(desk, record, partners, who)],
            "steps": steps[::-1],
            "broken": broken,
            "links": links(record),
            "equivalents": equivalents(record),
            "retry": _retry(record, now),
            "lacking": unmet_partners(record, partners),
            "hold_days": desk.limits.hold_rejections.days,
            "said": said,
            "typed": values or {"reason": "", "lasts": ""},
            "open": record.state in _OPEN,
        },
        said.code,
    )


def _answer(look: Future[_T], until: float) -> _T | str:
    """What was found by then, or in words why it was not."""
    try:
        return look.result(timeout=max(0.0, until - time.monotonic()))
    except TimeoutError:
        return _LATE
    except (TerminalFault, TransientFault) as fault:
        return str(fault)


def _together(desk: Desk, record: Remediation, partners: list[Remediation], who: str) -> list[Remediation]:
    """What else the same deploy needs and this person may approve with it: never another deployer's own grant."""
    if record.state is not State.PROPOSED:
        return []
    return [
        each
        for each in partners
        if each.state is State.PROPOSED
        and (each.predicted or Member(each.member).run_agent_of or Member(record.member).run_agent_of)
        and not desk.barred(each, who)
    ]


def _retry(record: Remediation, now: datetime) -> tuple[str, str] | None:
    """From when on a retry is worth it, and from when on surely; None where that is long past or nothing is granted."""
    granted = datetime.fromisoformat(record.updated)
    if record.state is not State.GRANTED or now - granted > 2 * RETRY_SURELY:
        return None
    return (granted + RETRY_AFTER).isoformat(), (granted + RETRY_SURELY).isoformat()


def approve(desk: Desk, ident: str, request: flask.Request, who: str) -> Answer:
    """Grant it, as it was shown."""
    form = request.form

    def word() -> Remediation:
        lasts = duration(form.get("lasts", ""))
        note, content = typed(form, "reason"), form.get("content", "")
        declared = form.get("not_mine") == "yes"
        return desk.remediator.approve(
            ident, actor=who, note=note, lasts=lasts, content=content, not_mine=declared
        ).remediation

    return _said(desk, ident, request, who, word)


def reject(desk: Desk, ident: str, request: flask.Request, who: str) -> Answer:
    """Decline it."""
    return _said(desk, ident, request, who, lambda: desk.remediator.reject(ident, actor=who, note=_why(request)))


def revoke(desk: Desk, ident: str, request: flask.Request, who: str) -> Answer:
    """Take away what was granted."""
    return _said(desk, ident, request, who, lambda: desk.remediator.revoke(ident, actor=who, note=_why(request)))


def _why(request: flask.Request) -> str:
    reason = typed(request.form, "reason")
    if not reason:
        raise BadInput("Say why: the reason stands on the trail.")
    return reason


def _said(desk: Desk, ident: str, request: flask.Request, who: str, word: Callable[[], Remediation]) -> Answer:
    """Carry out somebody's word and show what became of it; or the page again, with what they typed, and why not."""
    try:
        return Elsewhere(f"/r/{word().id}")
    except Stale:
        values = {name: typed(request.form, name) for name in ("reason", "lasts")}
        return proposal(desk, ident, who, Said(_STALE, _READ_AGAIN, 409), values)
    except (Refused, BadInput, TerminalFault) as error:
        values = {name: typed(request.form, name) for name in ("reason", "lasts")}
        return proposal(desk, ident, who, Said(str(error), error.advice, 409), values)
    except TransientFault as fault:
        values = {name: typed(request.form, name) for name in ("reason", "lasts")}
        advice = "Nothing is lost: say it again in a moment. What was begun is finished by itself."
        return proposal(desk, ident, who, Said(str(fault), advice, 503), values)


_STALE = "It is not what you saw any more, so nothing was done."
_READ_AGAIN = "This page shows it as it is now: read it, and say it again."
