"""Who reads what, as a graph and as a line over time: the same records, the same drawing, and nothing left out unsaid."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.entries.denial import Deploy
from remediate.records.lifecycle import transition
from remediate.records.remediation import TrailRecord
from remediate.records.states import State
from remediate.review.drawing import days, draw_graph, plot_grants, standing
from remediate.review.graph import EDGE_STATES, MOST, OTHERS, UNKNOWN, EdgeKind, build_graph
from remediate.times import to_rfc3339
from tests.records.changed import with_fields
from tests.review.records import NOON, record


def test_every_state_is_a_kind_of_line() -> None:
    assert sorted(state for states in EDGE_STATES.values() for state in states) == sorted(State)


def test_a_deploying_project_reads_a_repository() -> None:
    graph = build_graph([record("shop", "images/web"), record("shop", "images/web"), record("pay", "images/web", State.PROPOSED)])  # fmt: skip
    assert [(edge.left, edge.kind, edge.count) for edge in graph.edges] == [
        ("pay", EdgeKind.OPEN, 1),
        ("shop", EdgeKind.GRANTED, 2),
    ]
    assert [(node.title, node.subtitle) for node in graph.left] == [("pay", "1 open"), ("shop", "2 granted")]
    assert [(node.title, node.subtitle) for node in graph.right] == [("web", "images · us")]


def test_a_project_that_is_not_known_is_said_to_be() -> None:
    one, none = with_fields(record(), deploys=(Deploy(number="123"),)), with_fields(record(), deploys=())
    assert [node.title for node in build_graph([one, none]).left] == ["123", "unknown"]
    assert build_graph([none]).left[0].key == UNKNOWN


@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70), st.sampled_from(State)), max_size=120), st.randoms())
def test_order_changes_nothing_and_nobody_is_lost(drawn_: list[tuple[int, int, State]], random: Random) -> None:
    records = [record(f"p{p}", f"h{r % 9}/r{r}", state) for p, r, state in drawn_]
    graph = build_graph(records, most=12)
    random.shuffle(records)
    assert build_graph(records, most=12) == graph
    assert sum(edge.count for edge in graph.edges) == len(records)
    assert len(graph.left) <= 12
    assert len(graph.right) <= 12
    keys = {node.key for node in graph.left}, {node.key for node in graph.right}
    assert all(edge.left in keys[0] and edge.right in keys[1] for edge in graph.edges)


def test_five_hundred_projects_are_gathered_into_what_a_person_can_look_at() -> None:
    records = [record(f"team-{n}", f"registry-{n % 60}/r-{n % 90}") for n in range(500)]
    records += [record("team-7", f"registry-1/r-{n}") for n in range(30)]
    graph = build_graph(records)
    assert len(graph.left) == len(graph.right) == MOST
    assert graph.left[-1].title == f"{500 - MOST + 1} more projects"
    assert "team-7" in {node.key for node in graph.left}
    assert graph.right[-1].key == OTHERS
    assert all(node.subtitle.endswith(("repository", "repositories")) for node in graph.right[:-1])
    drawing = draw_graph(graph)
    assert all(box.y >= 0 and box.y + drawing.box[1] <= drawing.height for box in drawing.boxes)
    assert len({(box.x, box.y) for box in drawing.boxes}) == len(drawing.boxes)


def test_a_long_name_is_cut_in_its_middle_and_whole_beside_it() -> None:
    name = "r" + "x" * 50 + "end"
    box = draw_graph(build_graph([record(repository=f"images/{name}")])).boxes[1]
    assert box.title.startswith("rxx")
    assert box.title.endswith("xend")
    assert "…" in box.title
    assert box.node.title == name


def life() -> list[TrailRecord]:
    """Two grants and the end of one, a day apart, newest first."""
    steps = []
    for number in range(2):
        one = record(f"p{number}", state=State.APPROVED)
        granted, step = transition(one, State.GRANTED, actor="remediate", now=NOON - timedelta(days=3 - number))
        steps.append(step)
    _, over = transition(granted, State.REVOKED, actor="user:a@example.com", now=NOON - timedelta(days=1))
    return [over, *reversed(steps)]


def test_grants_are_counted_back_from_those_that_stand_now() -> None:
    line = standing(NOON, 1, life())
    assert [each.count for each in line] == [0, 1, 2, 1, 1]
    told = [(day.date[-2:], day.granted, day.ended, day.standing) for day in days(line, life())]
    assert told == [("24", 0, 1, 1), ("23", 1, 0, 2), ("22", 1, 0, 1)]


def test_the_line_has_steps_and_its_axis_reads_well() -> None:
    plot = plot_grants(standing(NOON, 1, life()))
    assert plot is not None
    assert [tick.label for tick in plot.counts] == ["0", "1", "2"]
    assert [tick.label for tick in plot.days][::4] == ["22 Nov 2026", "25 Nov 2026"]
    assert plot.path.startswith("M")
    assert "L" not in plot.path
    assert plot_grants(standing(NOON, 0, [])) is None


@pytest.mark.parametrize(("most", "axis"), [(1, "2"), (3, "4"), (9, "20"), (21, "40"), (61, "80"), (999, "2,000")])
def test_an_axis_ends_at_a_round_number(most: int, axis: str) -> None:
    plot = plot_grants(standing(NOON, most, life()))
    assert plot is not None
    assert plot.counts[-1].label == axis


@pytest.mark.slow
def test_many_changes_are_no_longer_a_path_than_there_is_to_see() -> None:
    steps = [replace(life()[1], at=to_rfc3339(NOON - timedelta(minutes=minute))) for minute in range(5_000)]
    plot = plot_grants(standing(NOON, 5_000, steps))
    assert plot is not None
    assert plot.path.count("V") < 500
