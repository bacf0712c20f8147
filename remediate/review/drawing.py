"""Computes the layout of the graph and of the chart over time: numbers and short texts, no markup.

Pure. The templates write the SVG, so that names are escaped in the same place as all other text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from remediate.records.remediation import TrailRecord
from remediate.records.states import State
from remediate.review.graph import EdgeKind, Graph, Node
from remediate.times import parse_time

WIDTH = 820
_BOX, _ROW, _GAP = 270, 40, 8  # a node's width and height, and the space below it
_LONGEST = 33  # characters of a name that fit into a node
_SPREAD = 7  # between edges of different kinds with the same two nodes
_STEPS = 400  # horizontal positions in the chart; a finer line is not visible
_PLOT = (44, 12, 810, 132)  # left, top, right, bottom


class Box(msgspec.Struct, frozen=True):
    """Layout of a node."""

    node: Node
    x: int
    y: int
    title: str
    subtitle: str


class Curve(msgspec.Struct, frozen=True):
    """Layout of an edge, from a project to a repository."""

    path: str
    kind: EdgeKind
    count: int
    width: float
    left: Node
    right: Node


class Drawing(msgspec.Struct, frozen=True):
    """Layout of a graph."""

    width: int
    height: int
    box: tuple[int, int]
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]


def draw_graph(graph: Graph) -> Drawing:
    """Lay out the graph in two columns."""
    rows = max(len(graph.left), len(graph.right), 1)
    height = rows * (_ROW + _GAP) + _GAP
    left, right = _place_column(graph.left, 0, height), _place_column(graph.right, WIDTH - _BOX, height)
    places = {("left", each.node.key): each for each in left} | {("right", each.node.key): each for each in right}
    kinds = list(EdgeKind)
    curves = []
    for edge in graph.edges:
        one, two = places["left", edge.left], places["right", edge.right]
        shift = (kinds.index(edge.kind) - 1) * _SPREAD
        x1, y1 = one.x + _BOX, one.y + _ROW // 2 + shift
        x2, y2 = two.x, two.y + _ROW // 2 + shift
        bend = (x2 - x1) // 2
        path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
        width = 1.5 if edge.count == 1 else min(5.0, 1.5 + len(str(edge.count)))
        curves.append(Curve(path, edge.kind, edge.count, width, one.node, two.node))
    return Drawing(WIDTH, height, (_BOX, _ROW), (*left, *right), tuple(curves))


def _place_column(nodes: Sequence[Node], x: int, height: int) -> list[Box]:
    """Lay out the nodes of one side, vertically centered."""
    top = (height - len(nodes) * (_ROW + _GAP) + _GAP) // 2
    return [
        Box(node, x, top + place * (_ROW + _GAP), _shorten(node.title), _shorten(node.subtitle, _LONGEST + 6))
        for place, node in enumerate(nodes)
    ]


def _shorten(text: str, longest: int = _LONGEST) -> str:
    """Cut a name to fit; drop its middle, because both ends distinguish names."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


class Standing(msgspec.Struct, frozen=True):
    """The number of active grants from a moment on."""

    at: datetime
    count: int


class Tick(msgspec.Struct, frozen=True):
    """A label on an axis."""

    place: int
    label: str


class Plot(msgspec.Struct, frozen=True):
    """Layout of the chart of grants over time."""

    width: int
    height: int
    frame: tuple[int, int, int, int]
    path: str
    days: tuple[Tick, ...]
    counts: tuple[Tick, ...]


class Day(msgspec.Struct, frozen=True):
    """Grants made and ended on one day, and the active grants at its end."""

    date: str
    granted: int
    ended: int
    standing: int


def standing(now: datetime, count: int, steps: Iterable[TrailRecord]) -> list[Standing]:
    """Active grants over time, oldest first: counted back from `count` now, through the steps (newest first)."""
    found = [Standing(now, count)]
    for step in steps:
        if change := _count_change(step):
            found.append(Standing(parse_time(step.at), count))
            count = max(0, count - change)
    if len(found) > 1:
        found.append(Standing(found[-1].at, count))
    return found[::-1]


def _count_change(step: TrailRecord) -> int:
    return (step.after is State.GRANTED) - (step.before is State.GRANTED)


def days(line: Sequence[Standing], steps: Iterable[TrailRecord]) -> list[Day]:
    """The days with grants made or ended, newest first."""
    granted: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for step in steps:
        granted[step.at[:10]] += _count_change(step) > 0
        ended[step.at[:10]] += _count_change(step) < 0
    last = {f"{each.at.astimezone(UTC):%Y-%m-%d}": each.count for each in line}
    changed = sorted((date for date in last if granted[date] or ended[date]), reverse=True)
    return [Day(date, granted[date], ended[date], last[date]) for date in changed]


def plot_grants(line: Sequence[Standing]) -> Plot | None:
    """Lay out the chart as steps; None when there is no change to show."""
    if len(line) < 2:
        return None
    left, top, right, bottom = _PLOT
    first, last = line[0].at, line[-1].at
    length = max((last - first).total_seconds(), 1.0)
    most = _axis_end(max(each.count for each in line))

    def x(at: datetime) -> int:
        return left + round((at - first).total_seconds() / length * (right - left))

    def y(count: int) -> int:
        return bottom - round(count / most * (bottom - top))

    seen: dict[int, int] = {}  # the last count at each position
    for each in line:
        seen[round(x(each.at) * _STEPS / WIDTH)] = each.count
    path = f"M{left} {y(line[0].count)}"
    for place, count in seen.items():
        path += f"H{min(right, max(left, round(place * WIDTH / _STEPS)))}V{y(count)}"
    path += f"H{right}"
    dates = [first + timedelta(seconds=length * part / 4) for part in range(5)]
    short = length < 3 * 86400
    ticks = tuple(Tick(x(at), f"{at.astimezone(UTC):{'%d %b %H:%M' if short else '%d %b %Y'}}") for at in dates)
    counts = tuple(Tick(y(count), f"{count:,}") for count in sorted({0, most // 2, most}))
    return Plot(WIDTH, bottom + 30, _PLOT, path, ticks, counts)


def _axis_end(number: int) -> int:
    """The next round even number, as the end of an axis."""
    size = 1
    while True:
        for step in (2, 4, 6, 8):
            if step * size >= number:
                return step * size
        size *= 10
