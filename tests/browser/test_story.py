"""The whole story by clicks, against the real function and the sandbox: on a phone, at a desk, without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.audit_entries import activity, push_body, user_text
from tests.browser.scene import LEAD, PHONE, SECURITY, WIDE, Scene
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE

WHO, AGENT_ADDRESS = DEPLOYER.partition(":")[2], AGENT.partition(":")[2]


def nothing_is_cut(page: Page) -> None:
    """No page is wider than its window, so that nobody has to scroll sideways for what matters."""
    page.wait_for_load_state()  # a page is wider before it has its style
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1], page.url


@pytest.mark.parametrize(("size", "javascript"), [(PHONE, True), (WIDE, False)], ids=["phone", "desk, no JavaScript"])
def test_a_failed_deploy_is_cured_by_clicks_and_taken_back(
    scene: Scene, size: tuple[int, int], javascript: bool
) -> None:
    before = scene.sandbox.readers()
    page = scene.open(size, javascript=javascript)
    expect(page.get_by_text("No open proposals.")).to_be_visible()

    scene.deny()
    page.reload()
    expect(page.get_by_role("listitem").filter(has=page.get_by_role("checkbox"))).to_have_count(2)
    if javascript:
        nothing_is_cut(page)
    page.get_by_role("link", name=WHO).click()

    told = f"{WHO} could not read images in platform-images/containers (asia-northeast1) while deploying web in"
    expect(page.get_by_role("heading", level=1)).to_contain_text(told)
    expect(page.locator("ins")).to_have_text(DEPLOYER)
    expect(page.get_by_text("yes, a standard repository")).to_be_visible()
    expect(page.locator("dd", has_text=re.compile("^unknown$"))).not_to_have_count(0)
    if javascript:
        nothing_is_cut(page)
    page.get_by_label("Why (optional)").fill("the shop's own pipeline")
    page.get_by_label("How long").select_option("30 days")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Granted, but the deploy still needs")
    expect(page.get_by_text("the shop's own pipeline")).to_be_visible()
    expect(page.get_by_text("ends automatically in 29 days")).to_be_visible()

    page.get_by_role("status").get_by_role("link", name=AGENT_ADDRESS).click()
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Retry the deploy from")
    assert sorted(set(scene.sandbox.readers()) - set(before)) == sorted([DEPLOYER, AGENT])
    assert scene.sandbox.deploy()["exit_code"] == 0

    page.get_by_role("link", name="Trail", exact=True).click()
    expect(page.get_by_role("row")).to_have_count(1 + 6)
    page.get_by_label("Became").select_option("granted")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("row")).to_have_count(1 + 2)
    if javascript:
        nothing_is_cut(page)
    page.get_by_role("link", name="Map", exact=True).click()
    expect(page.get_by_role("group", name="Deploying projects")).to_be_visible()

    page.goto(scene.url() + "?state=granted")
    for name in (WHO, AGENT_ADDRESS):
        page.get_by_role("link", name=name).click()
        page.get_by_label("Why", exact=True).fill("the pipeline has moved")
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("The next denial opens a new proposal.")).to_be_visible()
        page.goto(scene.url() + "?state=granted")
    assert scene.sandbox.readers() == before
    assert scene.complaints == []


def test_both_hops_are_approved_in_one_go_and_a_reload_repeats_nothing(scene: Scene) -> None:
    scene.deny()
    page = scene.open(PHONE)
    page.get_by_role("link", name=WHO).click()
    page.get_by_role("button", name="Approve both").click()
    expect(page.get_by_role("status")).to_contain_text("2 of 2 approved.")
    writes = scene.sandbox.requests(":setIamPolicy")
    page.reload()
    page.go_back()
    page.go_forward()
    assert scene.sandbox.requests(":setIamPolicy") == writes == 2
    expect(page.get_by_text("No open proposals.")).to_be_visible()


def test_selected_ones_are_approved_and_the_others_are_left(scene: Scene) -> None:
    scene.deny()
    scene.deny(member="user:ana@example.com")
    page = scene.open()
    page.get_by_role("link", name="Select all on this page").click()
    expect(page.locator("input:checked")).to_have_count(3)
    page.get_by_role("checkbox", name="ana@example.com").uncheck()
    page.get_by_role("button", name="Approve selected").click()
    expect(page.get_by_role("status")).to_contain_text("2 of 2 approved.")
    assert DEPLOYER in scene.sandbox.readers()
    assert "user:ana@example.com" not in scene.sandbox.readers()


def test_a_rejection_needs_a_reason_and_says_what_follows(scene: Scene) -> None:
    scene.deny()
    page = scene.open()
    page.get_by_role("link", name=WHO).click()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_label("Why not")).to_be_focused()  # the browser itself asks for it
    page.get_by_label("Why not").fill("not by this account")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Further failures will not ask again for 30 days")).to_be_visible()
    expect(page.get_by_text("not by this account")).to_be_visible()


def test_everything_is_reached_and_decided_by_keyboard_alone(scene: Scene) -> None:
    scene.deny()
    page = scene.open()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"{selector} is not reached by Tab")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to(".row .head a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/r/r-*")
    tab_to("select[name=lasts]")
    page.keyboard.press("ArrowDown")
    tab_to("form[action$='/approve'] button.primary")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # one sees where one is
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Granted")
    expect(page.get_by_text("ends automatically in 23 hours")).to_be_visible()


def test_of_two_reviewers_who_click_at_once_one_wins_and_the_other_is_told(two_reviewers: Scene) -> None:
    two_reviewers.deny()
    ana, ben = two_reviewers.open(who=LEAD), two_reviewers.open(who=SECURITY)
    for page in (ana, ben):
        page.get_by_role("link", name=WHO).click()
    ben.get_by_label("Why not").fill("not yet")
    ana.get_by_role("button", name="Approve", exact=True).click(no_wait_after=True)
    ben.get_by_role("button", name="Reject").click(no_wait_after=True)
    granted, rejected = ana.get_by_role("status"), ben.get_by_text("Rejected. Further failures")
    expect(granted.or_(ana.get_by_role("alert"))).to_be_visible()
    expect(rejected.or_(ben.get_by_role("alert"))).to_be_visible()
    assert granted.is_visible() != rejected.is_visible()
    loser = ben if granted.is_visible() else ana
    expect(loser.get_by_role("alert")).to_contain_text("it cannot be")
    assert (DEPLOYER in two_reviewers.sandbox.readers()) == granted.is_visible()


def test_two_reviewers_who_both_approve_make_one_write(two_reviewers: Scene) -> None:
    two_reviewers.deny()
    pages = [two_reviewers.open(who=LEAD), two_reviewers.open(who=SECURITY)]
    for page in pages:
        page.get_by_role("link", name=WHO).click()
    for page in pages:
        page.get_by_role("button", name="Approve", exact=True).click(no_wait_after=True)
    for page in pages:
        expect(page.get_by_text("granted", exact=True).first).to_be_visible()
    assert two_reviewers.sandbox.requests(":setIamPolicy") == 1


def test_a_page_that_has_grown_stale_approves_nothing_that_was_not_seen(scene: Scene) -> None:
    scene.deny()
    page = scene.open()
    page.get_by_role("link", name=WHO).click()
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    other = activity(user_text(IMAGE), images=(IMAGE,), insert_id="2", project="shop-backend", number="700000000002")
    assert scene.function.push(push_body(other), "2") == 200
    page.get_by_label("Why (optional)").fill("as I saw it")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The proposal changed since you opened this page")
    expect(page.get_by_label("Why (optional)")).to_have_value("as I saw it")
    assert scene.sandbox.requests(":setIamPolicy") == 0
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Granted")


def test_the_mode_is_switched_with_a_reason_and_tells_who_and_why(scene: Scene) -> None:
    page = scene.open(PHONE)
    page.get_by_role("link", name="Mode", exact=True).click()
    page.get_by_label("Where").fill("nowhere")
    page.locator("select[name=mode]").select_option("enforce")
    page.get_by_label("Why").fill("the pilot is over")
    page.get_by_role("button", name="Switch").click()
    expect(page.get_by_role("alert")).to_contain_text("'nowhere' is not a scope; accepted: organizations/NUMBER")
    expect(page.get_by_label("Why")).to_have_value("the pilot is over")
    page.get_by_label("Where").fill("folders/310000000001")
    page.get_by_role("button", name="Switch").click()
    row = page.get_by_role("row", name="folders/310000000001 enforce")
    expect(row.first).to_contain_text("the pilot is over")
    expect(row.first).to_contain_text(LEAD)
    nothing_is_cut(page)
