"""What the pages answer when something is odd: wrong input, another site, a slow Google Cloud, a changed trail."""

from __future__ import annotations

import contextlib
import html
import re
import sqlite3
import time
from pathlib import Path

import pytest

from remediate.decisions.policy import decide
from remediate.records.digests import content_digest
from remediate.records.lifecycle import open_remediation
from remediate.records.states import State
from tests.audit_entries import activity, denial, user_text
from tests.review.page import Page
from tests.review.records import NOON
from tests.sandbox_fixture import SandboxProcess


def test_pages_follow_one_another_and_lose_nobody(page: Page) -> None:
    for number in range(30):
        page.denied(str(number), f"deployer-{number}@example.com")
    found: list[str] = []
    path = "/?project=shop-frontend&q=containers"
    while path:
        text = page.ask(path)[1]
        found += re.findall(r'<p class="head"><a href="/r/([^"]+)"', text)
        following = re.search(r'<a href="([^"]+)" rel="next">', text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(found) == len(set(found)) == 31  # thirty deployers and the service agent
    shown = page.ask("/trail")[1]
    assert "31 transitions, newest first" in shown


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/?state=odd", "state &#39;odd&#39;: expected all or one of proposed, approved"),
        ("/trail?since=yesterday", "From: &#39;yesterday&#39; is not a time; accepted: a date (2026-11-24)"),
        ("/trail?until=32d1", "Before: &#39;32d1&#39; is not a time"),
        ("/trail?outcome=maybe", "Decision: &#39;maybe&#39;: expected one of grant"),
        ("/trail?state=odd", "Became: &#39;odd&#39;: expected one of proposed"),
    ],
)
def test_wrong_input_is_named_with_what_is_accepted_and_kept(page: Page, path: str, told: str) -> None:
    status, text = page.ask(path)
    assert status == 400
    assert told in text
    typed = path.rpartition("=")[2]
    assert f'value="{typed}"' in text or "state=odd" in path or "outcome" in path


@pytest.mark.parametrize(
    ("path", "method", "code", "told"),
    [
        ("/nothing", "GET", 404, "Page not found."),
        ("/r/r-000000000000", "GET", 404, "This ledger has no remediation"),
        ("/approve", "GET", 405, "Go back and submit the form on its page."),
        ("/r//x", "GET", 404, "Page not found."),
        ("//evil.example/", "GET", 404, "Page not found."),
    ],
)
def test_an_error_is_a_page_that_says_what_to_do(page: Page, path: str, method: str, code: int, told: str) -> None:
    status, text = page.ask(path, method=method)
    assert status == code
    assert told in text
    assert '<a class="button" href="/">Go to the inbox</a>' in text
    assert "location" not in page.headers


def test_a_form_from_another_site_or_too_large_changes_nothing(page: Page) -> None:
    record = page.denied()
    form = {"token": page.token(), "content": page.content(record.id)}
    for site in ("cross-site", "same-site"):
        status, text = page.ask(f"/r/{record.id}/approve", form, Sec_Fetch_Site=site)
        assert (status, "Nothing changed" in text) == (403, True)
    assert page.ask(f"/r/{record.id}/approve", form | {"reason": "x" * 300_000})[0] == 413
    assert page.sandbox.requests(":setIamPolicy") == 0
    assert page.ask(f"/r/{record.id}/approve", form, Sec_Fetch_Site="same-origin")[0] == 303


def test_another_name_for_this_machine_is_told_nothing(page: Page) -> None:
    record = page.denied()
    status, text = page.ask(f"/r/{record.id}", Host="evil.example")
    assert status == 403
    assert record.member not in text
    assert "/trail" not in text
    assert page.ask("/health", Host="evil.example")[0] == 200


def test_what_google_cloud_does_not_say_in_time_is_unknown(page: Page) -> None:
    record = page.denied()
    page.sandbox.faults({"match": "repositories", "effect": "latency", "seconds": 8.0, "times": None})
    started = time.monotonic()
    status, text = page.ask(f"/r/{record.id}")
    assert status == 200
    assert time.monotonic() - started < 7
    assert "Google Cloud did not answer in time" in text
    assert "Approving checks again" in text


def test_a_repository_that_is_gone_is_told_in_googles_words(page: Page) -> None:
    record = page.denied()
    page.sandbox.faults({"match": ":getIamPolicy", "effect": "status", "code": 403, "times": None})
    text = page.ask(f"/r/{record.id}")[1]
    assert "Currently unavailable:" in text
    assert "403" in text


def test_a_changed_trail_is_told_on_the_page(page: Page) -> None:
    record = page.denied()
    assert "hash chain intact" in page.ask(f"/r/{record.id}")[1]
    with sqlite3.connect(page.function.ledger_path) as connection:
        connection.execute("UPDATE trail SET record = replace(CAST(record AS TEXT), 'remediate', 'somebody')")
    connection.close()
    assert "record 1 was changed after it was written" in page.ask(f"/r/{record.id}")[1]


def test_an_address_cannot_tell_of_a_grant_that_was_none(page: Page) -> None:
    record = page.denied()
    text = page.ask(f"/r/{record.id}?done=granted&result=granted")[1]
    assert "Granted." not in text


