"""A plan groups what is denied by repository and member, counts it, and foresees the second hop."""

from __future__ import annotations

from typing import Any

from remediate.decisions.plan import Plan, Report
from remediate.decisions.policy import BUILT_IN, Outcome, Rules
from remediate.reasons import Reason
from tests.audit_entries import (
    AGENT,
    DEPLOYER,
    PROJECT,
    REPOSITORY,
    activity,
    bare_text,
    call_entry,
    system_event,
    understood,
    user_text,
)
from tests.policies import WIDER

SAME = f"us-docker.pkg.dev/{PROJECT}/app/web"


def planned(*entries: dict[str, Any], rules: Rules = BUILT_IN) -> Report:
    plan = Plan(rules)
    for entry in entries:
        plan.add(understood(entry))
    return plan.report()


def test_denials_of_one_grant_are_counted_with_first_and_last() -> None:
    one, two, three = (activity(insert_id=str(number)) for number in range(3))
    one["timestamp"], two["timestamp"] = "2026-01-02T00:00:00.000000002Z", "2026-01-02T00:00:00.000000001Z"
    three["timestamp"] = "not a time"
    [deployer] = [each for each in planned(one, two, three).grants if not each.predicted]
    assert (deployer.repository, deployer.member, deployer.denials) == (REPOSITORY, f"serviceAccount:{DEPLOYER}", 3)
    assert (deployer.first_seen, deployer.last_seen) == (two["timestamp"], one["timestamp"])


def test_the_second_hop_is_foreseen_under_grants_only() -> None:
    report = planned(activity(), call_entry("an-operation"))
    [agent] = [each for each in report.grants if each.predicted]
    assert (agent.member, agent.denials, agent.readers) == (f"serviceAccount:{AGENT}", 0, ["service_agent"])
    assert agent.reasons == [Reason.PREDICTED, Reason.CROSS_PROJECT]
    assert (len(report.entries), report.summary.denials) == (2, 1)


def test_a_second_hop_that_was_denied_is_no_prediction() -> None:
    for order in ((activity(), system_event()), (system_event(), activity())):
        [agent] = [each for each in planned(*order).grants if each.member == f"serviceAccount:{AGENT}"]
        assert (agent.predicted, agent.denials, agent.reasons) == (
            False,
            1,
            [Reason.CROSS_PROJECT, Reason.DEPLOYER_UNKNOWN, Reason.UNAUTHORIZED_CALLER],
        )


def test_a_projects_number_may_stand_in_another_entrys_answer_but_not_two_of_them() -> None:
    denied, call, contradiction = activity(), call_entry("one", insert_id="2"), call_entry("two", insert_id="3")
    contradiction["protoPayload"]["response"]["metadata"]["namespace"] = "999"
    assert len(planned(denied).grants) == 1
    assert len(planned(denied, call).grants) == 2
    assert len(planned(denied, call, contradiction).grants) == 1


def test_a_number_that_a_caller_typed_names_no_agent() -> None:
    assert len(planned(activity(number="800000000002")).grants) == 1
    typed = activity("Something else.", number="800000000002", insert_id="2")
    agents = [
        each.member for each in planned(activity(), typed, call_entry("one", insert_id="3")).grants if each.predicted
    ]
    assert agents == [f"serviceAccount:{AGENT}"]


def test_the_same_denial_twice_is_a_duplicate_and_an_entry_that_shares_its_id_is_not() -> None:
    succeeded = activity("", code=0)
    report = planned(succeeded, activity(), activity(), activity(email="ana@example.com"))
    assert [each.outcome for each in report.entries] == [Outcome.IGNORE, Outcome.ASK, Outcome.IGNORE, Outcome.ASK]
    assert report.summary.ignored == {"duplicate": 1, "succeeded": 1}
    assert report.summary.denials == 2


def test_parts_of_a_split_entry_are_one_denial() -> None:
    parts = [activity(insert_id=f"abc-{index}") | {"split": {"uid": "abc", "index": index}} for index in range(3)]
    assert planned(*parts).summary.denials == 1


def test_a_group_takes_the_strictest_outcome_and_every_reason() -> None:
    sure = activity(user_text(SAME), images=(SAME,), insert_id="1")
    odd = activity(user_text(SAME), images=(SAME,), insert_id="2", code=5)
    [grant] = planned(sure, odd, rules=WIDER).grants
    assert grant.outcome is Outcome.ASK
    assert set(grant.reasons) == {Reason.SAME_PROJECT, Reason.UNUSUAL_STATUS}


def test_what_names_nobody_or_nothing_is_an_entry_and_no_grant() -> None:
    report = planned(activity(email=None, insert_id="1"), activity(bare_text(None), images=(), insert_id="2"))
    assert not [each for each in report.grants if not each.predicted]
    assert [each.reasons for each in report.entries] == [
        (Reason.MEMBER_UNKNOWN, Reason.CROSS_PROJECT),
        (Reason.REPOSITORY_UNKNOWN,),
    ]
    assert report.summary.denials == 2


def test_grants_come_before_asks() -> None:
    same = activity(user_text(SAME), images=(SAME,), insert_id="2")
    report = planned(activity(insert_id="1"), same, call_entry("an-operation"), rules=WIDER)
    assert [each.outcome for each in report.grants] == [Outcome.GRANT, Outcome.ASK, Outcome.ASK]
