"""Whatever an entry holds: an answer, and never a member or a repository that the entry does not bear."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediate.decisions.policy import Outcome, decide
from remediate.entries.denial import Denial, NotADenial, understand
from remediate.entries.envelope import entry_of
from remediate.entries.log_entry import read_entry
from remediate.errors import Unreadable
from remediate.iam.member import Member, parse_member
from remediate.iam.repository import parse_image
from tests.audit_entries import IMAGE, activity, agent_text, bare_text, system_event, user_text
from tests.entries.strategies import json_values

BASES = (
    activity(),
    activity(bare_text(), api="v2", kind="job"),
    system_event(),
    system_event(None, condition=agent_text()),
)
HOSTILE = st.sampled_from(
    [
        "allUsers",
        "deleted:user:x@example.com?uid=1",
        "group:all@example.com",
        IMAGE,
        user_text("us-docker.pkg.dev/victim/secret/app"),
        agent_text("us-docker.pkg.dev/victim/secret/app", "mallory@evil.com"),
        "evil.com/us-docker.pkg.dev/victim/secret/app",
        "us-docker.pkg.dev/victim/../secret/app",
        "us-docker.pkg.dev/victim/secret/app\nus-docker.pkg.dev/victim/secret/app",
        "{0.__class__} %s ${x} $(x)",
        "\u202e\u200b\ud7ff",
        "a" * 10_000,
    ]
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, child in children for below in _paths(child, (*path, key)))]


@st.composite
def mutated_entries(draw: st.DrawFn) -> dict[str, Any]:
    entry: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 4))):
        *path, last = draw(st.sampled_from([path for path in _paths(entry) if path]))
        node: Any = entry
        for step in path:
            node = node[step]
        if draw(st.booleans()) and isinstance(node, dict):
            del node[last]
        else:
            node[last] = draw(HOSTILE | json_values)
    return entry


def _check(raw: bytes) -> None:
    try:
        found = understand(read_entry(raw))
    except Unreadable:
        return
    decision = decide(found)
    if isinstance(found, NotADenial):
        assert decision.outcome is Outcome.IGNORE
        return
    text = json.dumps(json.loads(raw), ensure_ascii=False)
    if found.member:
        address = found.member.id.partition(":")[2]
        number = found.member.run_agent_of
        assert address in text or (number and number in text)
        assert isinstance(parse_member(found.member.id), Member)
        assert not found.member.id.lower().startswith(("all", "deleted", "group", "domain", "principalset"))
    if found.repository:
        for part in (found.repository.project.rpartition(":")[2], found.repository.location):
            assert part in text
    if found.image:
        assert found.image in text
    if decision.outcome is Outcome.GRANT:
        assert found.member
        assert found.repository
        assert not found.doubts


@given(json_values)
def test_any_json_gets_an_answer(value: Any) -> None:
    try:
        raw = entry_of(value)
    except Unreadable:
        return
    _check(raw)


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    try:
        raw = entry_of(data)
    except Unreadable:
        return
    _check(raw)


@pytest.mark.slow
@settings(max_examples=400)
@given(mutated_entries())
def test_a_mutated_entry_never_names_what_it_does_not_bear(entry: dict[str, Any]) -> None:
    _check(json.dumps(entry).encode())


@given(st.text(max_size=60) | HOSTILE)
def test_an_image_the_caller_typed_is_never_granted_unless_it_is_one(image: str) -> None:
    for text in (user_text(image), agent_text(image), f"Expected an image path like x but obtained {image}"):
        found = understand(read_entry(json.dumps(activity(text, images=(image,))).encode()))
        if isinstance(found, Denial) and decide(found).outcome is Outcome.GRANT:
            parsed = parse_image(image)
            assert parsed
            assert parsed.repository == found.repository


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9./:@_-]{1,80}", fullmatch=True))
def test_any_text_is_an_image_or_none(text: str) -> None:
    image = parse_image(text)
    if image and image.repository:
        assert image.reference == text
        assert image.repository.project.rpartition(":")[2] in text
        assert ".." not in str(image.repository)


@given(st.text(max_size=80) | st.emails())
def test_any_text_is_a_member_or_a_reason(text: str) -> None:
    member = parse_member(text)
    if isinstance(member, Member):
        assert text in member.id
        assert member.id.isascii()
        assert member.id.isprintable()


def test_the_callers_own_words_never_pass_for_the_registrys() -> None:
    """If a deployer types a denial's text as an image, the result is another reason, not a grant on that repository."""
    typed = user_text("us-docker.pkg.dev/shop-frontend/secret/app")
    echoed = (
        f"spec.template.spec.containers[0].image: Expected an image path like [host/]repo-path but obtained {typed}"
    )
    found = understand(read_entry(json.dumps(activity(echoed, code=3, images=(typed,))).encode()))
    assert isinstance(found, NotADenial)
