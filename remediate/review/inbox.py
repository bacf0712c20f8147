"""The inbox page: open proposals, earliest deadline first; search by words, project, repository, member and state.

A flood of denials has one row per project and hour, which links to all of them; a search finds each one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import flask
import msgspec
from itsdangerous import URLSafeSerializer

from remediate.ledger.interface import Cursor, Filter
from remediate.records.approval_count import approvals_text
from remediate.records.digests import content_digest
from remediate.records.gathering import Group, group_named
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.review.bulk import bulk_result
from remediate.review.context import HtmlPage, PageContext, format_mark, parse_mark, typed_text
from remediate.review.formatting import deploy_label, member_label, repository_label
from remediate.service.testimony import Testimony, naming

PAGE = 50  # remediations on one page
_COUNT_LIMIT = 1_000  # the highest count that is shown
_MAX_WORDS = 8  # of a search
_MAX_GROUPS = 20  # rows of floods
_FIELDS = ("q", "project", "repository", "member")
_ALWAYS_OFFERED = (State.PROPOSED, State.GRANTED)  # tabs that are shown even when empty


class Row(msgspec.Struct, frozen=True):
    """One line of the inbox."""

    record: Remediation
    content: str
    deadline: str
    barred: str
    who: str
    where: str
    what: str
    waiting: str
    """The approvals so far and who is missing; empty when no approval waits."""


class GroupRow(msgspec.Struct, frozen=True):
    """One row for all remediations of a project beyond the hourly limit."""

    group: Group
    count: str
    path: str


def inbox_page(context: PageContext, request: flask.Request, who: str, signer: URLSafeSerializer) -> HtmlPage:
    """The inbox page for this request."""
    args = request.args
    wanted = args.get("state") or State.PROPOSED.value
    fields = {name: typed_text(args, name) for name in _FIELDS}
    problem = ""
    if wanted != "all" and wanted not in list(State):
        problem = f"state {wanted[:40]!r}: expected all or one of {', '.join(State)}"
        wanted = State.PROPOSED.value
    group = group_named(args.get("gathered", ""))
    if group is None and args.get("gathered"):
        problem = f"gathered {args['gathered'][:40]!r}: expected HOUR/PROJECT, as in 2026-11-23T12/shop-frontend"
    states = () if wanted == "all" else (State(wanted),)
    typed_words = tuple(fields["q"].split())
    words = typed_words[:_MAX_WORDS]
    searched = any(fields.values())
    sought = Filter(
        states, fields["repository"] or None, fields["member"] or None, fields["project"] or None, words,
        gathered=group.name if group else None if searched else "",
    )  # fmt: skip
    waiting = wanted == State.PROPOSED
    page = context.ledger.page(sought, limit=PAGE, after=parse_mark(args.get("after", "")), longest_waiting=waiting)
    own = {"gathered": group.name} if group else {}
    kept = {name: value for name, value in {**fields, "state": wanted}.items() if value} | own
    first = not args.get("after")
    after = ""
    if page.more:
        last = page.records[-1]
        after = urlencode(
            kept | {"after": format_mark(Cursor(last.lifecycle.updated if waiting else last.tally.last_seen, last.id))}
        )
    counts = context.ledger.counts(most=_COUNT_LIMIT)
    # Only records that name this person as deployer need a check in the log: one look-up for the page.
    named = [each for each in page.records if each.state is State.PROPOSED and naming(each, who)]
    asked = context.remediator.read_back(named, who) if named else None
    rows = [_row(context, each, who, asked) for each in page.records]
    groups = [] if group or searched or not first else _group_rows(context, states, wanted)
    return HtmlPage(
        "inbox.html",
        {
            "rows": rows,
            "mine": any(row.record.state is State.PROPOSED and not row.barred for row in rows),
            "wanted": wanted,
            "fields": fields,
            "filtered": searched or group is not None,
            "group": group,
            "groups": groups,
            "more_groups": len(groups) == _MAX_GROUPS,
            "limit": context.limits.proposals_an_hour,
            "tabs": _tabs(wanted, {name: value for name, value in fields.items() if value}, counts),
            "total": "" if searched or group else _count_text(counts, states or tuple(State)),
            "first": first,
            "here": urlencode(kept),
            "everywhere": urlencode(kept | {"state": "all"}),
            "after": after,
            "looked_at": page.looked_at,
            "damaged": [str(fault) for fault in page.damaged],
            "selected": args.get("select") == "all",
            "result": bulk_result(context, args.get("result", ""), who, signer),
            "problem": problem,
            "cut": len(typed_words) > _MAX_WORDS,
        },
        400 if problem else 200,
    )


def _row(context: PageContext, record: Remediation, who: str, asked: Testimony | None) -> Row:
    barred = context.why_barred(record, who, asked=asked) if record.state is State.PROPOSED else ""
    return Row(
        record=record,
        content=content_digest(record),
        deadline=context.deadline(record),
        barred=barred,
        who=member_label(record.member),
        where=repository_label(record.repository),
        what=deploy_label(record),
        waiting=approvals_text(record.lifecycle.approvals) if record.state is State.PROPOSED else "",
    )


def _group_rows(context: PageContext, states: tuple[State, ...], wanted: str) -> list[GroupRow]:
    """A row for each flood with remediations in these states, the latest hour first."""
    found = context.ledger.groups(states[0] if states else None, limit=_MAX_GROUPS, most=_COUNT_LIMIT)
    return [
        GroupRow(group, _capped(count), "/?" + urlencode({"state": wanted, "gathered": name}))
        for name, count in found.items()
        if (group := group_named(name))
    ]


def _capped(count: int) -> str:
    return f"{min(count, _COUNT_LIMIT):,}{'+' if count > _COUNT_LIMIT else ''}"


def _count_text(counts: Mapping[State, int], states: Sequence[State]) -> str:
    """The number of remediations in these states, capped."""
    more = any(counts.get(state, 0) > _COUNT_LIMIT for state in states)
    return f"{sum(min(counts.get(state, 0), _COUNT_LIMIT) for state in states):,}{'+' if more else ''}"


def _tabs(wanted: str, kept: dict[str, str], counts: Mapping[State, int]) -> list[tuple[str, str, str, bool]]:
    """Name, address and count of each tab, and whether it is the current one."""
    shown = [state for state in State if counts.get(state) or state in _ALWAYS_OFFERED or state == wanted]
    tabs = [
        (str(state), "/?" + urlencode(kept | {"state": str(state)}), _count_text(counts, (state,)), state == wanted)
        for state in shown
    ]
    return [
        *tabs,
        ("all", "/?" + urlencode(kept | {"state": "all"}), _count_text(counts, tuple(State)), wanted == "all"),
    ]
