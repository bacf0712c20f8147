"""What is told and when: a proposal, its end, a grant, a refusal that needs a person, the brake; each once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from remediate.errors import TransientFault
from remediate.reasons import Reason
from remediate.records.notice import NEEDS_A_PERSON, Notice, NoticeKind
from remediate.records.results import Limits
from remediate.records.states import State
from tests.audit_entries import REPOSITORY, bare_text, user_text
from tests.notify.receivers import dead_port
from tests.notify.scene import PAGES, REVIEWER, Scene

OTHER_REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/other"
OTHER_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/other/admin:v1"


@pytest.fixture
def scene(ledger_url: str) -> Scene:
    return Scene(ledger_url, REMEDIATE_SLACK_WEBHOOK=f"http://127.0.0.1:{dead_port()}/x")


@pytest.fixture
def enforce(tmp_path: Path) -> Callable[..., Scene]:
    webhook = f"http://127.0.0.1:{dead_port()}/x"
    url = f"sqlite:///{tmp_path / 'enforce.db'}"
    return lambda **limits: Scene(url, mode="enforce", limits=Limits(**limits), REMEDIATE_SLACK_WEBHOOK=webhook)


def notices(scene: Scene) -> list[Notice]:
    return [each.notice for each in scene.waiting("slack")]


def kinds(scene: Scene) -> list[NoticeKind]:
    return sorted(each.kind for each in notices(scene))


def test_a_proposal_tells_who_could_not_read_what_where_and_how_often(scene: Scene) -> None:
    deployer, agent = scene.denied()
    one, two = sorted(notices(scene), key=lambda notice: notice.denials, reverse=True)
    assert (one.kind, one.remediation, one.member) == (NoticeKind.PROPOSED, deployer.id, deployer.member)
    assert one.summary == (
        "github-deployer@shop-frontend.iam.gserviceaccount.com could not read images in "
        "platform-images/containers (asia-northeast1) when service web in shop-frontend was deployed, once."
    )
    assert (
        one.advice
        == f"Approve or reject it by 2026-11-30 12:00 UTC; then it expires. The same deploy also needs {agent.id}."
    )
    assert one.link == f"{PAGES}/r/{deployer.id}"
    assert "will not be able to read" in two.summary


def test_what_a_rule_grants_at_once_is_told_as_a_grant_alone(enforce: Callable[..., Scene]) -> None:
    scene = enforce()
    [record] = scene.denied_at_home()
    assert record.state is State.GRANTED
    [notice] = notices(scene)
    assert notice.kind is NoticeKind.GRANTED
    assert notice.summary.endswith(
        "can read images in shop-frontend/app (asia-northeast1), approved by rule same project."
    )


def test_a_grant_says_what_the_deployer_does_now_and_from_when(scene: Scene) -> None:
    deployer, agent = scene.denied()
    scene.remediator.approve(deployer.id, actor=REVIEWER)
    scene.remediator.approve(agent.id, actor=REVIEWER, max_duration=timedelta(days=30))
    first, last = (each for each in notices(scene) if each.kind is NoticeKind.GRANTED)
    if first.remediation == agent.id:
        first, last = last, first
    assert (first.retry_from, first.waits_for) == (None, (agent.id,))
    assert first.advice.startswith(f"Wait: the same deploy also needs {agent.id} (proposed).")
    assert (last.retry_from, last.waits_for) == ("2026-11-23T12:02:00.000000Z", ())
    assert last.advice == "Redeploy from 2026-11-23 12:02 UTC: IAM usually needs 2 minutes, sometimes 7 or more."
    assert "until 2026-12-23 12:00 UTC, approved by ana@example.com" in last.summary


def test_nothing_is_told_twice_however_often_it_is_denied_renewed_or_swept(scene: Scene) -> None:
    scene.denied("1")
    scene.denied("2")
    scene.denied("3", project="shop-backend", number="123456789013")
    before = [each.id for each in notices(scene)]
    scene.pass_time(days=6, hours=1)
    for _ in range(3):
        list(scene.remediator.sweep())
    after = [each.id for each in notices(scene)]
    assert len(after) == len(set(after))
    assert sorted(set(after) - set(before)) == sorted(
        f"{each.remediation}.1.lapsing" for each in notices(scene) if each.kind is NoticeKind.LAPSING
    )
    proposals = [each for each in notices(scene) if each.kind is NoticeKind.PROPOSED]
    assert len(proposals) == len({each.remediation for each in proposals})


def test_a_proposal_is_told_once_more_within_a_day_of_its_end_and_not_before(scene: Scene) -> None:
    scene.denied()
    scene.pass_time(days=5, hours=23)
    list(scene.remediator.sweep())
    assert kinds(scene) == [NoticeKind.PROPOSED] * 2
    scene.pass_time(hours=2)
    list(scene.remediator.sweep())
    assert kinds(scene) == [NoticeKind.LAPSING] * 2 + [NoticeKind.PROPOSED] * 2
    expiry_reminder = next(each for each in notices(scene) if each.kind is NoticeKind.LAPSING)
    assert expiry_reminder.lapses == "2026-11-30T12:00:00.000000Z"
    assert expiry_reminder.summary.endswith("the proposal expires at 2026-11-30 12:00 UTC.")


def test_what_is_denied_again_after_its_end_is_told_anew(scene: Scene) -> None:
    deployer, _ = scene.denied()
    scene.pass_time(days=8)
    list(scene.remediator.sweep())
    scene.denied("2")
    told = sorted(each.id for each in notices(scene) if each.remediation == deployer.id)
    assert told == [f"{deployer.id}.1.proposed", f"{deployer.id}.2.proposed"]


@pytest.mark.parametrize(
    ("repository", "reason"),
    [
        ("projects/other-images/locations/us/repositories/x", Reason.OTHER_ORGANIZATION),
        ("projects/shop-frontend/locations/us/repositories/never-made", Reason.REPOSITORY_NOT_FOUND),
    ],
)
def test_a_refusal_that_needs_a_person_says_what_to_do(scene: Scene, repository: str, reason: Reason) -> None:
    scene.denied(message=bare_text(repository), images=())
    [notice] = notices(scene)
    assert notice.kind is NoticeKind.REFUSED
    assert reason.sentence in notice.summary
    assert notice.advice == NEEDS_A_PERSON[reason]
    assert notice.link == f"{PAGES}/r/{notice.remediation}"


def test_a_final_answer_of_googles_is_told_with_its_words(scene: Scene) -> None:
    deployer, _ = scene.denied()
    scene.registry.refuse_writes = True
    scene.remediator.approve(deployer.id, actor=REVIEWER)
    notice = next(each for each in notices(scene) if each.kind is NoticeKind.REFUSED)
    assert (notice.state, notice.note) == (
        State.FAILED,
        "setIamPolicy: 400 the member does not belong to a permitted customer",
    )


def test_a_rejection_or_revocation_is_told_to_nobody(scene: Scene) -> None:
    deployer, agent = scene.denied()
    scene.remediator.reject(agent.id, actor=REVIEWER, note="no")
    scene.remediator.approve(deployer.id, actor=REVIEWER)
    scene.remediator.revoke(deployer.id, actor=REVIEWER, note="enough")
    assert set(kinds(scene)) == {NoticeKind.PROPOSED, NoticeKind.GRANTED}


def test_a_members_brake_does_not_hide_that_of_everything(enforce: Callable[..., Scene]) -> None:
    scene = enforce(grants_an_hour=2, grants_to_a_member=1)
    scene.registry.policies[OTHER_REPOSITORY] = []
    busy = "deployer-0@shop-frontend.iam.gserviceaccount.com"
    scene.denied_at_home("0", email=busy)
    scene.denied("1", message=user_text(OTHER_IMAGE), images=(OTHER_IMAGE,), email=busy)
    for number in range(2, 5):
        scene.denied_at_home(str(number), email=f"deployer-{number}@shop-frontend.iam.gserviceaccount.com")
    member, everything = sorted(
        (each for each in notices(scene) if each.kind is NoticeKind.BRAKE), key=lambda each: -len(each.id)
    )
    assert f"Automatic grants to {busy} reached the hourly limit." in member.summary
    assert everything.id == "brake.2026-11-23T12"
    assert "Automatic grants reached the hourly limit." in everything.summary


def test_the_brake_is_told_once_an_hour(enforce: Callable[..., Scene]) -> None:
    scene = enforce(grants_an_hour=1)
    for number in range(4):
        scene.denied_at_home(str(number), email=f"deployer-{number}@shop-frontend.iam.gserviceaccount.com")
    assert [each.id for each in notices(scene) if each.kind is NoticeKind.BRAKE] == ["brake.2026-11-23T12"]
    scene.pass_time(hours=1)
    for number in range(4, 7):
        scene.denied_at_home(str(number), email=f"deployer-{number}@shop-frontend.iam.gserviceaccount.com")
    brakes = [each for each in notices(scene) if each.kind is NoticeKind.BRAKE]
    assert [each.id for each in brakes] == ["brake.2026-11-23T12", "brake.2026-11-23T13"]
    assert brakes[0].link == f"{PAGES}/"
    assert brakes[0].summary.endswith(
        "The first: deployer-1@shop-frontend.iam.gserviceaccount.com on shop-frontend/app (asia-northeast1)."
    )


def test_without_a_channel_nothing_is_stored(ledger_url: str) -> None:
    scene = Scene(ledger_url)
    scene.denied()
    assert scene.notifier is None
    assert [scene.waiting(name) for name in ("pubsub", "slack", "chat")] == [[], [], []]


def test_a_step_that_could_not_be_stored_is_not_told(scene: Scene) -> None:
    class Full(type(scene.ledger)):  # type: ignore[misc]  # the class is known only once the test runs
        def commit(self, *_: object, **__: object) -> None:
            raise TransientFault("the disk is full")

    scene.ledger.__class__ = Full
    with pytest.raises(TransientFault):
        scene.denied()
    assert notices(scene) == []


def test_a_notice_is_complete_without_a_look_at_the_ledger(scene: Scene) -> None:
    scene.denied()
    [notice] = [each for each in notices(scene) if each.denials]
    assert (notice.repository, notice.role) == (REPOSITORY, "roles/artifactregistry.reader")
    assert notice.image == "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:v2"
    assert notice.deploy
    assert (notice.deploy.project, notice.deploy.name) == ("shop-frontend", "web")
    assert [why.code for why in notice.reasons] == ["cross_project"]
