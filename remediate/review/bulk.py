"""Bulk approval and rejection, and the result that the inbox shows afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import flask
import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from remediate.errors import BadInput, LedgerFault, RemediateError
from remediate.records.approval_count import approvals_text
from remediate.records.gathering import group_named
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.records.transitions import unmet_partners, words_of_google
from remediate.review.context import Answer, PageContext, Redirect, typed_text
from remediate.review.formatting import member_label, parse_duration
from remediate.times import RETRY_AFTER, parse_time

_MAX_ITEMS = 50  # items in one request, as many as an inbox page shows
_MAX_LENGTH = 2500  # characters of a result in an address; gunicorn cuts addresses at 4,094
_SHOWN_FOR = timedelta(minutes=15)  # the inbox ignores an older result
_INVALID = "The result in this address is no longer valid. The list below is current."


def bulk_approve(context: PageContext, request: flask.Request, who: str, signer: URLSafeSerializer) -> Answer:
    """Approve each selected proposal as shown, with the same duration and reason."""
    declared = request.form.get("not_mine") == "yes"
    asked = context.remediator.read_back(
        _readable_records(context, [ident for ident, _, _ in _selected_items(request)]), who
    )

    def decide(ident: str, content: str) -> Remediation:
        max_duration, note = parse_duration(request.form.get("lasts", "")), typed_text(request.form, "reason")
        return context.remediator.approve(
            ident, actor=who, note=note, max_duration=max_duration, content=content, not_mine=declared, asked=asked
        ).remediation

    return _apply_to_selected(context, request, who, signer, "approved", decide)


def bulk_reject(context: PageContext, request: flask.Request, who: str, signer: URLSafeSerializer) -> Answer:
    """Reject each selected proposal with the same reason."""

    def decide(ident: str, _: str) -> Remediation:
        note = typed_text(request.form, "reason")
        if not note:
            raise BadInput("Enter a reason: it is recorded in the audit trail.")
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
    """Call `decide` for each item (`ID@CONTENT`), and redirect to the same list with the result."""
    decided: list[Remediation | tuple[str, str, str]] = []
    for ident, _, content in _selected_items(request):
        try:
            decided.append(decide(ident, content))
        except RemediateError as error:
            decided.append((ident[:20], "", str(error)[:160]))
    made = context.remediator.outcome([each for each in decided if isinstance(each, Remediation)])
    outcomes = {each.id: (each.id, str(each.state), _outcome_text(context, each)) for each in made}
    results = [outcomes[each.id] if isinstance(each, Remediation) else each for each in decided]
    at = context.now().isoformat()
    text = str(signer.dumps([who, at, results, verb]))
    if len(text) > _MAX_LENGTH:
        text = str(signer.dumps([who, at, [(ident, state, "") for ident, state, _ in results], verb]))
    group = group_named(request.form.get("gathered", ""))
    return Redirect(f"/?{f'gathered={group.name}&' if group else ''}result={text}")


def _selected_items(request: flask.Request) -> list[tuple[str, str, str]]:
    """The selected items: each as id, `@` and the digest of the content that the page showed."""
    return [item.partition("@") for item in dict.fromkeys(request.form.getlist("item")[:_MAX_ITEMS])]


def _readable_records(context: PageContext, idents: list[str]) -> list[Remediation]:
    """The readable records; the approval of each unreadable one reports its fault."""
    found = []
    for ident in idents:
        with suppress(RemediateError):
            record = context.ledger.get(ident)
            found += [record] if record else []
    return found


def _outcome_text(context: PageContext, done: Remediation) -> str:
    """The member; or the missing approvals, or the error from Google Cloud."""
    if done.state is State.PROPOSED:
        return approvals_text(done.lifecycle.approvals)[:160]
    google = words_of_google(done, list(context.ledger.trail(done.id))) if done.state is State.FAILED else ""
    return google[:160] or member_label(done.member)[:80]


class BulkResult(msgspec.Struct, frozen=True):
    """Result of a bulk decision: id, state (empty: nothing changed) and a short text for each item."""

    items: list[tuple[str, str, str]]
    retry_from: str | None = None
    """When to retry the deploys; None when all of them still lack a grant."""
    still_needed: tuple[Remediation, ...] = ()
    """Other grants that the same deploys need and do not have."""
    verb: str = "approved"
    """`approved` or `rejected`."""

    @property
    def done(self) -> int:
        """How many items are decided; a first approval of two does not count."""
        return sum(state not in ("", State.PROPOSED) for _, state, _ in self.items)


def bulk_result(context: PageContext, text: str, who: str, signer: URLSafeSerializer) -> BulkResult | str:
    """Decode the result in the address; a text (the reason, or empty) when there is none to show to this person."""
    if not text:
        return ""
    try:
        recipient, at, items, *verb = signer.loads(text)
        since = parse_time(at)
    except (BadSignature, ValueError, TypeError):
        return _INVALID
    if recipient != who:
        return _INVALID
    if context.now() - since > _SHOWN_FOR:
        return ""
    try:
        retry, absent = _retry_outlook(context, items, since)
    except LedgerFault:  # the grants are still reported; the time for a retry is unknown
        retry, absent = None, ()
    return BulkResult([tuple(item) for item in items], retry, absent, *verb)


def _retry_outlook(
    context: PageContext, items: list[tuple[str, str, str]], since: datetime
) -> tuple[str | None, tuple[Remediation, ...]]:
    """When to retry the deploys, and the grants that they still lack."""
    granted = [record for ident, state, _ in items if state == State.GRANTED and (record := context.ledger.get(ident))]
    absent: dict[str, Remediation] = {}
    through = False
    for record in granted:
        others = unmet_partners(record, filter(None, map(context.ledger.get, record.tally.partners)))
        absent |= {each.id: each for each in others}
        through = through or not others
    retry = (since + RETRY_AFTER).isoformat() if through else None
    return retry, tuple(absent.values())
