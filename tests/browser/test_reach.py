"""What a thumb, a keyboard and a narrow screen reach: nothing is covered, cut off, or broken in the middle of a word."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from remediate.decisions.policy import decide
from remediate.ledger.opening import open_ledger
from remediate.records.lifecycle import open_remediation
from remediate.records.states import State
from tests.audit_entries import activity, denial
from tests.browser.scene import PHONE, WIDE, Scene
from tests.records.changed import with_fields

_HIDDEN = """() => {
  const bar = document.querySelector(".bar").getBoundingClientRect();
  const box = document.activeElement.getBoundingClientRect();
  const own = document.querySelector(".bar").contains(document.activeElement);
  return !own && box.top >= bar.top && box.height > 0 && getComputedStyle(document.activeElement).position !== "absolute";
}"""

_BROKEN = """() => {
  const broken = [], walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, range = document.createRange();
    if (!text.parentElement.closest("table") || !text.data.trim()) continue;
    for (const word of text.data.matchAll(/[^\\s-]+/g)) {
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
"""The words in tables that are broken where nothing allows it: texts end where a name may be broken (`<wbr>`)."""


def _many(scene: Scene, count: int = 30, gathered: str = "") -> None:
    ledger = open_ledger(scene.environment["REMEDIATE_LEDGER"])
    now = datetime.now(UTC)
    for number in range(count):
        found = denial(activity(email=f"deployer-{number}@example.com", insert_id=str(number)))
        record, step = open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=now)
        ledger.commit(with_fields(record, gathered=gathered), trail=[step])


@pytest.mark.parametrize("group", ["", "2026-11-23T12/platform-engineering-frontend"])
@pytest.mark.parametrize("size", [(390, 500), WIDE])
def test_the_bar_covers_nothing_that_has_the_focus(scene: Scene, size: tuple[int, int], group: str) -> None:
    _many(scene, gathered=group)
    page = scene.open(size)
    if group:
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        row = page.get_by_role("link", name="30 more proposals from platform-engineering-frontend")
        assert page.locator(".row").count() == 1
        row.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    hidden, reached = [], set()
    for _ in range(90):
        page.keyboard.press("Tab")
        where = page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
        if where.startswith("<body"):
            break
        reached.add(where)
        if page.evaluate(_HIDDEN):
            hidden.append(where)
    assert len(reached) > 40
    assert hidden == []


@pytest.mark.parametrize("size", [PHONE, WIDE])
def test_switches_are_readable(company: Scene, size: tuple[int, int]) -> None:
    page = company.open(size)
    page.goto(company.url() + "mode")
    assert page.locator("tbody tr").count() >= 8
    assert page.evaluate(_BROKEN) == []


def test_a_long_reviewer_widens_no_page(scene: Scene) -> None:
    found = denial(activity())
    record, step = open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=datetime.now(UTC))
    reviewers = ("user:platformengineering.oncall@infrastructure.example.com",)
    long = with_fields(record, reviewers=reviewers, rule="a-rule-" * 11, rule_comment="x" * 200)
    open_ledger(scene.environment["REMEDIATE_LEDGER"]).commit(long, trail=[step])
    page = scene.open(PHONE)
    page.goto(f"{scene.url()}r/{record.id}")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_links_in_tables_are_wide_enough_for_a_thumb(company: Scene) -> None:
    page = company.open(PHONE)
    page.goto(company.url() + "trail")
    heights = page.evaluate(
        "[...document.querySelectorAll('.count a, .steps a')].map(each => each.getBoundingClientRect().height)"
    )
    assert len(heights) > 10
    assert min(heights) >= 24
