"""Several approvals or rejections in one go, and what became of them, told on the inbox that it leads back to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import flask
import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from remediate.errors import BadInput, LedgerFault, RemediateError
from remediate.records.approval_count import told as approvals_text
from remediate.records.gathering import group_named
from remediate.records.remediation import Remediation, State
from remediate.records.transitions import google_said, lacking
from remediate.review.context import Answer, PageContext, Redirect, typed_text
from remediate.review.formatting import RETRY_AFTER, member_label, parse_duration

_MAX_ITEMS = 50  # words in one go, as many as an inbox shows
_MAX_LENGTH = 2500  # characters of what an address tells; gunicorn cuts addresses at 4,094
_SHOWN_FOR = timedelta(minutes=15)  # after that an address tells nothing any more
_INVALID = "What was told here is no longer known; the list below is as it stands."


def bulk_approve(context: PageContext, request: flask.Request, who: str, signer: URLSafeSerializer) -> Answer:
    """Approve each one as it was shown, all for the same time and reason."""

    declared = request.form.get("not_mine") == "yes"
    asked = context.remediator.read_back(
        _readable_records(context, [ident for ident, _, _ in _selected_items(request)]), who
    )

    def decide(ident: str, content: str) -> Remediation:
        lasts, note = parse_duration(request.form.get("lasts", "")), typed_text(request.form, "reason")
        return context.remediator.approve(
            ident, actor=who, note=note, lasts=lasts, content=content, not_mine=declared, asked=asked
        ).remediation

    return _apply_to_selected(context, request, who, signer, "approved", decide)


def bulk_reject(context: PageContext, request: flask.Request, who: str, signer: URLSafeSerializer) -> Answer:
    """Reject each one, all for the same reason."""

    def decide(ident: str, _: str) -> Remediation:
        note = typed_text(request.form, "reason")
        if not note:
            raise BadInput("Say why: the reason is recorded in the audit trail.")
        return context.remediator.reject(ident, actor=who, note=note)

    return _apply_to_selected(context, request, who, signer, "rejected", decide)


def _apply_to_selected(
    context: PageContext,
    request: flask.Request,
    who: str,
    signer: URLSafeSerializer,
    verb: str,
    decide: Callable[[str, str], Remediation],
) -> Answer:
    """Carry the word out for each item (`ID@CONTENT`), and lead back to the list that it was said on."""
    results = []
    for ident, _, content in _selected_items(request):
        try:
            done = decide(ident, content)
            results.append((done.id, str(done.state), _outcome_text(context, done)))
        except RemediateError as error:
            results.append((ident[:20], "", str(error)[:160]))
    at = context.now().isoformat()
    text = str(signer.dumps([who, at, results, verb]))
    if len(text) > _MAX_LENGTH:
        text = str(signer.dumps([who, at, [(ident, state, "") for ident, state, _ in results], verb]))
    group = group_named(request.form.get("gathered", ""))
    return Redirect(f"/?{f'gathered={group.name}&' if group else ''}result={text}")


def _selected_items(request: flask.Request) -> list[tuple[str, str, str]]:
    """What was selected, each as id, `@` and the digest of what was shown."""
    return [item.partition("@") for item in dict.fromkeys(request.form.getlist("item")[:_MAX_ITEMS])]


def _readable_records(context: PageContext, idents: list[str]) -> list[Remediation]:
    """The records that can be read; what is wrong with the others is told where each is approved."""
    found = []
    for ident in idents:
        with suppress(RemediateError):
            record = context.ledger.get(ident)
            found += [record] if record else []
    return found


def _outcome_text(context: PageContext, done: Remediation) -> str:
    """Whose it is; or how many approvals are missing, or what Google Cloud said."""
    if done.state is State.PROPOSED:
        return approvals_text(done.approvals)[:160]
    google = google_said(done, list(context.ledger.trail(done.id))) if done.state is State.FAILED else ""
    return google[:160] or member_label(done.member)[:80]


class BulkResult(msgspec.Struct, frozen=True):
    """What became of words that were just said: id, state (empty: nothing was done) and a word about each."""

    items: list[tuple[str, str, str]]
    retry_from: str | None = None
    """From when on a retry of the deploys is worth it; None where none of them would get through."""
    still_needed: tuple[Remediation, ...] = ()
    """What deploys behind them need besides, and is not granted."""
    verb: str = "approved"
    """`approved` or `rejected`."""

    @property
    def done(self) -> int:
        """How many the word was carried out for; a first approval of two is none yet."""
        return sum(state not in ("", State.PROPOSED) for _, state, _ in self.items)


def bulk_result(context: PageContext, text: str, who: str, signer: URLSafeSerializer) -> BulkResult | str:
    """What the address tells; a text where it tells nothing that we said to this person just now, and why."""
    if not text:
        return ""
    try:
        said_to, at, items, *verb = signer.loads(text)
        since = datetime.fromisoformat(at)
    except (BadSignature, ValueError, TypeError):
        return _INVALID
    if said_to != who:
        return _INVALID
    if context.now() - since > _SHOWN_FOR:
        return ""
    try:
        retry, absent = _retry_outlook(context, items, since)
    except LedgerFault:  # what was granted is granted, and told; whether a retry is worth it is not known
        retry, absent = None, ()
    return BulkResult([tuple(item) for item in items], retry, absent, *verb)


def _retry_outlook(
    context: PageContext, items: list[tuple[str, str, str]], since: datetime
) -> tuple[str | None, tuple[Remediation, ...]]:
    """From when on a retry is worth it, and what the deploys lack besides."""
    granted = [record for ident, state, _ in items if state == State.GRANTED and (record := context.ledger.get(ident))]
    absent: dict[str, Remediation] = {}
    through = False
    for record in granted:
        others = lacking(record, filter(None, map(context.ledger.get, record.partners)))
        absent |= {each.id: each for each in others}
        through = through or not others
    retry = (since + RETRY_AFTER).isoformat() if through else None
    return retry, tuple(absent.values())
