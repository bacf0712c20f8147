"""The map page: which project reads which repository, and active grants over time, as drawings and as tables."""

from __future__ import annotations

from urllib.parse import urlencode

import flask
import msgspec

from remediate.entries.denial import Deploy
from remediate.iam.repository import Repository
from remediate.ledger.interface import Filter, TrailFilter
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.review.context import HtmlPage, PageContext, typed_text
from remediate.review.drawing import days, draw_graph, plot_grants, standing
from remediate.review.graph import EDGE_LABELS, EDGE_STATES, OTHERS, UNKNOWN, Edge, EdgeKind, Graph, Node, build_graph

_LOOKED_AT = 2_000  # remediations in the graph, and transitions in the chart over time
_ROWS = 200  # of the table
_FIELDS = ("project", "repository", "member")
_JUST = ("reads", "holds")
_CHANGES = (State.GRANTED, State.REVOKED, State.EXPIRED, State.REMOVED)
"""The states in which a transition makes or ends a grant."""


def map_page(context: PageContext, request: flask.Request) -> HtmlPage:
    """The map page for this request."""
    args = request.args
    fields = {name: typed_text(args, name) for name in _FIELDS}
    wanted = args.get("link", "")
    links = (EdgeKind(wanted),) if wanted in list(EdgeKind) else (EdgeKind.GRANTED, EdgeKind.OPEN, EdgeKind.REFUSED)
    states = tuple(state for link in links for state in EDGE_STATES[link])
    sought = Filter(states, fields["repository"] or None, fields["member"] or None, fields["project"] or None)
    page = context.ledger.page(sought, limit=_LOOKED_AT)
    just = args.get("just", "") if args.get("just") in _JUST else ""
    limited = (_limit_to_project(record, fields["project"], just) for record in page.records)
    graph = build_graph(record for record in limited if record)
    now = context.ledger.counts((State.GRANTED,))[State.GRANTED]
    steps = context.ledger.steps(TrailFilter(states=_CHANGES), limit=_LOOKED_AT)
    line = standing(context.now(), now, steps.steps)
    kept = {name: value for name, value in {**fields, "just": just}.items() if value}
    return HtmlPage(
        "map.html",
        {
            "drawing": draw_graph(graph) if graph.edges else None,
            "rows": _table_rows(graph),
            "lines": len(graph.edges),
            "changes": _LOOKED_AT,
            "kinds": list(EdgeKind),
            "labels": EDGE_LABELS,
            "shown": links,
            "wanted": wanted if wanted in list(EdgeKind) else "",
            "fields": fields,
            "just": just,
            "filtered": bool(kept or wanted),
            "found": len(page.records),
            "damaged": [str(fault) for fault in (*page.damaged, *steps.damaged)],
            "cut": page.more or page.looked_at is not None,
            "plot": plot_grants(line),
            "now": now,
            "days": days(line, steps.steps),
            "plot_cut": steps.more or steps.looked_at is not None,
            "node_address": lambda node, side: _node_address(node, side, kept, wanted),
            "edge_address": _edge_address,
        },
    )


def _limit_to_project(record: Remediation, project: str, just: str) -> Remediation | None:
    """Keep only the deploys of the requested project, so that the graph shows no other project.

    `just`: match the project exactly, as the one that `reads` or `holds` the repository; None when it does not match.
    """
    if just == "holds":
        held = Repository.parse(record.repository)
        return record if held and held.project == project else None
    if just == "reads":
        kept = tuple(each for each in record.tally.deploys if project in (each.project, each.number))
        return _with_deploys(record, kept) if kept else None
    part = project.casefold()
    kept = tuple(each for each in record.tally.deploys if part in (each.project or each.number or "").casefold())
    return _with_deploys(record, kept) if part and kept else record


def _with_deploys(record: Remediation, deploys: tuple[Deploy, ...]) -> Remediation:
    return msgspec.structs.replace(record, tally=msgspec.structs.replace(record.tally, deploys=deploys))


def _table_rows(graph: Graph) -> list[tuple[Edge, Node, Node]]:
    left, right = {node.key: node for node in graph.left}, {node.key: node for node in graph.right}
    return [(edge, left[edge.left], right[edge.right]) for edge in graph.edges[:_ROWS]]


def _node_address(node: Node, side: str, kept: dict[str, str], wanted: str) -> str:
    """Link of a node: its own map, the table for a combined node, none for an unknown project."""
    if node.key == OTHERS:
        return "#table"
    if node.key == UNKNOWN:
        return ""
    if side == "right" and not node.gathered:
        asked = {"repository": node.key}
    else:
        asked = {"project": node.key.removeprefix("projects/"), "just": "holds" if side == "right" else "reads"}
    return "/map?" + urlencode(kept | asked | ({"link": wanted} if wanted else {}))


def _edge_address(left: Node, right: Node, link: EdgeKind) -> str:
    """Link of an edge: the closest matching inbox list."""
    query = {} if left.key in (OTHERS, UNKNOWN) else {"project": left.key}
    if right.key != OTHERS and not right.gathered:
        query["repository"] = right.key
    state = "granted" if link is EdgeKind.GRANTED else "all"
    return "/?" + urlencode(query | {"state": state})
