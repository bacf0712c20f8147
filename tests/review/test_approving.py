"""What a page tells before the click, and what a click does: read-back, two approvals, Google's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remediate.records.remediation import Remediation
from tests.audit_entries import activity, denial, system_event, user_text
from tests.review.page import LEAD, Page
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, SandboxProcess

Open = Callable[..., Page]


@pytest.fixture
def opened(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[Open]:
    pages: list[Page] = []

    def page(who: str = LEAD, **settings: str) -> Page:
        folder = tmp_path / "ledger"
        folder.mkdir(exist_ok=True)
        pages.append(Page(sandbox_server, folder, REMEDIATE_LOCAL_REVIEWER=who, **settings))
        return pages[-1]

    yield page
    for each in pages:
        each.function.close()


def unknown(page: Page) -> Remediation:
    """A proposal of which the log does not say who deployed."""
    entry = system_event() | {"insertId": "event"}
    page.sandbox.log(entry)
    record = page.remediator.handle(denial(entry)).remediation
    assert record
    return record


def delivered(page: Page, *people: str) -> Remediation:
    """A denial that was only delivered: the log does not have it."""
    entry: dict[str, Any] = activity(user_text(IMAGE), images=(IMAGE,), insert_id="forged")
    chain = [{"firstPartyPrincipal": {"principalEmail": each}} for each in people]
    entry["protoPayload"]["authenticationInfo"]["serviceAccountDelegationInfo"] = chain
    record = page.remediator.handle(denial(entry)).remediation
    assert record
    return record


def test_what_the_log_does_not_have_is_told_before_the_click_and_refused_after_it(page: Page) -> None:
    record = delivered(page)
    text = page.ask(f"/r/{record.id}")[1]
    assert "It may be forged:" in text
    status, text = page.say(f"/r/{record.id}/approve", content=page.content(record.id))
    assert status == 409
    assert "is now refused" in text
    assert page.sandbox.requests(":setIamPolicy") == 0


def test_where_the_log_may_not_be_asked_it_is_told_before_the_click(page: Page) -> None:
    record = page.denied()
    page.sandbox.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
    text = page.ask(f"/r/{record.id}")[1]
    assert "<code>event_unverified</code>" in text
    assert page.say(f"/r/{record.id}/approve", content=page.content(record.id))[0] == 303
    text = page.ask(f"/r/{record.id}")[1]
    assert "event unverified" in text  # in the audit trail
    assert DEPLOYER in page.sandbox.readers()


def test_where_the_log_does_not_answer_an_approval_can_be_said_again(opened: Open) -> None:
    page = opened(REMEDIATE_TIMEOUT="1")  # each attempt is one of the minute's look-ups
    record = page.denied()
    content, token = page.content(record.id), page.token()
    page.sandbox.faults({"match": "entries:list", "effect": "status", "code": 503, "times": None})
    status, text = page.ask(f"/r/{record.id}/approve", {"token": token, "content": content})
    assert (status, "Cloud Logging did not answer" in text) == (503, True)
    page.sandbox.faults()
    assert page.ask(f"/r/{record.id}/approve", {"token": token, "content": content})[0] == 303
    assert DEPLOYER in page.sandbox.readers()


def test_a_batch_is_one_look_up_and_so_is_a_click(page: Page) -> None:
    page.denied()
    page.denied("2", email="ana@example.com")
    text = page.ask("/")[1]
    items = re.findall(r'name="item" value="([^"]+)"', text)
    token, before = page.token(), page.sandbox.requests("entries:list")
    assert before == 0  # the inbox asks nothing where the reader is named nowhere
    page.ask("/approve", [("token", token), *(("item", item) for item in items)])
    assert page.sandbox.requests("entries:list") == 1
    assert "3 of 3 approved." in page.ask(page.headers["location"])[1]
    record = page.denied("3", email="bo@example.com")
    content, before = page.content(record.id), page.sandbox.requests("entries:list")
    page.ask(f"/r/{record.id}/approve", {"token": token, "content": content})
    assert page.sandbox.requests("entries:list") == before + 1


def test_a_reviewer_whom_only_a_forged_entry_names_sees_and_may_what_everybody_may(page: Page) -> None:
    record = page.denied()
    delivered(page, LEAD)
    assert "it is about their own deploy" not in page.ask(f"/r/{record.id}")[1]
    text = page.ask("/")[1]
    assert f'aria-label="Select {DEPLOYER.partition(":")[2]}' in text
    assert "own deploy" not in text
    assert page.say(f"/r/{record.id}/approve", content=page.content(record.id))[0] == 303
    assert DEPLOYER in page.sandbox.readers()


def test_two_reviewers_approve_where_the_deployer_is_unknown(opened: Open) -> None:
    ana = opened("ana@example.com")
    record = unknown(ana)
    text = ana.ask(f"/r/{record.id}")[1]
    assert "It needs 2 different approvers: the log does not say who deployed." in text
    assert 'name="not_mine"' not in text
    assert ana.say(f"/r/{record.id}/approve", content=ana.content(record.id), not_mine="yes")[0] == 303
    waiting = "1 of 2 approvals: ana@example.com approved; a second reviewer must approve"
    assert waiting in ana.ask(f"/r/{record.id}")[1]
    assert AGENT not in ana.sandbox.readers()
    bo = opened("bo@example.org")
    text = bo.ask("/")[1]
    assert waiting in text
    [item] = re.findall(r'name="item" value="([^"]+)"', text)
    ana.ask("/approve", {"token": ana.token(), "item": item})
    text = ana.ask(ana.headers["location"])[1]
    assert "0 of 1 approved." in text
    assert waiting in text
    bo.ask("/approve", {"token": bo.token(), "item": item})
    assert "1 of 1 approved." in bo.ask(bo.headers["location"])[1]
    assert AGENT in bo.sandbox.readers()
    text = bo.ask(f"/r/{record.id}")[1]
    assert "approval 1 of 2" in text
    assert "approval 2 of 2" in text
    assert "hash chain intact" in text


def test_one_reviewer_who_declares_is_enough_by_setting(opened: Open) -> None:
    page = opened("ana@example.com", REMEDIATE_UNKNOWN_DEPLOYER="declare")
    record = unknown(page)
    assert 'name="not_mine"' in page.ask(f"/r/{record.id}")[1]
    assert page.say(f"/r/{record.id}/approve", content=page.content(record.id), not_mine="yes")[0] == 303
    text = page.ask(f"/r/{record.id}")[1]
    assert "declared not their own deploy" in text
    assert AGENT in page.sandbox.readers()


def test_googles_own_words_come_before_the_reason_codes(page: Page) -> None:
    record = page.denied()
    page.sandbox.faults({"match": ":setIamPolicy", "effect": "status", "code": 403, "times": None})
    page.say(f"/r/{record.id}/approve", content=page.content(record.id))
    text = page.ask(f"/r/{record.id}")[1]
    words = text.index("Google Cloud rejected the change:</strong>")
    assert "403" in text[words : words + 200]
    assert words < text.index("<code>terminal_answer</code>")
