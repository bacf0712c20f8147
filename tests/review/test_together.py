"""Decisions about what one deploy needs, together: for the same time and reason, and what a retry is worth after it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from itsdangerous import URLSafeSerializer

from remediate.entries.deploy import Deploy
from remediate.reasons import Reason
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.records.transitions import unmet_partners
from remediate.review.bulk import bulk_result
from remediate.review.context import PageContext
from tests.records.changed import with_fields
from tests.review.page import LEAD, Page
from tests.review.records import NOON, record
from tests.sandbox_fixture import AGENT


def test_both_are_approved_for_the_time_and_the_reason_that_were_typed(page: Page) -> None:
    denied = page.denied()
    items = re.findall(r'name="item" value="([^"]+)"', page.ask(f"/r/{denied.id}")[1])
    form = [("token", page.token()), *(("item", item) for item in items), ("lasts", "7d"), ("reason", "only a week")]
    assert page.ask("/approve", form)[0] == 303
    for ident in (denied.id, *denied.tally.partners):
        done = page.remediator._ledger.get(ident)
        assert done
        assert (done.state, bool(done.lifecycle.expires)) == (State.GRANTED, True)
        assert "only a week" in page.ask(f"/r/{ident}")[1]


def test_one_button_of_the_form_approves_both(page: Page) -> None:
    text = page.ask(f"/r/{page.denied().id}")[1]
    [form] = re.findall(r"<form[^>]*/approve\">.*?</form>", text, re.DOTALL)
    assert 'formaction="/approve">Approve both' in form
    assert form.count('name="item"') == 2
    assert 'name="lasts"' in form


@pytest.mark.parametrize("first", ["deployer", "agent"])
def test_a_retry_is_worth_nothing_where_the_other_was_rejected(page: Page, first: str) -> None:
    deployer = page.denied()
    [agent] = deployer.tally.partners
    granted, rejected = (deployer.id, agent) if first == "deployer" else (agent, deployer.id)
    assert page.say(f"/r/{rejected}/reject", reason="not this one")[0] == 303
    assert page.say(f"/r/{granted}/approve", content=page.content(granted))[0] == 303
    text = page.ask(f"/r/{granted}")[1]
    assert "Granted, but the deploy still needs" in text
    assert "Retry the deploy" not in text


def test_the_inbox_tells_when_a_retry_is_worth_it_and_what_is_needed_too(page: Page) -> None:
    deployer = page.denied()
    items = dict(item.split("@") for item in re.findall(r'name="item" value="([^"]+)"', page.ask("/")[1]))
    assert page.ask("/approve", {"token": page.token(), "item": f"{deployer.id}@{items[deployer.id]}"})[0] == 303
    text = page.ask(page.headers["location"])[1]
    assert "Some deploys still need these grants" in text
    assert "Retry the deploy" not in text
    [agent] = deployer.tally.partners
    assert page.ask("/approve", {"token": page.token(), "item": f"{agent}@{page.content(agent)}"})[0] == 303
    text = page.ask(page.headers["location"])[1]
    assert re.search(r"Retry the deploys from <time[^>]*>[0-9]{2}:[0-9]{2} UTC", text)
    assert "still need these" not in text


def test_what_an_address_tells_is_for_whoever_did_it_and_for_a_while(page: Page) -> None:
    now = [NOON]
    context = PageContext(page.remediator, page.remediator._ledger, lambda: now[0], None, Limits())
    signer = URLSafeSerializer("secret", salt="review-note")
    text = str(signer.dumps([LEAD, NOON.isoformat(), [("r-1", "granted", "")]]))
    found = bulk_result(context, text, LEAD, signer)
    assert not isinstance(found, str)
    assert found.done == 1
    assert "no longer valid" in str(bulk_result(context, text, "eve@example.com", signer))
    assert "no longer valid" in str(bulk_result(context, str(signer.dumps([LEAD, 3, []])), LEAD, signer))
    now[0] += timedelta(minutes=16)
    assert bulk_result(context, text, LEAD, signer) == ""


def _granted(**changes: object) -> Remediation:
    return with_fields(record(), state=State.GRANTED, deploys=(Deploy(number="123456789012"),), **changes)


@pytest.mark.parametrize(
    ("make", "absent"),
    [
        (lambda deployer, agent: (deployer, [agent]), 0),
        (lambda deployer, agent: (deployer, [with_fields(agent, state=State.PROPOSED)]), 1),
        (lambda deployer, agent: (deployer, [with_fields(agent, state=State.EXPIRED)]), 1),
        (lambda deployer, agent: (with_fields(deployer, deploys=(Deploy(number="7"),)), [with_fields(agent, state=State.PROPOSED)]), 0),
        (lambda deployer, agent: (with_fields(deployer, deploys=()), [with_fields(agent, state=State.PROPOSED)]), 1),
        (lambda deployer, agent: (deployer, [with_fields(agent, state=State.REFUSED)]), 1),
        (lambda deployer, agent: (deployer, [with_fields(agent, state=State.REFUSED, reasons=(Reason.ALREADY_GRANTED,))]), 0),
        (lambda deployer, agent: (agent, [with_fields(deployer, state=State.REJECTED)]), 1),
        (lambda deployer, agent: (agent, [with_fields(deployer, state=State.REJECTED), with_fields(deployer, id="r-2")]), 0),
        (lambda _, agent: (agent, []), 0),
    ],
)  # fmt: skip
def test_what_a_deploy_lacks(
    make: Callable[[Remediation, Remediation], tuple[Remediation, list[Remediation]]], absent: int
) -> None:
    deployer = _granted(id="r-1", reasons=())
    agent = _granted(id="r-3", member=AGENT, reasons=())
    assert len(unmet_partners(*make(deployer, agent))) == absent


def test_a_file_is_what_the_page_showed_whatever_was_written_since(page: Page) -> None:
    denied = page.denied()
    text = page.ask("/trail?since=1d")[1]
    shown = re.findall(r'<a href="/r/(r-[0-9a-f]+)">', text)
    links = re.findall(r'href="(/trail[^"]*format=(?:csv|json))"', text.replace("&amp;", "&"))
    page.say(f"/r/{denied.id}/reject", reason="meanwhile")
    rows = list(csv.DictReader(io.StringIO(page.ask(next(each for each in links if each.endswith("csv")))[1])))
    assert [row["remediation"] for row in rows] == shown
    steps = json.loads(page.ask(next(each for each in links if each.endswith("json")))[1])
    assert [step["remediation"] for step in steps] == shown
    assert len(re.findall(r'<a href="/r/(r-[0-9a-f]+)">', page.ask("/trail?since=1d")[1])) == len(shown) + 1


def test_a_search_of_too_many_words_says_so(page: Page) -> None:
    page.denied()
    assert "Only the first eight words" in page.ask("/?q=a+b+c+d+e+f+g+h+zzzzz")[1]
    assert "Only the first eight words" not in page.ask("/?q=a+b+c+d+e+f+g+h")[1]
