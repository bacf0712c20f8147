"""The review pages under functions-framework, against the sandbox: read, decide, and every way not to."""

from __future__ import annotations

import html
import re
import sqlite3
import subprocess
import sys
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from remediate.decisions.policy import Decision, Outcome
from remediate.entries.earlier_deploys import EarlierDeploy
from remediate.iam.member import Member
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from remediate.records.trail_verification import broken_trail
from remediate.service.renewal import renewed
from tests.audit_entries import activity, denial, user_text
from tests.review.page import LEAD, Page
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, ROOT, SandboxProcess

HOSTILE = "<script>alert(1)</script>"


def test_the_inbox_teaches_when_it_is_empty_and_lists_what_waits(page: Page) -> None:
    assert "No open proposals." in page.ask("/")[1]
    record = page.denied()
    status, text = page.ask("/")
    assert status == 200
    assert f"without a sign-in; you act as {LEAD}" in text
    assert DEPLOYER.partition(":")[2] in text
    assert AGENT.partition(":")[2] in text
    assert f"/r/{record.id}" in text
    assert "2 proposed, earliest deadline first" in text
    who = DEPLOYER.partition(":")[2]
    assert who not in page.ask("/?q=service-123")[1]
    assert "No proposed remediations match" in page.ask("/?q=nobody")[1]
    assert "No granted remediations." in page.ask("/?state=granted")[1]
    assert who in page.ask("/?state=all&q=shop-frontend+containers")[1]


def test_a_proposal_is_read_approved_and_revoked_on_its_page(page: Page) -> None:
    record = page.denied()
    status, text = page.ask(f"/r/{record.id}")
    assert status == 200
    words = re.sub(r"</?strong>", "", text)
    assert "could not read images in platform-images/containers (asia-northeast1) while deploying web" in words
    assert f"<ins>{DEPLOYER}</ins>" in text
    assert "gcloud artifacts repositories add-iam-policy-binding containers" in text
    status, _ = page.say(
        f"/r/{record.id}/approve", content=page.content(record.id), max_duration="30d", reason="pipeline"
    )
    assert (status, page.headers["location"]) == (303, f"/r/{record.id}")
    assert DEPLOYER in page.sandbox.readers()
    text = page.ask(page.headers["location"])[1]
    assert "Granted, but the deploy still needs" in text
    [other] = record.tally.partners
    assert page.say(f"/r/{other}/approve", content=page.content(other))[0] == 303
    for ident in (other, record.id):
        assert "Retry the deploy from" in page.ask(f"/r/{ident}")[1]
    text = page.ask(f"/r/{record.id}")[1]
    assert f"approved by {LEAD}" in text
    assert page.say(f"/r/{record.id}/revoke", reason="")[0] == 409
    assert page.say(f"/r/{record.id}/revoke", reason="over")[0] == 303
    assert DEPLOYER not in page.sandbox.readers()


def test_a_double_click_is_one_grant(page: Page) -> None:
    record = page.denied()
    form = {"token": page.token(), "content": page.content(record.id)}
    assert [page.ask(f"/r/{record.id}/approve", form)[0] for _ in range(2)] == [303, 303]
    assert page.sandbox.requests(":setIamPolicy") == 1


def test_a_stale_page_approves_nothing(page: Page) -> None:
    record = page.denied()
    content = page.content(record.id)
    other = activity(user_text(IMAGE), images=(IMAGE,), insert_id="2", project="shop-backend", number="123456789012")
    page.remediator.handle(denial(other))
    status, text = page.say(f"/r/{record.id}/approve", content=content)
    assert status == 409
    assert "The proposal changed since you opened this page" in text
    assert page.say(f"/r/{record.id}/approve")[0] == 409
    assert page.sandbox.requests(":setIamPolicy") == 0


def test_selected_approvals_go_in_one_and_reasons_are_told(page: Page) -> None:
    page.denied()
    items = re.findall(r'name="item" value="([^"]+)"', page.ask("/")[1])
    assert len(items) == 2
    status, text = page.ask(
        "/approve", [("token", page.token()), *(("item", item) for item in items), ("item", "r-x@y")]
    )
    assert (status, text) == (303, "")
    told = page.headers["location"]
    text = page.ask(told)[1]
    assert "2 of 3 approved." in text
    assert "there is no remediation &#39;r-x&#39;" in text
    assert len(page.sandbox.readers()) == 4
    forged = f"{told[:-2]}{'a' if told[-2] != 'a' else 'b'}{told[-1]}"  # the last character has bits that do not count
    assert "no longer valid" in page.ask(forged)[1]
    page.ask("/approve", {"token": page.token()})
    assert "Nothing was selected." in page.ask(page.headers["location"])[1]
    assert page.sandbox.requests(":setIamPolicy") == 2


