"""The source of an entry: the two exact names of Google's audit logs are one, and no other name is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.source import Log, Source, source_of
from tests.forged import ACTIVITY, FORGED, LOGS


@pytest.mark.parametrize("name", [*FORGED, None])
def test_no_other_name_is_a_source(name: str | None) -> None:
    assert source_of(name) is None


@pytest.mark.parametrize("project", ["deploy-prj", "123456789012", "example.com:shop"])
@pytest.mark.parametrize("log", Log)
def test_the_two_exact_names_are(log: Log, project: str) -> None:
    source = source_of(f"projects/{project}/logs/{log.value.replace('/', '%2F')}")
    assert source == Source(log, project)
    assert source_of(source.name) == source


@given(st.text() | st.text(max_size=4).map(lambda text: f"{LOGS}/{text}{ACTIVITY}"), st.text(max_size=4))
def test_a_name_is_a_source_only_as_google_writes_it(name: str, tail: str) -> None:
    source = source_of(name + tail)
    assert source is None or source.name == name + tail


@pytest.mark.parametrize(
    ("log_project", "project", "number", "contradicts"),
    [
        ("deploy-prj", "deploy-prj", "1", False),
        ("deploy-prj", "other", "1", True),
        ("deploy-prj", None, "1", False),
        ("1", "deploy-prj", "1", False),
        ("1", "deploy-prj", "2", True),
        ("1", "deploy-prj", None, False),
    ],
)
def test_a_project_contradicts_another_of_the_same_kind_of_spelling(
    log_project: str, project: str | None, number: str | None, contradicts: bool
) -> None:
    assert Source(Log.ACTIVITY, log_project).contradicts(project, number) is contradicts
