"""Cards: readable, within what the services take, with a link that opens the proposal; and no text in them is markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.notify import cards
from remediate.records.notice import NoticeKind, Why
from tests.notify.scene import notice

MAKERS = {"slack": cards.slack, "chat": cards.chat}


def strings(value: Any) -> Iterator[str]:
    """Every text in a body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


HOSTILE = [
    "<!channel> <@U123> <https://evil.example|click>",
    '<a href="https://evil.example">click</a><b>approved</b>',
    "` *approved* `",
    "a&lt;!channel&gt;",
    "line\nbreak\r\n*Approved by*  ana\u202egnp\u0000",
]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("count", [1, 7])
def test_hostile_text_is_shown_and_never_markup(maker: str, text: str, count: int) -> None:
    body: dict[str, Any] = MAKERS[maker](
        [notice(summary=text, note=text, image=text, deployers=(text,), reasons=(Why("x", text),))] * count
    )
    found = list(strings(body))
    links = [
        each
        for each in found
        if each == "https://review.example.com/"
        or "review.example.com/|" in each
        or each.startswith("https://review.example.com/r/")
        or "<https://review.example.com/r/" in each
    ]
    assert len(links) == 1
    for each in found:
        if each in links or body.get("fallbackText") == each:
            continue
        without = each.replace("<br>", "") if maker == "chat" else each
        assert "<" not in without
        assert ">" not in without
        assert not re.search(r"&(?!lt;|gt;|amp;)", without)
        assert not any(not (char.isprintable() or char == "\n") for char in each)
    if maker == "slack":
        for section in (each["text"] for each in body["blocks"] if each["text"]["type"] == "mrkdwn"):
            assert section["verbatim"] is True
            lines = [line for line in section["text"].split("\n") if not line.startswith("<")]
            assert all(re.fullmatch(r"\*[A-Z][a-z ]+\*  `[^`\n]+`", line) for line in lines), lines


@pytest.mark.parametrize("maker", MAKERS)
def test_a_card_shows_who_what_where_why_and_links_to_the_proposal(maker: str) -> None:
    told = notice(
        image="us-docker.pkg.dev/p/r/web:v1", reasons=(Why("cross_project", "It lies elsewhere."),), note="n & m"
    )
    text = html.unescape(json.dumps(MAKERS[maker]([told])))
    for part in (
        told.title,
        told.summary,
        told.advice,
        told.member,
        told.repository,
        told.image,
        "It lies elsewhere.",
        "n & m",
    ):
        assert part
        assert part in text
    assert text.count("https://review.example.com/r/r-000000000000") == 1


@pytest.mark.parametrize("maker", MAKERS)
def test_without_an_address_of_the_pages_a_card_names_the_command(maker: str) -> None:
    assert "remediate show r-000000000000" in json.dumps(MAKERS[maker]([notice(link=None)]))
    assert "remediate list" in json.dumps(MAKERS[maker]([notice(link=None)] * 9))


@pytest.mark.parametrize("maker", MAKERS)
def test_a_digest_counts_names_twenty_and_links_to_the_inbox(maker: str) -> None:
    several = [notice(summary=f"number {number}.") for number in range(60)] + [notice(kind=NoticeKind.GRANTED)] * 2
    text = json.dumps(MAKERS[maker](several))
    assert "62 notices: 60 proposal opened, 2 granted" in text
    assert "number 19." in text
    assert "number 20." not in text
    assert "and 42 more" in text
    assert text.count("https://review.example.com/") == 1


@given(st.text(max_size=4000), st.integers(1, 100))
def test_any_text_keeps_within_what_slack_takes(text: str, count: int) -> None:
    """Header 150, text 1 to 3000 characters, 50 blocks ("Section block", "Header block", "Reference: Message")."""
    body = cards.slack([notice(title=text or "x", summary=text or "x", note=text, image=text)] * count)
    blocks: Any = body["blocks"]
    assert len(blocks) <= 50
    assert all(1 <= len(each["text"]["text"]) <= 3000 for each in blocks)
    assert len(blocks[0]["text"]["text"]) <= 150
    assert len(msgspec.json.encode(body)) < 40_000


@given(st.text(max_size=4000), st.integers(1, 100))
def test_any_text_keeps_within_what_google_chat_takes(text: str, count: int) -> None:
    """32,000 bytes a message ("Usage limits"), 100 widgets a section."""
    body = cards.chat([notice(summary=text or "x", note=text, image=text, deployers=(text,) * 20)] * count)
    assert len(msgspec.json.encode(body)) <= 32_000