def test_what_one_may_not_do_is_told_on_each_page_before_the_click(
    sandbox_server: SandboxProcess, tmp_path: Path
) -> None:
    page = Page(sandbox_server, tmp_path, REMEDIATE_LOCAL_REVIEWER="ana@example.com", REMEDIATE_REVIEWERS="example.com")
    try:
        record = page.denied(email="ana@example.com")
        text = page.ask("/")[1]
        assert text.count("it is about their own deploy") == 2  # the service agent's, for the same deploy, too
        assert len(re.findall(r'<input type="checkbox"[^>]* disabled>', text)) == 2
        assert "Another reviewer must decide" in page.ask(f"/r/{record.id}")[1]
        assert 'action="/mode"' in page.ask("/mode")[1]
    finally:
        page.function.close()
    page = Page(
        sandbox_server, tmp_path, REMEDIATE_LOCAL_REVIEWER="eve@other.example", REMEDIATE_REVIEWERS="example.com"
    )
    try:
        for path in (f"/r/{record.id}", "/"):
            assert "user:eve@other.example is not a reviewer" in page.ask(path)[1]
        assert 'action="/mode"' in page.ask("/mode")[1]  # on their own machine, they are the operator
    finally:
        page.function.close()


def test_the_map_answers_with_a_graph_and_the_same_as_a_table(page: Page) -> None:
    assert "No remediations yet." in page.ask("/map")[1]
    page.denied()
    text = page.ask("/map")[1]
    assert text.count('class="edge open" d="M') == 2  # one line, and its legend
    assert "<td>shop-frontend</td>" in text
    assert "No grants yet." in text
    assert "No remediations match." in page.ask("/map?project=nobody")[1]
    assert "style=" not in text


def test_a_node_leads_to_the_map_of_it_alone(page: Page) -> None:
    ledger = page.remediator._ledger
    for number, (team, registry) in enumerate(
        (("payments", "images"), ("data-pipelines", "payments-registry"), ("payments-web", "payments"))
    ):
        image = f"us-docker.pkg.dev/{registry}/containers/web:v1"
        entry = activity(user_text(image), images=(image,), project=team, insert_id=str(number))
        found = denial(entry)
        made, step = open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=NOON)
        ledger.commit(made, trail=[step])
    rows = r"<tr><td>([a-z-]+)</td><td>containers<br><span class=\"dim\">([a-z-]+) "
    assert len(re.findall(rows, page.ask("/map?project=payments")[1])) == 3
    drawn = page.ask("/map?project=payments&just=reads")[1]
    assert re.findall(rows, drawn) == [("payments", "images")]
    assert "Only what payments reads" in drawn
    assert re.findall(rows, page.ask("/map?project=payments&just=holds")[1]) == [("payments-web", "payments")]
    links = re.findall(r'<a href="(/map\?project=payments&[^"]*)">', page.ask("/map")[1].replace("&amp;", "&"))
    assert links
    assert all("just=reads" in link for link in links)
    assert len(re.findall(rows, page.ask("/map?project=payments&just=nonsense")[1])) == 3


def test_a_switch_that_the_environment_outranks_is_not_shown_as_in_force(
    sandbox_server: SandboxProcess, tmp_path: Path
) -> None:
    page = Page(sandbox_server, tmp_path, REMEDIATE_MODE="dry-run")
    try:
        assert page.say("/mode", scope="everywhere", mode="enforce", reason="go")[0] == 303
        text = page.ask("/mode")[1]
        assert "overruled by the environment" in text
        assert 'class="state enforce"' not in text
    finally:
        page.function.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires", "soon"),
        ("updated", "2026-13-45T99:00:00Z"),
        ("repository", "x"),
        ("member", "allUsers"),
        ("role", "roles/owner"),
    ],
)
def test_a_record_that_means_nothing_is_named_and_hides_no_other(page: Page, field: str, value: str) -> None:
    broken, other = page.denied(), page.denied("2", email="ana@example.com")
    with contextlib.closing(sqlite3.connect(page.function.ledger_path)) as connection:
        query = "UPDATE remediations SET record = json_set(CAST(record AS TEXT), ?, ?) WHERE id = ?"
        connection.execute(query, (f"$.{field}", value, broken.id))
        connection.commit()
    status, text = page.ask("/")
    assert (status, other.member.partition(":")[2] in text, f"the record of {broken.id} cannot be read" in text) == (
        200,
        True,
        True,
    )
    assert value not in text or len(value) < 5
    for path in ("/?state=all", "/map", "/trail", f"/r/{other.id}"):
        assert page.ask(path)[0] == 200
    status, text = page.ask(f"/r/{broken.id}")
    assert (status, "trail verify" in text) == (500, True)


def test_what_cannot_be_approved_yet_has_no_button_and_says_what_helps(
    sandbox_server: SandboxProcess, tmp_path: Path
) -> None:
    page = Page(sandbox_server, tmp_path, REMEDIATE_OPT_IN_TAG="400000000001/remediate/yes")
    try:
        record = page.denied()
        text = html.unescape(page.ask(f"/r/{record.id}")[1])
        assert "It cannot be approved yet." in text
        assert "This registry is not opted in" in text
        assert "gcloud resource-manager tags bindings create --tag-value=400000000001/remediate/yes" in text
        assert f'action="/r/{record.id}/approve"' not in text
        assert f'action="/r/{record.id}/reject"' in text
        form = {"token": page.token(), "content": content_digest(record), "reason": "", "lasts": ""}
        status, answer = page.ask(f"/r/{record.id}/approve", form)
        assert status == 409
        assert "cannot be approved yet" in answer
        assert sandbox_server.requests(":setIamPolicy") == 0
    finally:
        page.function.close()
