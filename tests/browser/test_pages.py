"""Every page in a real browser: accessible, light and dark; from one origin alone; and hostile names are only text."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from remediate.decisions.policy import decide
from remediate.entries.denial import Deploy
from remediate.ledger.opening import open_ledger
from remediate.records.lifecycle import open_remediation, transition
from remediate.records.states import State
from tests.audit_entries import activity, denial, push_body, user_text
from tests.browser.scene import PHONE, WIDE, Scene
from tests.records.changed import with_fields
from tests.sandbox_fixture import ROOT

PATHS = {
    "inbox": "",
    "inbox, filtered": "?state=all&project=shop&select=all",
    "inbox, nothing found": "?q=nothing-like-this",
    "inbox, no such state": "?state=unheard-of",
    "trail": "trail",
    "trail, wrong time": "trail?since=yesterday",
    "trail, nothing found": "trail?actor=nobody",
    "map": "map",
    "map, one project": "map?project=shop-frontend&link=granted",
    "mode": "mode",
    "no such remediation": "r/r-000000000000",
    "no such page": "nothing",
}


def one_of(page: Page, scene: Scene, state: str) -> str:
    page.goto(f"{scene.url()}?state={state}")
    return (page.locator(".row .head a").first.get_attribute("href") or "").lstrip("/")


@pytest.mark.parametrize(("scheme", "size"), [("dark", PHONE), ("light", WIDE)], ids=["dark phone", "light desk"])
def test_no_page_has_a_fault_that_axe_knows(company: Scene, scheme: str, size: tuple[int, int]) -> None:
    page = company.open(size, scheme=scheme)
    paths = {state: one_of(page, company, state) for state in ("proposed", "granted", "rejected", "revoked")}
    for name, path in (PATHS | paths).items():
        page.goto(company.url() + path)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        result = Axe().run(page)
        assert result.violations_count == 0, f"{name}: {result.generate_report()}"
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], name


def test_nothing_leaves_the_origin_but_what_a_person_clicks(company: Scene) -> None:
    page = company.open()
    paths = [one_of(page, company, state) for state in ("proposed", "granted")]
    company.requests.clear()
    company.complaints.clear()
    for path in (*PATHS.values(), *paths):
        page.goto(company.url() + path)
        for link in page.locator("a[href^=http]").all():
            assert (link.get_attribute("href") or "").startswith("https://console.cloud.google.com/")
            assert link.get_attribute("rel") == "noreferrer noopener"
    assert len(company.requests) >= len(PATHS)
    assert [url for url in company.requests if not url.startswith(company.url())] == []
    assert [text for text in company.complaints if "404" not in text and "400" not in text] == []


def test_links_lead_to_the_very_entry_service_and_repository(scene: Scene) -> None:
    scene.deny()
    page = scene.open()
    page.locator(".row .head a", has_text="github-deployer").click()
    links = {link.inner_text(): link.get_attribute("href") or "" for link in page.locator(".links a").all()}
    console = "https://console.cloud.google.com"
    assert links["Service"] == f"{console}/run/detail/asia-northeast1/web?project=shop-frontend"
    assert links["Repository"].startswith(f"{console}/artifacts/docker/platform-images/asia-northeast1/containers?")
    assert links["IAM of the registry project"] == f"{console}/iam-admin/iam?project=platform-images"
    for part in ('resource.labels.service_name="web"', "timestamp>=", 'resource.type="cloud_run_revision"'):
        assert quote(part, safe="") in links["Log entry"]
    assert links["Log entry"].endswith("?project=shop-frontend")


def test_times_are_relative_and_exact_where_one_points(company: Scene) -> None:
    page = company.open()
    page.goto(company.url() + "trail")
    for each in page.locator("time").all()[:20]:
        exact = datetime.fromisoformat(each.get_attribute("datetime") or "")
        assert each.get_attribute("title") == f"{exact.astimezone(UTC):%a %d %b %Y, %H:%M:%S} UTC"
        assert each.inner_text().endswith(("ago", "just now"))


HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>{{ 7 * 7 }}<svg/onload=alert(3)>'-alert(4)-'"


def test_hostile_names_are_shown_and_do_nothing(scene: Scene) -> None:
    """What no entry can put into a record, and what one can: each text of a record, and an image's name."""
    found = denial(activity())
    now = datetime.now(UTC)
    record, step = open_remediation(found, decide(found), State.PROPOSED, actor=HOSTILE, now=now, note=HOSTILE)
    ledger = open_ledger(scene.environment["REMEDIATE_LEDGER"])
    record = ledger.commit(record, trail=[step])
    rejected, over = transition(record, State.REJECTED, actor=f"user:{HOSTILE}@example.com", now=now, note=HOSTILE)
    texts = {"rule": HOSTILE, "rule_comment": HOSTILE, "images": (HOSTILE,), "approver": f"user:{HOSTILE}"}
    where = Deploy(project=HOSTILE, number=HOSTILE, location=HOSTILE, name=HOSTILE)
    ledger.commit(with_fields(rejected, **texts, deploys=(where,)), trail=[over])
    image = f"asia-northeast1-docker.pkg.dev/platform-images/containers/{HOSTILE}"
    assert scene.function.push(push_body(activity(user_text(image), images=(image,), insert_id="9")), "9") == 200
    page = scene.open()
    asked = quote(HOSTILE)
    paths = (f"r/{record.id}", "?state=all", "?state=rejected", "trail", "map", f"?q={asked}", f"?state={asked}", f"trail?actor={asked}&since={asked}", f"map?project={asked}", f"r/{asked}", f"?result={asked}", f"?after={asked}", f"trail?before={asked}")  # fmt: skip
    for path in paths:
        page.goto(scene.url() + path)
        assert page.locator("img, script, iframe, [onerror], [onload], [style]").count() == 0, path
        assert "49" not in page.locator("main").inner_text().replace("49 ", ""), path
    page.goto(f"{scene.url()}r/{record.id}")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert [text for text in scene.complaints if "status of 40" not in text] == []
    assert all(url.startswith(scene.url()) for url in scene.requests)


def test_what_make_run_prints_is_a_page_that_works(tmp_path: Path, browser: Browser) -> None:
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", ".run", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignored)
    command = [sys.executable, "-m", "sandbox", "story"]
    process = subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    shown = []
    try:
        for line in process.stdout:
            shown.append(line.strip())
            if "Ctrl-C ends everything" in line:
                break
        url = shown[next(number for number, line in enumerate(shown) if "open the review page" in line) + 1]
        page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
        page.goto(url)
        page.locator(".row .head a", has_text="github-deployer").click()
        page.get_by_role("button", name="Approve both").click()
        expect(page.get_by_role("status")).to_contain_text("2 of 2 approved.")
        page.context.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stdout.close()
