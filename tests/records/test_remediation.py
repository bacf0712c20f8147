"""A record takes only the transitions there are, and every one of them leaves a record that cannot be changed unseen."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from remediate.decisions.policy import decide
from remediate.errors import Refused
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.reasons import Reason
from remediate.records.hash_chain import digest
from remediate.records.lifecycle import open_remediation, transition, with_denial
from remediate.records.remediation import Remediation
from remediate.records.states import TRANSITIONS, State
from tests.audit_entries import REPOSITORY, activity, denial
from tests.records.changed import with_fields

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANA = "user:ana@example.com"


def record(**changes: Any) -> Remediation:
    found = denial(activity())
    return with_fields(
        open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=NOON)[0], **changes
    )


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_only_the_transitions_of_the_table_exist(before: State, after: State) -> None:
    if after in TRANSITIONS[before]:
        assert transition(record(state=before), after, actor=ANA, now=NOON)[0].state is after
    else:
        with pytest.raises(Refused, match=f"is {before}; it cannot become {after}"):
            transition(record(state=before), after, actor=ANA, now=NOON)


def test_nothing_becomes_granted_without_having_been_approved() -> None:
    before = [state for state, following in TRANSITIONS.items() if State.GRANTED in following]
    assert before == [State.APPROVED, State.GRANTED]  # the latter is a renewal of what was approved


def test_an_id_is_made_of_both_names() -> None:
    repository = Repository.parse(REPOSITORY)
    assert repository
    ids = {
        Grant(repository, Member(ANA)).id,
        Grant(repository, Member("user:bo@example.com")).id,
        Grant(replace(repository, location="us"), Member(ANA)).id,
    }
    assert len(ids) == 3
    assert Grant(repository, Member("user:ANA@example.com")).id in ids


def test_the_hash_covers_every_field_and_the_record_before() -> None:
    start = record()
    _, step = transition(start, State.APPROVED, actor=ANA, now=NOON, note="because")
    assert step.previous == start.storage.trail_hash != ""
    assert step.hash == digest(step)
    changed: dict[str, Any] = {"seq": 9, "before": None, "after": State.REJECTED, "reasons": (Reason.DRY_RUN,)}
    for name in asdict(step):
        if name != "hash":
            assert digest(replace(step, **{name: changed.get(name, "x")})) != step.hash, name


def test_counting_keeps_first_and_last_whatever_the_order_and_never_the_future() -> None:
    start = record()
    for minutes in (-5, 3, -60, 60 * 24 * 365):
        entry = activity() | {"timestamp": (NOON + timedelta(minutes=minutes)).isoformat()}
        start = with_denial(start, denial(entry), NOON + timedelta(minutes=10))
    assert start.tally.denials == 5
    assert (start.tally.first_seen, start.tally.last_seen) == (
        "2026-11-23T08:00:00.123456Z",
        "2026-11-23T12:10:00.000000Z",
    )


def test_what_a_record_keeps_is_bounded() -> None:
    start = record()
    for number in range(100):
        image = f"asia-northeast1-docker.pkg.dev/platform-images/containers/app-{number}"
        start = with_denial(start, replace(denial(activity()), image=image), NOON)
    assert len(start.tally.images) == 20
    assert start.tally.denials == 101


def test_no_deployer_is_ever_forgotten_for_they_may_not_approve() -> None:
    start = record()
    for number in range(100):
        start = with_denial(start, denial(activity(email=f"deployer-{number}@example.com")), NOON)
    assert len(start.names.deployers) == 101


def test_the_last_troubleshooter_link_stays_with_the_record() -> None:
    link = "https://console.cloud.google.com/iam-admin/troubleshooter/summary;errorId=x"
    with_link, without = (replace(denial(activity()), troubleshooter=each) for each in (link, None))
    first = with_denial(record(), with_link, NOON)
    assert (record().tally.troubleshooter, first.tally.troubleshooter) == (None, link)
    assert with_denial(first, without, NOON).tally.troubleshooter == link
