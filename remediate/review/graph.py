"""Builds a graph from remediations: deploying projects, repositories, and one edge per kind between two nodes.

Pure and deterministic. Above the size limit, repositories are combined by project first; then the nodes with the
fewest remediations are combined into one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from remediate.iam.repository import Repository
from remediate.records.remediation import Remediation
from remediate.records.states import State

MOST = 40  # nodes on a side
UNKNOWN, OTHERS = "?", "*"
"""Keys of the unknown project, and of the node that combines all others."""


class EdgeKind(StrEnum):
    """The kind of an edge between a deploying project and a repository."""

    GRANTED = "granted"
    OPEN = "open"
    REFUSED = "refused"
    OVER = "over"


EDGE_STATES = {
    EdgeKind.GRANTED: (State.GRANTED,),
    EdgeKind.OPEN: (State.PROPOSED, State.APPROVED, State.FAILED),
    EdgeKind.REFUSED: (State.REFUSED, State.REJECTED),
    EdgeKind.OVER: (State.REVOKED, State.EXPIRED, State.REMOVED, State.LAPSED),
}
"""The states of each kind of edge; every state belongs to one kind."""
_KIND_OF_STATE = {state: kind for kind, states in EDGE_STATES.items() for state in states}


class Node(msgspec.Struct, frozen=True):
    """A deploying project, a repository, or several combined. `key`: id, number or resource name."""

    key: str
    title: str
    subtitle: str
    gathered: int = 0
    """How many it combines; 0 for a single one."""


class Edge(msgspec.Struct, frozen=True, order=True):
    """The number of remediations of one kind between two nodes."""

    left: str
    right: str
    kind: EdgeKind
    count: int


class Graph(msgspec.Struct, frozen=True):
    """Nodes in drawing order, and the edges between them."""

    left: tuple[Node, ...]
    right: tuple[Node, ...]
    edges: tuple[Edge, ...]


def build_graph(records: Iterable[Remediation], most: int = MOST) -> Graph:
    """Build the graph of these records, with at most `most` nodes on a side."""
    pairs: Counter[tuple[str, str, EdgeKind]] = Counter()
    for record in records:
        for project in {each.project or each.number or UNKNOWN for each in record.tally.deploys} or {UNKNOWN}:
            pairs[project, record.repository, _KIND_OF_STATE[record.state]] += 1
    repositories = {right for _, right, _ in pairs}
    if len(repositories) > most:
        pairs = _with_ends(pairs, lambda left, right: (left, _holding_project(right)))
    lefts, rights = _busiest_keys(pairs, 0, most), _busiest_keys(pairs, 1, most)
    gathered = _with_ends(
        pairs, lambda left, right: (left if left in lefts else OTHERS, right if right in rights else OTHERS)
    )
    return _order_nodes(gathered, repositories, len({left for left, _, _ in pairs} - lefts))


def _holding_project(repository: str) -> str:
    named = Repository.parse(repository)
    return f"projects/{named.project}" if named else repository


def _with_ends(
    pairs: Counter[tuple[str, str, EdgeKind]], ends: Callable[[str, str], tuple[str, str]]
) -> Counter[tuple[str, str, EdgeKind]]:
    renamed: Counter[tuple[str, str, EdgeKind]] = Counter()
    for (left, right, kind), count in pairs.items():
        renamed[(*ends(left, right), kind)] += count
    return renamed


def _busiest_keys(pairs: Counter[tuple[str, str, EdgeKind]], side: int, most: int) -> set[str]:
    """The keys on a side that keep their own node; all of them when they fit."""
    weights: Counter[str] = Counter()
    for ends, count in pairs.items():
        weights[ends[side]] += count
    ranked = sorted(weights, key=lambda name: (-weights[name], name))
    return set(ranked if len(ranked) <= most else ranked[: most - 1])


def _order_nodes(pairs: Counter[tuple[str, str, EdgeKind]], repositories: set[str], others: int) -> Graph:
    """Order the right side by name, which keeps a project's repositories together; the left side close to its edges."""
    right_keys = sorted({right for _, right, _ in pairs}, key=lambda key: (key == OTHERS, key))
    height = {key: place for place, key in enumerate(right_keys)}
    reads: defaultdict[str, list[int]] = defaultdict(list)
    for left, right, _ in pairs:
        reads[left].append(height[right])
    left_keys = sorted(reads, key=lambda key: (key == OTHERS, sum(reads[key]) / len(reads[key]), key))
    counts_by_kind: defaultdict[str, Counter[EdgeKind]] = defaultdict(Counter)
    for (left, _, kind), count in pairs.items():
        counts_by_kind[left][kind] += count
    edges = sorted(Edge(left, right, kind, count) for (left, right, kind), count in pairs.items())
    held = Counter(_holding_project(each) for each in repositories)
    return Graph(
        tuple(_project_node(key, others, counts_by_kind[key]) for key in left_keys),
        tuple(_repository_node(key, held) for key in right_keys),
        tuple(edges),
    )


EDGE_LABELS = {
    EdgeKind.GRANTED: "granted",
    EdgeKind.OPEN: "open",
    EdgeKind.REFUSED: "refused or rejected",
    EdgeKind.OVER: "ended",
}
"""The label of each kind of edge."""


def _project_node(key: str, others: int, counts_by_kind: Counter[EdgeKind]) -> Node:
    subtitle = " · ".join(
        f"{counts_by_kind[kind]:,} {word.partition(' ')[0]}"
        for kind, word in EDGE_LABELS.items()
        if counts_by_kind[kind]
    )
    if key == OTHERS:
        return Node(key, f"{others:,} more projects", subtitle, others)
    return Node(key, "unknown" if key == UNKNOWN else key, subtitle)


def _repository_node(key: str, held: Counter[str]) -> Node:
    if key == OTHERS:
        return Node(key, "all other projects", "fewest remediations", 1)
    named = Repository.parse(key)
    if named:
        return Node(key, named.name, f"{named.project} · {named.location}")
    count = held[key]
    return Node(key, key.removeprefix("projects/"), f"{count} repositor{'y' if count == 1 else 'ies'}", count)
