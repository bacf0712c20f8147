"""What people and machines are told of a flood of denials: one notice for all of it, and each one to a topic."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from msgspec.structs import replace

from remediate.notify import cards
from remediate.records.notice import Notice, NoticeKind
from remediate.records.results import Limits
from remediate.records.states import State
from tests.audit_entries import bare_text
from tests.notify.receivers import dead_port
from tests.notify.scene import PAGES, REVIEWER, SAME_REPOSITORY, Scene, many

LIMITS = Limits(proposals_an_hour=3)
TOPIC = "projects/remediate-ops/topics/notices"


@pytest.fixture
def scene(ledger_url: str) -> Scene:
    return open_remediation(ledger_url)


def open_remediation(ledger_url: str, mode: str = "dry-run", limits: Limits = LIMITS) -> Scene:
    port = dead_port()
    hook = f"http://127.0.0.1:{port}/x"
    said = {"REMEDIATE_PROPOSALS_AN_HOUR": "3", "REMEDIATE_SLACK_WEBHOOK": hook, "REMEDIATE_CHAT_WEBHOOK": hook}
    said |= {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{port}"}
    return Scene(ledger_url, said, limits=limits, mode=mode, REMEDIATE_NOTIFY_TOPIC=TOPIC)


def told(scene: Scene, channel: str = "slack") -> list[Notice]:
    return [each.notice for each in scene.waiting(channel)]


def kinds(scene: Scene, channel: str = "slack") -> Counter[NoticeKind]:
    return Counter(each.kind for each in told(scene, channel))


def test_people_get_one_notice_of_a_flood_and_machines_each(scene: Scene) -> None:
    many(scene, 9)
    for people in ("slack", "chat"):
        assert kinds(scene, people) == {NoticeKind.PROPOSED: 3, NoticeKind.GATHERED: 1}
    assert kinds(scene, "pubsub") == {NoticeKind.PROPOSED: 9, NoticeKind.GATHERED: 1}
    [one] = [each for each in told(scene) if each.kind is NoticeKind.GATHERED]
    assert one.id.startswith("gathered.2026-11-23T12.")
    assert one.link == f"{PAGES}/?state=proposed&gathered=2026-11-23T12/shop-frontend"
    assert one.summary.startswith(
        "Denials in shop-frontend opened more than 3 proposals between 2026-11-23 12:00 and 13:00 UTC."
    )


def test_each_hour_and_project_has_a_notice_of_its_own(scene: Scene) -> None:
    many(scene, 5)
    scene.pass_time(hours=1)
    for number in range(5):
        scene.denied_at_home(f"later-{number}", email=f"later-{number}@shop-frontend.iam.gserviceaccount.com")
        email = f"other-{number}@shop-frontend.iam.gserviceaccount.com"
        scene.denied(f"other-{number}", email=email, project="shop-backend", number="123456789013")
    floods = [each.link for each in told(scene) if each.kind is NoticeKind.GATHERED]
    groups = sorted(str(link).partition("gathered=")[2] for link in floods)
    assert groups == ["2026-11-23T12/shop-frontend", "2026-11-23T13/shop-backend", "2026-11-23T13/shop-frontend"]


def test_before_a_flood_lapses_there_is_one_reminder_for_people(scene: Scene) -> None:
    many(scene, 9)
    scene.pass_time(days=6, hours=1)
    for _ in range(2):
        list(scene.remediator.sweep())
    assert kinds(scene) == {NoticeKind.PROPOSED: 3, NoticeKind.LAPSING: 3, NoticeKind.GATHERED: 2}
    assert kinds(scene, "pubsub") == {NoticeKind.PROPOSED: 9, NoticeKind.LAPSING: 9, NoticeKind.GATHERED: 2}
    [reminder] = [each for each in told(scene) if each.id.endswith(".lapsing") and each.kind is NoticeKind.GATHERED]
    assert reminder.lapses == "2026-11-30T12:00:00.000000Z"
    assert "expire from 2026-11-30T12:00Z" in reminder.summary


def test_what_somebody_approved_of_a_flood_is_told_by_itself(scene: Scene) -> None:
    many(scene, 5)
    flooded = [each for each in map(scene.ledger.get, scene.ledger.ids()) if each and each.tally.gathered]
    scene.remediator.approve(flooded[0].id, actor=REVIEWER)
    scene.registry.refuse_writes = True
    scene.remediator.approve(flooded[1].id, actor=REVIEWER)
    assert kinds(scene)[NoticeKind.GRANTED] == 1
    [failed] = [each for each in told(scene) if each.kind is NoticeKind.REFUSED]
    assert (failed.state, failed.remediation) == (State.FAILED, flooded[1].id)


def test_refusals_that_need_a_person_are_gathered_too(scene: Scene) -> None:
    for number in range(9):
        text = bare_text(f"projects/other-images/locations/us/repositories/r{number}")
        scene.denied(str(number), message=text, images=())
    assert kinds(scene) == {NoticeKind.REFUSED: 3, NoticeKind.GATHERED: 1}
    assert kinds(scene, "pubsub") == {NoticeKind.REFUSED: 9, NoticeKind.GATHERED: 1}
    [one] = [each for each in told(scene) if each.kind is NoticeKind.GATHERED]
    assert "more than 3 refusals" in one.summary
    assert "state=refused" in str(one.link)


def test_a_flood_pulls_no_brake_notice_a_member(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('brakes') / 'ledger.db'}"
    scene = open_remediation(url, "enforce", replace(LIMITS, grants_an_hour=1000, grants_to_a_member=0))
    many(scene, 9)
    assert {each.state for each in map(scene.ledger.get, scene.ledger.ids()) if each} == {State.PROPOSED}
    assert kinds(scene) == {NoticeKind.PROPOSED: 3, NoticeKind.BRAKE: 3, NoticeKind.GATHERED: 1}
    assert kinds(scene, "pubsub")[NoticeKind.BRAKE] == 9
    assert scene.registry.readers(SAME_REPOSITORY) == []


@pytest.mark.parametrize("maker", [cards.slack, cards.chat])
def test_a_card_of_a_flood_leads_to_all_of_it_and_comes_first_in_a_digest(scene: Scene, maker: object) -> None:
    assert callable(maker)
    many(scene, 9)
    [one] = [each for each in told(scene) if each.kind is NoticeKind.GATHERED]
    text = json.dumps(maker([one])).replace("&amp;", "&")
    assert str(one.link) in text
    assert "Open the inbox" in text
    digest = json.dumps(maker(told(scene)))
    assert "1 flood of denials" in digest
    assert digest.index("Flood of denials: ") < digest.index("Proposal opened: ")
    assert f"{PAGES}/" in digest


@pytest.mark.slow
def test_a_notice_of_a_flood_is_sent_though_its_first_was_decided_meanwhile(ledger_url: str) -> None:
    scene = open_remediation(ledger_url)
    many(scene, 9)
    for ident in list(scene.ledger.ids()):
        scene.remediator.reject(ident, actor=REVIEWER, note="forged")
    assert scene.notifier
    scene.sweep()
    assert [each.notice.kind for each in scene.waiting("slack")] == []  # postponed: nothing listens
    faults = {notice for sending in scene.heard.deliveries for notice in sending.notices if sending.channel == "slack"}
    assert [each.split(".")[0] for each in faults] == ["gathered"]
