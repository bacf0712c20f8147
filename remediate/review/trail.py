"""The audit trail page: every transition, newest first, with filters; as a page, as CSV, as JSON."""

from __future__ import annotations

from urllib.parse import urlencode

import flask
import msgspec

from remediate.decisions.policy import Outcome
from remediate.errors import BadInput
from remediate.ledger.interface import Cursor, TrailFilter, TrailPage
from remediate.presentation.plaintext import csv_text, json_text
from remediate.records.remediation import TrailRecord
from remediate.records.states import State
from remediate.review.context import Answer, Attachment, HtmlPage, PageContext, format_mark, parse_mark, typed_text
from remediate.review.formatting import parse_moment
from remediate.times import to_rfc3339

PAGE = 100  # transitions on one page
_FIELDS = ("since", "until", "actor", "repository", "member", "project", "outcome", "state")
_COLUMNS = (
    "at", "remediation", "seq", "before", "after", "actor", "member", "repository", "outcome", "rule", "reasons",
    "note", "hash",
)  # fmt: skip


def trail_page(context: PageContext, request: flask.Request) -> Answer:
    """The audit trail page for this request, or the same transitions as a file."""
    args = request.args
    fields = {name: typed_text(args, name) for name in _FIELDS}
    problem, page, wanted = "", TrailPage([], more=False), TrailFilter()
    try:
        wanted = _trail_filter(fields, context)
        page = context.ledger.steps(wanted, limit=PAGE, before=parse_mark(args.get("before", "")))
    except BadInput as error:
        problem = str(error)
    kept = {name: value for name, value in fields.items() if value}
    match args.get("format"):
        case "json" if not problem:
            return Attachment("trail.json", json_text(page.steps), "application/json")
        case "csv" if not problem:
            return Attachment("trail.csv", csv_text(_COLUMNS, map(_csv_cells, page.steps)), "text/csv; charset=utf-8")
    last = page.steps[-1] if page.more else None
    older = format_mark(Cursor(last.at, last.remediation, last.seq)) if last else ""
    return HtmlPage(
        "trail.html",
        {
            "steps": page.steps,
            "fields": fields,
            "filtered": bool(kept),
            "outcomes": [each for each in Outcome if each is not Outcome.IGNORE],
            "states": list(State),
            "here": urlencode(kept | _pinning_fields(wanted, page)),
            "older": urlencode(kept | {"before": older}) if older else "",
            "newest": urlencode(kept),
            "first": not args.get("before"),
            "looked_at": page.looked_at,
            "damaged": [str(fault) for fault in page.damaged],
            "problem": problem,
        },
        400 if problem else 200,
    )


def _pinning_fields(wanted: TrailFilter, page: TrailPage) -> dict[str, str]:
    """Extra fields that pin an address to these transitions, so that later ones do not change a download."""
    times = {name: text for name, text in (("since", wanted.since), ("until", wanted.until)) if text}
    newest = page.steps[0] if page.steps else None
    # A mark selects what comes before it, so this one is just after the newest transition.
    return times | ({"before": format_mark(Cursor(newest.at, newest.remediation, newest.seq + 1))} if newest else {})


def _trail_filter(fields: dict[str, str], context: PageContext) -> TrailFilter:
    """Parse the filter fields. Raises BadInput with the field and the accepted values."""
    now = context.now()
    since, until = parse_moment("From", fields["since"], now), parse_moment("Before", fields["until"], now)
    outcome, state = fields["outcome"], fields["state"]
    if outcome and outcome not in list(Outcome):
        raise BadInput(f"Decision: {outcome!r}: expected one of {', '.join(Outcome)}")
    if state and state not in list(State):
        raise BadInput(f"Became: {state!r}: expected one of {', '.join(State)}")
    return TrailFilter(
        since=to_rfc3339(since) if since else None,
        until=to_rfc3339(until) if until else None,
        actor=fields["actor"] or None,
        repository=fields["repository"] or None,
        member=fields["member"] or None,
        project=fields["project"] or None,
        outcome=Outcome(outcome) if outcome else None,
        states=(State(state),) if state else (),
    )


def _csv_cells(step: TrailRecord) -> tuple[object, ...]:
    outcome = "" if step.outcome is msgspec.UNSET else step.outcome
    rule = "" if step.rule is msgspec.UNSET else step.rule
    return (
        step.at, step.remediation, step.seq, step.before, step.after, step.actor, step.member, step.repository, outcome,
        rule, " ".join(step.reasons), step.note, step.hash,
    )  # fmt: skip
