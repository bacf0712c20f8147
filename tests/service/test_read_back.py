"""What an approval reads back: the denial's own entry, and the entries that named deployers; forged ones bar nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from remediate.cloud.interface import EntryKey
from remediate.decisions.policy import Decision, Outcome, decide
from remediate.errors import Refused, RemediateError, TerminalFault, TransientFault
from remediate.iam.member import Member
from remediate.reasons import Reason
from remediate.records import stored_form
from remediate.records.lifecycle import open_remediation, transition
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import AGENT, DEPLOYER, IMAGE, LOGGED, activity, denial, system_event, user_text
from tests.fakes import MemoryLogs
from tests.records.changed import with_fields
from tests.service.helpers import MEMBER, Overlaid, cross, impersonated, proposed, state
from tests.service.world import NOON, REVIEWER, World

REVIEWERS = (REVIEWER, "bo@example.org", "security@example.com")
ANA = "ana@example.com"
OPERATION = "0c1f7c2e-5a7b-4f57-9d54-3f6f0c0d1e2f"


def forged(which: int, *people: str, **more: Any) -> dict[str, Any]:
    """An entry that names people as deployers, and is only delivered: the log does not have it."""
    return impersonated(activity(insert_id=f"forged-{which}", **more), *people)


def deliver(world: World, entry: dict[str, Any]) -> Remediation:
    found = denial(entry)
    if str(entry["insertId"]).startswith("forged"):
        del LOGGED[entry["insertId"]]
    record = world.instance().handle(found).remediation
    assert record
    return record


class Forbidden(MemoryLogs):
    """A Cloud Logging that may not be read, or does not answer."""

    fault: RemediateError = TerminalFault("entries.list: 403 Permission denied")

    def entry(self, key: EntryKey) -> list[bytes]:  # noqa: ARG002
        self.reads += 1
        raise self.fault


class Silent(Forbidden):
    fault = TransientFault("entries.list: 503 unavailable")


# The denial's own entry


def test_an_approval_of_what_the_log_does_not_have_is_refused_and_recorded(world: World) -> None:
    record = deliver(world, forged(1))
    with pytest.raises(Refused, match="Cloud Logging has no such entry"):
        world.instance().approve(record.id, actor=REVIEWER)
    stored = world.ledger.get(record.id)
    assert stored
    assert (stored.state, stored.reasons) == (State.REFUSED, (Reason.UNVERIFIED_EVENT,))
    assert "'forged-1' is not there in the log" in list(world.ledger.trail(record.id))[-1].note
    assert world.registry.writes == 0
    deliver(world, activity(insert_id="real"))
    assert world.instance().approve(record.id, actor=REVIEWER).written
    world.check_trail()


@pytest.mark.parametrize(
    "changed",
    [
        {"email": "mallory@example.com"},
        {"message": user_text(IMAGE.replace("/web", "/other")), "images": (IMAGE.replace("/web", "/other"),)},
        {"project": "shop-backend", "number": "999999999999"},
        {"message": "Quota exceeded."},
    ],
    ids=["another member", "another image", "another project", "no denial"],
)
def test_an_approval_of_what_the_log_has_otherwise_is_refused(world: World, changed: dict[str, Any]) -> None:
    record = deliver(world, activity(insert_id="1"))
    world.logs.written = lambda _: activity(insert_id="1", **changed)
    with pytest.raises(Refused, match="has no such entry, or a different one"):
        world.instance().approve(record.id, actor=REVIEWER)
    assert (state(world, record.id), world.registry.writes) == (State.REFUSED, 0)


@pytest.mark.parametrize("field", ["insertId", "timestamp", "logName"])
def test_an_entry_without_a_whole_name_is_not_in_the_log(world: World, field: str) -> None:
    record = deliver(world, activity(insert_id="1"))
    stored = world.ledger.get(record.id)
    assert stored
    names = {"insertId": "insert_id", "timestamp": "timestamp", "logName": "log_name"}
    entry = replace(stored.tally.entries[0], **{names[field]: None})
    world.ledger.commit(with_fields(stored, entries=(entry,)))
    with pytest.raises(Refused, match="now refused"):
        world.instance().approve(record.id, actor=REVIEWER)


def test_where_the_log_may_not_be_asked_a_person_may_approve_and_the_trail_says_so(world: World) -> None:
    record = proposed(world)
    forbidden = world.instance(logs=Forbidden())
    check = forbidden.check(record.id, REVIEWER)
    assert (check.verdict.verified, check.barred, check.needed) == (None, "", 1)
    done = forbidden.approve(record.id, actor=REVIEWER, note="known")
    assert done.written
    assert Reason.EVENT_UNVERIFIED in done.remediation.reasons
    approved = list(world.ledger.trail(record.id))[1]
    assert Reason.EVENT_UNVERIFIED in approved.reasons
    assert approved.note == "known; Cloud Logging could not be asked whether it has the entry"
    world.check_trail()


def test_where_the_log_does_not_answer_nothing_is_changed(world: World) -> None:
    record = proposed(world)
    with pytest.raises(TransientFault, match="did not answer") as fault:
        world.instance(logs=Silent()).approve(record.id, actor=REVIEWER)
    assert "try again" in fault.value.advice
    assert world.ledger.get(record.id) == record
    assert world.registry.writes == 0


def test_a_young_entry_is_waited_for(world: World) -> None:
    entry = activity(insert_id="forged-1") | {"timestamp": world.now.isoformat()}
    record = deliver(world, entry)
    with pytest.raises(TransientFault, match="does not have the entry yet"):
        world.instance().approve(record.id, actor=REVIEWER)
    assert world.ledger.get(record.id) == record
    world.now += timedelta(minutes=3)
    with pytest.raises(Refused, match="now refused"):
        world.instance().approve(record.id, actor=REVIEWER)


def test_a_record_of_an_earlier_version_can_still_be_approved(world: World) -> None:
    record = proposed(world)
    old = with_fields(record, entries=(), named_by=())
    world.ledger.commit(old)
    assert world.instance().check(record.id).verdict.verified is None
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=DEPLOYER)
    assert world.instance().approve(record.id, actor=REVIEWER).written


def test_a_prediction_is_verified_by_the_denial_that_predicted_it(world: World) -> None:
    world.instance().handle(cross())
    agent = world.records()[f"serviceAccount:{AGENT}"]
    assert world.instance().check(agent.id).verdict.verified is True
    assert world.instance().approve(agent.id, actor=REVIEWER).written
    fake = deliver(world, forged(1, email="mallory@shop-frontend.iam.gserviceaccount.com"))
    assert world.instance().check(fake.id).verdict.verified is False


def test_one_look_up_is_enough_for_a_click_and_for_a_batch(world: World) -> None:
    records = [deliver(world, activity(insert_id=str(n), email=f"ci-{n}@example.com")) for n in range(20)]
    world.logs.reads = 0
    world.instance().approve(records[0].id, actor=REVIEWER)
    assert world.logs.reads == 1
    remediator = world.instance()
    asked = remediator.read_back(records[1:], REVIEWER)
    for each in records[1:]:
        assert remediator.approve(each.id, actor=REVIEWER, asked=asked).written
    assert world.logs.reads == 2


def test_a_real_denial_is_approved_whatever_is_delivered_beside_it(world: World) -> None:
    record = deliver(world, activity(insert_id="1"))
    for number in range(40):
        deliver(world, forged(number))
    done = world.instance().approve(record.id, actor=REVIEWER)
    assert done.written
    assert "'forged-3' is not there in the log" in list(world.ledger.trail(record.id))[-2].note


# Who is named


@pytest.mark.parametrize("first", ["forged", "real"])
@pytest.mark.parametrize("number", [1, 4, 60])
def test_forged_entries_that_name_every_reviewer_lock_nobody_out(world: World, number: int, first: str) -> None:
    entries = [forged(each, *REVIEWERS) for each in range(number)]
    entries.insert(0 if first == "real" else 1, activity(insert_id="real"))
    for entry in entries:
        record = deliver(world, entry)
    stored = world.ledger.get(record.id)
    assert stored
    assert {f"user:{each}" for each in REVIEWERS} <= {*stored.names.deployers}
    for each in REVIEWERS:
        assert world.instance().check(record.id, each).barred == ""
    done = world.instance().approve(record.id, actor=REVIEWERS[number % 3])
    assert done.written
    assert "named user:" in list(world.ledger.trail(record.id))[-2].note
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=DEPLOYER)


def test_whoever_is_locked_out_by_a_forgery_may_reject_too(world: World) -> None:
    deliver(world, activity(insert_id="real"))
    record = deliver(world, forged(1, REVIEWER))
    assert world.instance().reject(record.id, actor=REVIEWER, note="no").state is State.REJECTED


@pytest.mark.parametrize("logs", [Forbidden(), None], ids=["403", "no log"])
def test_where_the_log_does_not_say_whoever_is_named_is_barred(world: World, logs: Any) -> None:
    deliver(world, activity(insert_id="real"))
    record = deliver(world, forged(1, ANA))
    with pytest.raises(Refused, match="own deploy"):
        world.instance(logs=logs).approve(record.id, actor=ANA)
    with pytest.raises(TransientFault):
        world.instance(logs=Silent()).approve(record.id, actor=ANA)
    assert world.registry.writes == 0


@pytest.mark.parametrize("before", [0, 5, 60])
@pytest.mark.parametrize("after", [0, 5, 60])
def test_no_flood_of_forged_entries_lets_a_deployer_approve_their_own_deploy(
    world: World, before: int, after: int
) -> None:
    for number in range(before):
        deliver(world, forged(number, ANA, f"other-{number}@example.com"))
    deliver(world, impersonated(activity(insert_id="real"), ANA))
    for number in range(after):
        record = deliver(world, forged(1000 + number, ANA, "Ana@example.com", f"more-{number}@example.com"))
    record = world.records()[MEMBER]
    for actor in (ANA, "ANA@example.com"):
        with pytest.raises(Refused, match="own deploy"):
            world.instance().approve(record.id, actor=actor)
    assert len(record.names.named_by) <= 102
    assert len(stored_form.encode(record)) < 100_000


@pytest.mark.slow
def test_a_flood_that_cannot_be_checked_bars_everybody_and_stays_small(world: World) -> None:
    forbidden = world.instance(logs=Forbidden())
    for number in range(100):
        people = [f"p{number}-{each}@example.com" for each in range(5)]
        forbidden.handle(denial(impersonated(activity(insert_id=f"x{number}"), *people)))
    record = world.records()[MEMBER]
    assert record.names.crowded
    assert len(stored_form.encode(record)) < 150_000
    with pytest.raises(Refused, match="names too many deployers"):
        world.instance().approve(record.id, actor=REVIEWER)
    world.now += timedelta(days=8)
    list(world.instance().sweep())
    again = deliver(world, activity(insert_id="fresh"))
    assert (again.state, again.names.crowded) == (State.PROPOSED, False)
    assert world.instance().approve(record.id, actor=REVIEWER).written


def test_an_entry_of_before_entries_were_kept_is_not_washed_away_by_a_forged_one(world: World) -> None:
    record = deliver(world, impersonated(activity(insert_id="1"), ANA))
    world.ledger.commit(with_fields(record, named_by=()))
    deliver(world, forged(1, ANA))
    deliver(world, forged(2, "ANA@example.com"))
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)


def test_a_person_behind_the_joined_call_may_not_approve(world: World) -> None:
    """Ana impersonates ci@ and deploys; the service agent alone is denied, in a system event that does not name her."""
    event = system_event(annotations={"run.googleapis.com/operation-id": OPERATION}) | {"insertId": "event"}
    call = impersonated(activity("", insert_id="call", email="ci@shop-frontend.iam.gserviceaccount.com", code=0), ANA)
    LOGGED["call"] = call
    world.logs.operations[OPERATION] = [call]
    found = denial(event)
    key = replace(found.entry, insert_id="call", log_name=call["logName"], timestamp=call["timestamp"])
    named = replace(
        found,
        deployer=Member("serviceAccount:ci@shop-frontend.iam.gserviceaccount.com"),
        behind=(Member(f"user:{ANA}"),),
        call=key,
    )
    record = world.instance().handle(named).remediation
    assert record
    for actor in (ANA, "ci@shop-frontend.iam.gserviceaccount.com"):
        with pytest.raises(Refused, match="own deploy"):
            world.instance().approve(record.id, actor=actor)
    world.logs.reads = 0
    assert world.instance().approve(record.id, actor=REVIEWER).written
    assert world.logs.reads == 1


def test_a_call_that_the_log_does_not_have_bars_nobody(world: World) -> None:
    found = denial(system_event() | {"insertId": "event"})
    key = replace(found.entry, insert_id="nowhere")
    record = world.instance().handle(replace(found, deployer=Member(f"user:{ANA}"), call=key)).remediation
    assert record
    assert world.instance().check(record.id, ANA).barred == ""
    assert world.instance().check(record.id).needed == 2  # the log itself names nobody


def test_whom_the_log_names_is_barred_though_the_delivered_entry_did_not(world: World) -> None:
    record = deliver(world, activity(insert_id="1"))
    world.logs.written = lambda _: impersonated(activity(insert_id="1"), ANA)
    with pytest.raises(Refused, match="own deploy"):
        world.instance().approve(record.id, actor=ANA)
    assert world.instance().approve(record.id, actor=REVIEWER).written


def test_a_workloads_subject_that_looks_like_an_address_is_nobody() -> None:
    pool = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/mine/subject/"
    workforce = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/"
    assert Member(f"user:{ANA}") not in denial(activity(email=None, subject=pool + ANA)).behind
    assert Member(f"user:{ANA}") in denial(activity(email=None, subject=workforce + ANA)).behind


def test_the_decision_is_made_on_the_denial_as_the_log_has_it(world: World) -> None:
    """Entries that are only delivered choose neither the rule nor the place that an approval is decided on."""
    record = deliver(world, activity(insert_id="1"))
    seen: list[Any] = []

    def judged(subject: Any) -> list[Any]:
        seen.append(subject)
        return []

    deliver(world, forged(1, project="platform-images", number="210987654321"))
    changed = world.ledger.get(record.id)
    assert changed
    assert changed.tally.deploys[-1].project == "platform-images"
    places = Overlaid(world.projects, bindings=judged)
    try:
        world.instance(projects=places).approve(record.id, actor=REVIEWER)
    except Refused:
        world.instance(projects=places).approve(record.id, actor=REVIEWER)
    stored = world.ledger.get(record.id)
    assert stored
    assert (stored.state, stored.tally.deploys[-1].project) == (State.GRANTED, "shop-frontend")


# What is stored


def test_digests_and_hashes_of_earlier_records_stay_what_they_were() -> None:
    from remediate.records.digests import content_digest, terms_digest
    from remediate.times import to_rfc3339

    found = denial(activity())
    asks = Decision(Outcome.ASK, "otherwise", (Reason.CROSS_PROJECT,), policy="built-in")
    record, one = open_remediation(found, asks, State.PROPOSED, actor="remediate", now=NOON)
    until = to_rfc3339(NOON + timedelta(days=30))
    record, two = transition(
        record, State.APPROVED, actor=f"user:{ANA}", now=NOON, note="yes", added_by_us=True, expires=until
    )
    record, three = transition(record, State.GRANTED, actor="remediate", now=NOON)
    assert (content_digest(record), terms_digest(record)) == ("dfeddeb244b9", "bf498ae818db")
    assert [step.hash[:12] for step in (one, two, three)] == ["1bb18d703394", "b6eee3435b0a", "171163aae706"]


def test_a_record_of_an_earlier_version_is_read(world: World) -> None:
    record = proposed(world)
    new = ("named_by", "crowded", "entries", "proven", "approvals_needed", "approvals")
    old = {name: value for name, value in stored_form.to_builtins(record).items() if name not in new}
    assert stored_form.decode(msgspec.json.encode(old)).names.deployers == record.names.deployers
    assert record.terms.approvals_needed == 1
    assert decide(cross()).outcome is Outcome.ASK
