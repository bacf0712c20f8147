"""A flood of denials from one project, at the real function: what people see of it, and what is on record."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediate.ledger.sqlite import SqliteLedger
from remediate.records.notice import NoticeKind
from remediate.records.states import State
from remediate.times import to_rfc3339
from tests.audit_entries import activity, push_body, user_text
from tests.notify.receivers import dead_port
from tests.review.page import LEAD, Page
from tests.sandbox_fixture import IMAGE, SandboxProcess
from tests.wire.function_fixture import PAGES, Command, FunctionProcess

SAME_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
ROW = re.compile(r'<li class="row">')
GROUP = re.compile(r'<a href="(/\?[^"]*gathered=[^"]*)">([0-9,]+) more proposals from ([^<]*)</a>')


def deny(function: FunctionProcess, which: int, image: str = SAME_IMAGE, **more: Any) -> int:
    entry = activity(
        user_text(image),
        images=(image,),
        insert_id=f"flood-{which}",
        email=f"forged-{which}@shop-frontend.iam.gserviceaccount.com",
        **more,
    )
    return function.push(push_body(entry))


@pytest.fixture
def flooded(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[Page]:
    """400 distinct denials from one project, one from another, and the pages over the same ledger."""
    folder = tmp_path / "one"
    if not flood_within_one_hour(sandbox_server, folder):
        folder = tmp_path / "another"
        assert flood_within_one_hour(sandbox_server, folder)
    page = Page(sandbox_server, folder)
    yield page
    page.function.close()


def flood_within_one_hour(sandbox: SandboxProcess, folder: Path) -> bool:
    """Whether it ended in the hour of the clock in which it began: the limit is one an hour."""
    folder.mkdir()
    hour = time.time() // 3600
    webhook = f"http://127.0.0.1:{dead_port()}/x"
    function = FunctionProcess(sandbox, folder, REMEDIATE_SLACK_WEBHOOK=webhook, REMEDIATE_REVIEW_URL=PAGES)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda number: deny(function, number), range(400))) == {200}
    assert deny(function, 400, IMAGE, project="shop-backend", number="123456789013") == 200
    function.close()
    return time.time() // 3600 == hour


def test_400_denials_are_400_records_and_31_rows_and_notices(flooded: Page) -> None:
    ledger = SqliteLedger(flooded.function.ledger_path)
    records = flooded.function.records()
    mine = [each for each in records if "forged-400" not in each.member and "forged-" in each.member]
    others = [each for each in records if each not in mine]
    assert len(mine) == 400
    assert all(each.state is State.PROPOSED and each.tally.denials == 1 and each.storage.trail == 1 for each in mine)
    assert (sum(not each.tally.gathered for each in mine), [each.tally.gathered for each in others]) == (30, [""])

    parcels = ledger.waiting("slack", to_rfc3339(datetime.now(UTC) + timedelta(days=1)), 1000)
    told = [each.notice for each in parcels]
    kinds = [each.kind for each in told if each.remediation in {record.id for record in mine}]
    assert (kinds.count(NoticeKind.PROPOSED), kinds.count(NoticeKind.GATHERED), len(kinds)) == (30, 1, 31)
    assert {each.remediation for each in told} >= {each.id for each in others}
    [one] = [each for each in told if each.kind is NoticeKind.GATHERED]
    assert "Denials in shop-frontend opened more than 30 proposals between" in one.summary
    assert "it can be an attack, or one fault that fails every deploy" in one.advice
    assert one.link

    status, text = flooded.ask("/")
    assert status == 200
    [(path, count, project)] = GROUP.findall(text)
    assert (count, project) == ("370", "shop-frontend")
    assert len(ROW.findall(text)) == 30 + 1 + len(others)
    assert one.link.removeprefix(PAGES) == urllib.parse.unquote(html.unescape(path))
    assert "401 proposed" in text

    found: list[str] = []
    following = html.unescape(path)
    while following:
        text = flooded.ask(following)[1]
        found += re.findall(r'name="item" value="(r-[0-9a-f]{12})@', text)
        more = re.search(r'<a href="([^"]+)" rel="next">', text)
        following = html.unescape(more[1]) if more else ""
    assert sorted(found) == sorted(each.id for each in mine if each.tally.gathered)
    assert "1 found" in flooded.ask("/?q=forged-399")[1]  # a search finds each
    assert len(ROW.findall(flooded.ask("/?state=all")[1])) == 30 + 1 + len(others)
    assert flooded.ask("/?gathered=%3Cb%3E")[0] == 400


def test_machines_and_bulk_commands_see_all_of_a_flood(flooded: Page) -> None:
    command = Command(flooded.function)
    listed = json.loads(command.run("list", "--limit", "1000", "--format", "json"))
    assert len(listed) == 401
    assert not any("gathered" in each for each in listed)
    rows = list(csv.reader(io.StringIO(command.run("list", "--limit", "1000", "--format", "csv"))))
    assert len(rows) == 402
    table = command.run("list", "--limit", "1000")
    assert len(re.findall(r"^ ?r-[0-9a-f]{12}", table, re.M)) == 31
    assert "370 more remediations from shop-frontend, " in table
    assert len(re.findall(r"^ ?r-[0-9a-f]{12}", command.run("list", "--limit", "1000", "--all"), re.M)) == 401
    said = command.run("reject", "--all-matching", "project=shop-frontend", "--yes", "--as", LEAD, "--reason", "forged")
    assert said.count(" rejected: ") == 400
    states = [each.state for each in flooded.function.records()]
    assert (states.count(State.REJECTED), states.count(State.PROPOSED)) == (400, 1)
    assert "370 more" not in flooded.ask("/")[1]


def test_what_is_selected_of_a_group_is_rejected_or_approved_together(flooded: Page) -> None:
    [(path, _, _)] = GROUP.findall(flooded.ask("/")[1])
    text = flooded.ask(html.unescape(path) + "&select=all")[1]
    assert text.count(" checked>") == 50
    items = re.findall(r'name="item" value="([^"]+)"', text)
    [group] = set(re.findall(r'name="gathered" value="([^"]+)"', text))
    form = [("token", flooded.token()), ("gathered", html.unescape(group)), *(("item", item) for item in items[:49])]
    assert flooded.ask("/reject", form)[0] == 303
    assert "0 of 49 rejected" in flooded.ask(flooded.headers["location"])[1]  # no reason was given
    assert flooded.ask("/reject", [*form, ("reason", "forged")])[0] == 303
    text = flooded.ask(flooded.headers["location"])[1]
    assert "49 of 49 rejected" in text
    assert "Back to the inbox" in text
    assert flooded.ask("/approve", [*form[:2], ("item", items[49])])[0] == 303
    assert "1 of 1 approved" in flooded.ask(flooded.headers["location"])[1]
    assert GROUP.findall(flooded.ask("/")[1])[0][1] == "320"
    states = [each.state for each in flooded.function.records()]
    assert (states.count(State.REJECTED), states.count(State.PROPOSED)) == (49, 401 - 50)
