"""The items that the doctor's own facts settle: what runs, who may reach it, what became of the synthetic denials."""

from __future__ import annotations

from collections import Counter

from remediate.decisions.policy import Outcome
from remediate.doctor.canary import CanaryResult
from remediate.doctor.codes import Severity
from remediate.doctor.environment import environment
from remediate.doctor.finding import CheckStatus
from remediate.doctor.first_apply.items import Item
from remediate.doctor.first_apply.result import Result, Target, judge
from remediate.doctor.first_apply.words import Fact, State
from remediate.doctor.resources import (
    Absent,
    AllowPolicy,
    RunJob,
    RunService,
    SchedulerJob,
    Trigger,
    Unknown,
    members,
)

_ACCESSOR = "roles/iap.httpsResourceAccessor"
PADDING = 440_000
"""Bytes of padding: the synthetic denial is then above the limit of 512 KB only if its Base64 form counts."""
_CONDITIONS = {
    "CONDITION_SUCCEEDED": State.SUCCEEDED,
    "CONDITION_FAILED": State.FAILED,
    "CONDITION_PENDING": State.PENDING,
    "CONDITION_RECONCILING": State.RECONCILING,
    "": State.NONE,
}
_EXECUTIONS = {
    "EXECUTION_SUCCEEDED": State.SUCCEEDED,
    "EXECUTION_FAILED": State.FAILED,
    "EXECUTION_CANCELLED": State.CANCELLED,
    "EXECUTION_RUNNING": State.RUNNING,
    "EXECUTION_PENDING": State.PENDING,
    "": State.NONE,
}


def doctor(target: Target) -> Result:
    """How often the doctor found what."""
    report = target.report
    severities = Counter(each.severity for each in report.findings)
    statuses = Counter(check.status for check in report.checks)
    facts: dict[str, Fact] = {
        "passed": statuses[CheckStatus.OK],
        "skipped": statuses[CheckStatus.SKIPPED],
        "findings": dict(sorted(Counter(each.code.value for each in report.findings).items())),
    }
    found = severities[Severity.PROBLEM] + severities[Severity.WARNING]
    return Result(Item.DOCTOR, judge(not report.findings, bad=found > 0 and _is_deployed(target)), facts)


def trigger(target: Target) -> Result:
    """Whether Eventarc made every trigger with its subscription."""
    found = target.snapshot.all(Trigger).values()
    made = [each for each in found if isinstance(each, Trigger)]
    subscribed = sum(bool(each.transport.pubsub.subscription) for each in made)
    conditions = sum(len(each.conditions) for each in made)
    facts: dict[str, Fact] = {
        "expected": len(target.snapshot.names.triggers),
        "made": len(made),
        "with_subscription": subscribed,
        "conditions": conditions,
    }
    good = subscribed == len(target.snapshot.names.triggers) and not conditions
    bad = _is_deployed(target) and not any(isinstance(each, Unknown) for each in found)
    return Result(Item.TRIGGER, judge(good, bad=bad), facts)


def launcher(target: Target) -> Result:
    """Whether the pages and the job start by their own commands."""
    snapshot = target.snapshot
    facts = {"receiver": _state(snapshot.receiver), "review": _state(snapshot.review), "sweep": _execution(target)}
    states = {facts["review"], facts["sweep"]}
    return Result(Item.LAUNCHER, judge(states == {State.SUCCEEDED}, bad=State.FAILED in states), {**facts})


def canary(target: Target) -> Result:
    """How long a synthetic denial took."""
    return _arrival(Item.CANARY, target.report.canary, {})


def message_size(sent: CanaryResult | None) -> Result:
    """Whether an entry arrives that is below 512 KB only without Base64."""
    size: dict[str, Fact] = {"bytes": PADDING, "bytes_in_base64": PADDING * 4 // 3}
    return _arrival(Item.MESSAGE_SIZE, sent, size)


def _arrival(item: Item, sent: CanaryResult | None, more: dict[str, Fact]) -> Result:
    if sent is None:
        return Result(item, judge(good=False), {"sent": False, **more})
    stages = sent.stages
    arrived = sent.outcome is not None or stages.recorded is not None
    facts: dict[str, Fact] = {
        "sent": True,
        **more,
        "arrived": arrived,
        "decided": next((each for each in Outcome if each.value == sent.outcome), None),
        "seconds": {
            "published": stages.published,
            "received": stages.received,
            "decided": stages.decided,
            "recorded": stages.recorded,
        },
    }
    unreadable = bool(sent.logs_fault and sent.ledger_fault)
    return Result(item, judge(arrived and sent.outcome in (None, "refuse"), bad=not unreadable), facts)


def iap_policy(target: Target) -> Result:
    """How many members may pass Identity-Aware Proxy, and how many reviewers the pages know."""
    policy = target.snapshot.get(AllowPolicy, target.snapshot.names.iap)
    allowed = len(members(policy, _ACCESSOR))
    reviewers = environment(target.snapshot.review).get("REMEDIATE_REVIEWERS", "")
    facts: dict[str, Fact] = {
        "readable": isinstance(policy, AllowPolicy),
        "members": allowed,
        "reviewers": len([each for each in reviewers.split(",") if each.strip()]),
    }
    return Result(Item.IAP_POLICY, judge(allowed > 0, bad=isinstance(policy, AllowPolicy)), facts)


def sweep(target: Target) -> Result:
    """How the last sweep ended, and whether the schedule starts it."""
    schedule = target.snapshot.get(SchedulerJob, target.snapshot.names.job("sweep"))
    is_read = isinstance(schedule, SchedulerJob)
    state = _execution(target)
    facts: dict[str, Fact] = {
        "last_execution": state,
        "schedule_enabled": schedule.state == "ENABLED" if isinstance(schedule, SchedulerJob) else None,
        "last_start_code": schedule.status.code if isinstance(schedule, SchedulerJob) else None,
    }
    good = state is State.SUCCEEDED and is_read and facts["schedule_enabled"] is True and not facts["last_start_code"]
    bad = state in (State.FAILED, State.CANCELLED) or facts["schedule_enabled"] is False
    return Result(Item.SWEEP, judge(good, bad=bad or bool(facts["last_start_code"])), facts)


def ledger_role(target: Target) -> Result:
    """Whether the custom role was enough for the receiver's writes and the sweep's queries."""
    sent = target.report.canary
    recorded = sent.stages.recorded is not None if sent else None
    state = _execution(target)
    facts: dict[str, Fact] = {"canary_recorded": recorded, "sweep": state}
    good = recorded is True and state is State.SUCCEEDED
    return Result(Item.LEDGER_ROLE, judge(good, bad=state is State.FAILED), facts)


def _is_deployed(target: Target) -> bool:
    """Something is installed: before the apply, what is missing is no fault."""
    return isinstance(target.snapshot.receiver, RunService)


def _state(service: object) -> State:
    if isinstance(service, RunService):
        return _CONDITIONS.get(service.terminal_condition.state, State.OTHER)
    return State.ABSENT if isinstance(service, Absent) else State.UNREADABLE


def _execution(target: Target) -> State:
    """How the newest execution of the sweep ended."""
    job = target.snapshot.sweep
    if isinstance(job, RunJob):
        return _EXECUTIONS.get(job.latest_created_execution.completion_status, State.OTHER)
    return State.ABSENT if isinstance(job, Absent) else State.UNREADABLE