def test_nobody_decides_about_their_own_deploy_and_sees_so_before_the_click(
    sandbox_server: SandboxProcess, tmp_path: Path
) -> None:
    page = Page(sandbox_server, tmp_path, REMEDIATE_LOCAL_REVIEWER="ana@example.com")
    try:
        record = page.denied(email="ana@example.com")
        text = page.ask(f"/r/{record.id}")[1]
        assert "it is about their own deploy" in text
        assert "/approve" not in text
        assert page.say(f"/r/{record.id}/approve", content="")[0] == 409
        assert page.sandbox.requests(":setIamPolicy") == 0
    finally:
        page.function.close()


def test_a_rejection_says_why(page: Page) -> None:
    record = page.denied()
    assert page.say(f"/r/{record.id}/reject", reason="  ")[0] == 409
    assert page.say(f"/r/{record.id}/reject", reason="not in this repository")[0] == 303
    text = page.ask(f"/r/{record.id}")[1]
    assert "not in this repository" in text
    assert page.say(f"/r/{record.id}/reject", reason="again")[0] == 409


@pytest.mark.parametrize(
    "path",
    [
        "/trail?before=2026-01-01~r~99999999999999999999",
        "/trail?before=2026-01-01~r~-1",
        f"/?after=2026-01-01~{'r' * 9000}",
        "/trail?before=2999-01-01~%00~1",
        "/?after=9999-12-31T23:59:59%2B99:99~r",
    ],
)
def test_a_mark_that_is_none_of_ours_is_the_first_page(page: Page, path: str) -> None:
    page.denied()
    status, text = page.ask(path[:4000])
    assert status == 200
    assert DEPLOYER.removeprefix("serviceAccount:") in text


def test_a_wrong_method_is_told_with_the_right_ones(page: Page) -> None:
    assert page.ask("/r/r-000000000000/approve")[0] == 405
    assert page.headers["allow"] == "POST"


def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(page: Page) -> None:
    record = page.denied()
    path = page.function.ledger_path
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE remediations SET record = '{}' WHERE id = ?", (record.id,))
    other = next(each for each in page.remediator._ledger.ids() if each != record.id)
    for path_ in ("/", "/map"):
        status, text = page.ask(path_)
        assert status == 200
        assert f"the record of {record.id} cannot be read" in text
    assert other in page.ask("/")[1]
    status, text = page.ask(f"/r/{record.id}")
    assert status == 500
    assert f"the record of {record.id} cannot be read" in text
    assert "trail verify" in text


@pytest.mark.parametrize("token", ["", "x", "somebody else's"])
def test_a_form_that_is_not_ours_changes_nothing(page: Page, tmp_path: Path, token: str) -> None:
    record = page.denied()
    if token.startswith("somebody"):
        other = Page(page.sandbox, tmp_path, REMEDIATE_LOCAL_REVIEWER="eve@example.com")
        token = other.token()
        other.function.close()
    for path in (f"/r/{record.id}/approve", f"/r/{record.id}/reject", "/approve", "/mode"):
        status, text = page.ask(path, {"token": token, "reason": "x", "mode": "enforce"})
        assert (status, "Nothing changed" in text) == (403, True)
    assert page.sandbox.requests(":setIamPolicy") == 0


def test_a_get_changes_nothing_and_odd_paths_are_told(page: Page) -> None:
    record = page.denied()
    assert page.ask(f"/r/{record.id}/approve")[0] == 405
    assert page.ask("/nothing")[0] == 404
    assert page.ask("/r/r-000000000000")[0] == 404
    assert page.ask("/health") == (200, "ok\n")
    assert page.ask("/healthz")[0] == 404  # Cloud Run answers some addresses that end in z itself
    assert page.ask("/", method="DELETE")[0] == 405


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    record = page.denied()
    page.say(f"/r/{record.id}/reject", reason=HOSTILE)
    for path in (f"/r/{record.id}", "/trail", f"/trail?actor={HOSTILE}", f"/?q={HOSTILE}", f"/r/{HOSTILE}"):
        text = page.ask(urllib.parse.quote(path, safe="/?=&"))[1]
        assert HOSTILE not in text, path
    assert html.escape(HOSTILE) in page.ask(f"/r/{record.id}")[1]


