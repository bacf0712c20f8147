"""A channel's turn: what is not so any more is not sent, what goes on to fail is given up loudly, patience is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remediate.notify import cards
from remediate.records.notice import Notice, NoticeKind
from remediate.records.results import Limits
from remediate.records.states import State
from tests.notify.receivers import Receiver, receiving
from tests.notify.scene import REVIEWER, Scene, many, notice


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def scene(tmp_path: Path, slack: Receiver) -> Scene:
    limits = Limits(proposals_an_hour=1000)
    return Scene(f"sqlite:///{tmp_path / 'ledger.db'}", limits=limits, REMEDIATE_SLACK_WEBHOOK=slack.url)


def test_a_grant_that_was_taken_away_meanwhile_is_not_told_as_one_that_stands(scene: Scene, slack: Receiver) -> None:
    [record] = scene.denied_at_home()
    scene.sweep()
    slack.answers = [500]
    scene.remediator.approve(record.id, actor=REVIEWER)
    scene.sweep()
    scene.remediator.revoke(record.id, actor=REVIEWER, note="a mistake")
    scene.pass_time(hours=5)
    scene.sweep()
    assert len(slack.posts) == 1  # the proposal
    assert scene.waiting("slack") == []


@pytest.mark.slow
def test_what_is_over_ends_no_turn(scene: Scene, slack: Receiver) -> None:
    many(scene, 120)
    for ident in list(scene.ledger.ids()):
        scene.remediator.reject(ident, actor=REVIEWER, note="no")
    [record] = scene.denied_at_home("new", email="new@shop-frontend.iam.gserviceaccount.com")
    scene.sweep()
    assert len(slack.posts) == 1
    assert record.id in str(slack.posts)
    assert scene.waiting("slack") == []


@pytest.mark.slow
def test_what_is_given_up_is_an_error_line_though_others_wait_on(scene: Scene, slack: Receiver) -> None:
    slack.answers = [500] * 1000
    for hour in range(80):
        if hour < 78:
            scene.denied_at_home(f"{hour}", email=f"deployer-{hour}@shop-frontend.iam.gserviceaccount.com")
        scene.sweep()
        scene.pass_time(hours=1)
    given_up = [each for each in scene.heard.deliveries if each.given_up]
    assert given_up
    assert {each.line()[0] for each in given_up} == {"ERROR"}
    named = {ident for each in given_up for ident in each.notices}
    due = {each.notice.id for each in scene.waiting("slack")}
    assert named
    assert not named & due


def test_all_that_waits_keeps_to_the_patience_that_one_was_asked_for(scene: Scene, slack: Receiver) -> None:
    slack.answers, slack.headers = [429] * 100, {"Retry-After": "3600"}
    many(scene, 5)
    for _ in range(6):
        scene.sweep()
        scene.pass_time(minutes=5)
    assert slack.requests == 1
    scene.pass_time(minutes=31)
    slack.answers = []
    scene.sweep()
    assert len(slack.posts) == 5


def test_a_notice_that_cannot_be_read_keeps_no_other_waiting(scene: Scene, slack: Receiver) -> None:
    many(scene, 3)
    with sqlite3.connect(scene.ledger_url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            'UPDATE parcels SET record = replace(CAST(record AS TEXT), \'"kind":"proposed"\', \'"kind":"postponed"\') '
            "WHERE id = (SELECT min(id) FROM parcels)"
        )
    scene.sweep()
    assert len(slack.posts) == 2


def test_a_partner_that_cannot_be_read_is_in_the_way_of_no_grant(scene: Scene, slack: Receiver) -> None:
    deployer, agent = scene.denied()
    scene.sweep()
    with sqlite3.connect(scene.ledger_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE remediations SET record = '{}' WHERE id = ?", (agent.id,))
    assert scene.remediator.approve(deployer.id, actor=REVIEWER).remediation.state is State.GRANTED
    scene.sweep()
    assert len(slack.posts) == 3


@pytest.mark.parametrize("after", ["²", "٣", "soon", "-1", ""])
def test_an_odd_retry_after_is_none(scene: Scene, slack: Receiver, after: str) -> None:
    slack.answers, slack.headers = [503], {"Retry-After": after.encode().decode("latin-1")}
    scene.denied_at_home()
    assert [each.fault for each in scene.sweep()] == ["slack: HTTP 503"]


@pytest.mark.parametrize("make", [cards.slack, cards.chat])
def test_a_digest_tells_the_brake_first_and_leads_to_the_inbox(make: Callable[[list[Notice]], Any]) -> None:
    brake = notice(
        kind=NoticeKind.BRAKE,
        id="brake.1",
        summary="Rules made many grants.",
        advice="See the inbox.",
        link="https://h/r/app/",
    )
    others = [notice(link="https://h/r/app/r/r-000000000000") for _ in range(30)]
    text = str(make([*others, brake]))
    assert "Rules made many grants. See the inbox." in text
    assert text.index("Rules made many grants.") < text.index("somebody could not read something.")
    assert "https://h/r/app/" in text
    assert "https://h/r/app/r/" not in text