def test_every_answer_keeps_the_browser_on_a_short_lead(page: Page) -> None:
    record = page.denied()
    for path in ("/", f"/r/{record.id}", "/trail", "/mode", "/style.css", "/health", "/nothing"):
        text = page.ask(path)[1]
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert not re.findall(r'(?:src|href|action)="(?!/|https://console\.cloud\.google\.com/|#main)[^"]*"', text)
        assert "<script" not in text
        assert "style=" not in text


def test_the_trail_is_filtered_and_downloaded_as_it_is_shown(page: Page) -> None:
    record = page.denied()
    page.say(f"/r/{record.id}/reject", reason="=1+1")
    text = page.ask(f"/trail?actor={LEAD}")[1]
    assert "1 transition, newest first" in text
    assert ",'=1+1," in page.ask(f"/trail?actor={LEAD}&format=csv")[1].splitlines()[1]
    assert page.headers["content-disposition"] == 'attachment; filename="trail.csv"'
    assert page.ask(f"/trail?actor={LEAD}&format=json")[1].count('"after":') == 1
    assert "No transitions match" in page.ask("/trail?since=2999-01-01")[1]


def test_a_renewal_is_shown_as_one_and_as_no_second_grant(page: Page) -> None:
    record = page.denied()
    granted = page.remediator.approve(record.id, actor=LEAD).remediation
    ledger, now = open_ledger(f"sqlite:///{page.function.ledger_path}"), datetime.now(UTC)
    deploy = EarlierDeploy(Member(record.member), now, IMAGE, "abc")
    decision = Decision(Outcome.GRANT, "same project", record.reasons, expires_after=9.0, policy="built-in")
    after, step = renewed(granted, decision, deploy, now=now, until=now + timedelta(days=90))
    ledger.commit(after, trail=[step])
    for path in (f"/r/{record.id}", "/trail"):
        text = page.ask(path)[1]
        assert 'granted →</span> <span class="state granted">renewed</span>' in text
        assert "(log entry abc)" in text
    assert broken_trail(record.id, after, list(ledger.trail(record.id))) is None
    assert page.ask("/map")[0] == 200


def test_the_mode_is_switched_with_a_reason(page: Page) -> None:
    assert "No switch is set" in page.ask("/mode")[1]
    assert page.say("/mode", scope="", mode="enforce", reason="")[0] == 409
    assert page.say("/mode", scope="nowhere", mode="enforce", reason="x")[0] == 409
    assert page.say("/mode", scope="folders/421", mode="enforce", reason="the pilot is over")[0] == 303
    text = page.ask("/mode")[1]
    assert "folders/421" in text
    assert "the pilot is over" in text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"REMEDIATE_LEDGER": "firestore://p/d"}, "REMEDIATE_IAP_AUDIENCE is not set"),
        ({"K_SERVICE": "review"}, "REMEDIATE_IAP_AUDIENCE is not set"),
        ({"REMEDIATE_IAP_AUDIENCE": "/projects/1/locations/x/services/y"}, "REMEDIATE_SECRET is not set"),
        ({"REMEDIATE_IAP_AUDIENCE": "https://x"}, "REMEDIATE_IAP_AUDIENCE='https://x': expected /projects/"),
        ({"REMEDIATE_SECRET": "short-secret"}, "REMEDIATE_SECRET=...: expected at least 32"),
    ],
)
def test_the_pages_do_not_start_without_an_identity(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    framework = str(Path(sys.executable).with_name("functions-framework"))
    environment = {"PATH": "/usr/bin:/bin", "REMEDIATE_LEDGER": f"sqlite:///{tmp_path}/l.db", **settings}
    command = [framework, "--target", "review", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert told in done.stderr
    assert "short-secret" not in done.stderr


def test_behind_iap_nothing_but_health_is_told_without_its_word(sandbox_server: SandboxProcess, tmp_path: Path) -> None:
    audience = {"REMEDIATE_IAP_AUDIENCE": "/projects/1/locations/x/services/y", "REMEDIATE_SECRET": "s" * 32}
    page = Page(sandbox_server, tmp_path, **audience)
    try:
        page.denied()
        for path in ("/", "/trail", "/mode", "/style.css"):
            status, text = page.ask(path)
            assert status == 403
            assert DEPLOYER not in text
        assert page.ask("/health")[0] == 200
        assert len(page.remediator._ledger.find(Filter())) == 2
    finally:
        page.function.close()
