"""Checks of what runs: receiver, review pages, sweeps, schedules, Identity-Aware Proxy, and the trail's log bucket."""

from __future__ import annotations

from collections.abc import Iterator

from remediate.doctor import resources as gcp
from remediate.doctor.codes import Code
from remediate.doctor.environment import environment
from remediate.doctor.finding import APPLY, Finding, report_missing, report_unavailable, report_unknown
from remediate.doctor.requirements import EVERYBODY, INVOKING, PUBLISHING
from remediate.doctor.resources import AllowPolicy, Fact, Unknown, grants, members
from remediate.doctor.snapshot import Snapshot

_ACCESSOR = "roles/iap.httpsResourceAccessor"
_STARTING = (*INVOKING, "roles/run.jobsExecutor")


def receiver(facts: Snapshot) -> Iterator[Finding]:
    """The receiver exists and is ready, takes internal requests alone, and only the trigger can call it."""
    yield from _internal_service(facts, "receiver", facts.receiver)


def writer(facts: Snapshot) -> Iterator[Finding]:
    """The writer exists and is ready, takes internal requests alone, and a subscription wakes it."""
    yield from _internal_service(facts, "writer", facts.writer)
    names, subscription = facts.names, facts.get(gcp.Subscription, facts.names.approvals_subscription)
    topic, policy = facts.get(gcp.PubSubTopic, names.approvals_topic), facts.get(AllowPolicy, names.approvals_topic)
    absent = f"topic {names.approvals_topic} does not exist"
    yield from report_missing(topic, Finding(Code.WRITER_NOT_WOKEN, absent, APPLY))
    absent = f"subscription {names.approvals_subscription} does not exist"
    yield from report_missing(subscription, Finding(Code.WRITER_NOT_WOKEN, absent, APPLY))
    if isinstance(subscription, gcp.Subscription):
        short = names.approvals_subscription.rpartition("/")[2]
        called = subscription.push_config.push_endpoint
        own = f"{names.service('writer').rpartition('/')[2]}-"
        if subscription.detached or subscription.state != "ACTIVE" or own not in called:
            what = f"subscription {short} is {subscription.state or 'detached'} and calls {called or '(none)'}"
            fix = names.gcloud("pubsub", "subscriptions", "describe", short)
            yield Finding(Code.WRITER_NOT_WOKEN, what, fix)
        account, calls_as = names.account("trigger"), subscription.push_config.oidc_token.service_account_email
        if calls_as != account:
            what = f"subscription {short} calls as {calls_as or 'nobody'}, not {account}"
            yield Finding(Code.WRITER_NOT_WOKEN, what, APPLY)
    holders = {member for each in (policy, *facts.policies.values()) for member in members(each, *PUBLISHING)}
    yield from report_unknown(policy)
    pages = names.member("review")
    if isinstance(policy, AllowPolicy) and pages not in holders:
        fix = names.change_binding("add", names.approvals_topic, pages, PUBLISHING[0])
        yield Finding(Code.WRITER_NOT_WOKEN, f"{pages} cannot publish to {names.approvals_topic}", fix)


def _internal_service(facts: Snapshot, task: str, service: Fact[gcp.RunService] | None) -> Iterator[Finding]:
    """The service exists and is ready, takes internal requests alone, and only the trigger's identity can call it."""
    yield from _service(facts, task, service)
    if isinstance(service, gcp.RunService):
        if service.ingress != "INGRESS_TRAFFIC_INTERNAL_ONLY":
            what = f"{facts.names.name}-{task} accepts requests from the internet ({service.ingress})"
            yield Finding(Code.SERVICE_OPEN, what, facts.names.update_part(task, "--ingress=internal"))
        yield from _callers(facts, task, service, facts.names.member("trigger"))


def review(facts: Snapshot) -> Iterator[Finding]:
    """The review pages exist and are ready, and only reviewers reach them, through Identity-Aware Proxy."""
    names = facts.names
    yield from _service(facts, "review", facts.review)
    if not isinstance(facts.review, gcp.RunService):
        return
    if not facts.review.iap_enabled:
        what = f"{names.name}-review is not behind Identity-Aware Proxy"
        yield Finding(Code.IAP_OFF, what, names.update_part("review", "--iap", track=("beta",)))
    yield from report_unavailable(facts.project)
    if isinstance(facts.project, gcp.ProjectAncestry):
        number = facts.project.number
        agent = f"serviceAccount:service-{number}@gcp-sa-iap.iam.gserviceaccount.com"
        yield from _callers(facts, "review", facts.review, agent)
        expected = f"/projects/{number}/locations/{names.region}/services/{names.name}-review"
        audience = environment(facts.review).get("REMEDIATE_IAP_AUDIENCE")
        if audience != expected:
            what = f"{names.name}-review expects the audience {audience or '(none)'}; the proxy's is {expected}"
            fix = names.update_part("review", f"--update-env-vars=REMEDIATE_IAP_AUDIENCE={expected}")
            yield Finding(Code.IAP_AUDIENCE, what, fix)
    yield from _reviewers(facts)


def _reviewers(facts: Snapshot) -> Iterator[Finding]:
    names, policy = facts.names, facts.get(AllowPolicy, facts.names.iap)
    yield from report_unknown(policy)
    if isinstance(policy, Unknown):
        return
    allowed = members(policy, _ACCESSOR)
    for place, above in facts.inherited_policies.items():
        for member in sorted({*members(above, _ACCESSOR)} & EVERYBODY):
            what = f"{member} can pass every proxy in {place} ({_ACCESSOR})"
            yield Finding(Code.IAP_EVERYBODY, what, names.change_binding("remove", place, member, _ACCESSOR))
        allowed += members(above, _ACCESSOR)
    for member in sorted({*allowed} & EVERYBODY):
        fix = names.change_binding("remove", names.iap, member, _ACCESSOR)
        yield Finding(Code.IAP_EVERYBODY, f"{member} can pass the proxy of {names.name}-review", fix)
    if not allowed:
        fix = names.change_binding("add", names.iap, "user:REVIEWER@example.com", _ACCESSOR)
        yield Finding(Code.IAP_NOBODY, f"no member holds {_ACCESSOR} for {names.name}-review", fix)


def sweep(facts: Snapshot, task: str = "sweep") -> Iterator[Finding]:
    """A sweep (`sweep` or `due`) exists, its last execution succeeded, and its schedule starts it."""
    names, name, resource = facts.names, f"{facts.names.name}-{task}", facts.names.job(task)
    job = facts.get(gcp.RunJob, resource)
    yield from report_missing(job, Finding(Code.SWEEP_MISSING, f"job {resource} does not exist", APPLY))
    if isinstance(job, gcp.RunJob):
        condition, execution = job.terminal_condition, job.latest_created_execution
        yield from _identity(facts, task, job.template.template.service_account, names.account("sweep"))
        if execution.completion_status in ("EXECUTION_FAILED", "EXECUTION_CANCELLED") or not condition.is_ready:
            fix = names.gcloud("run", "jobs", "execute", name, f"--region={names.region}", "--wait")
            yield Finding(Code.SWEEP_FAILING, f"{name}: {condition.message or 'its last execution failed'}", fix)
        yield from _starters(facts, task)
    schedule = facts.get(gcp.SchedulerJob, resource)
    yield from report_missing(schedule, Finding(Code.SCHEDULE_MISSING, f"schedule {resource} does not exist", APPLY))
    if isinstance(schedule, gcp.SchedulerJob):
        yield from _schedule(facts, task, schedule)


def _schedule(facts: Snapshot, task: str, schedule: gcp.SchedulerJob) -> Iterator[Finding]:
    names, name, job = facts.names, f"{facts.names.name}-{task}", facts.names.job(task)

    def gcloud(*words: str) -> str:
        return names.gcloud("scheduler", "jobs", *words, f"--location={names.region}")

    if schedule.state != "ENABLED":
        what = f"schedule {name} is {schedule.state or 'off'}"
        yield Finding(Code.SCHEDULE_PAUSED, what, gcloud("resume", name))
    wanted, actual = f"https://run.googleapis.com/v2/{job}:run", schedule.http_target.uri
    v1 = f"/namespaces/{names.project}/jobs/{name}:run"  # v1's regional address names the project as a namespace
    if not actual.endswith((f"/v2/{job}:run", v1)):
        what = f"schedule {name} calls {actual or '(none)'}, not {wanted}"
        yield Finding(Code.SCHEDULE_TARGET, what, gcloud("update", "http", name, f"--uri={wanted}"))
    if schedule.status.code:
        why = schedule.status.message or f"code {schedule.status.code}"
        what = f"the schedule's last start of {name} failed: {why}"
        yield Finding(Code.SWEEP_FAILING, what, gcloud("run", name))


def trail(facts: Snapshot) -> Iterator[Finding]:
    """A log bucket of its own keeps the audit trail's lines."""
    names, name = facts.names, f"{facts.names.name}-trail"
    sink = facts.get(gcp.LogSink, names.trail_sink)
    yield from report_missing(sink, Finding(Code.TRAIL_NOT_KEPT, f"{names.project_path} has no sink {name}", APPLY))
    if not isinstance(sink, gcp.LogSink):
        return
    bucket = facts.get(gcp.LogBucket, facts.trail_bucket)
    if sink.disabled:
        fix = names.gcloud("logging", "sinks", "update", name, "--no-disabled")
        yield Finding(Code.TRAIL_NOT_KEPT, f"sink {name} is disabled", fix)
    elif "jsonPayload.trail.hash" not in sink.filter:
        fix = names.gcloud("logging", "sinks", "describe", name)
        what = f"sink {name} does not select the trail's lines: {sink.filter or 'no filter'}"
        yield Finding(Code.TRAIL_NOT_KEPT, what, fix)
    elif isinstance(bucket, Unknown):
        yield from report_unknown(bucket)
    elif not isinstance(bucket, gcp.LogBucket) or bucket.lifecycle_state != "ACTIVE":
        what = f"sink {name} writes to {sink.destination}, which is not a log bucket in use"
        yield Finding(Code.TRAIL_NOT_KEPT, what, APPLY)


def _service(facts: Snapshot, task: str, service: object) -> Iterator[Finding]:
    names, name = facts.names, f"{facts.names.name}-{task}"
    absent = Finding(Code.SERVICE_MISSING, f"service {names.service(task)} does not exist", APPLY)
    yield from report_missing(service, absent)
    if isinstance(service, gcp.RunService):
        condition = service.terminal_condition
        if not condition.is_ready:
            fix = names.gcloud("run", "services", "describe", name, f"--region={names.region}")
            what = f"{name} is not ready: {condition.message or condition.state}"
            yield Finding(Code.SERVICE_NOT_READY, what, fix)
        yield from _identity(facts, task, service.template.service_account, names.account(task))


def _identity(facts: Snapshot, task: str, account: str, expected: str) -> Iterator[Finding]:
    if account != expected:
        what = f"{facts.names.name}-{task} runs as {account or 'the default identity'}, not as {expected}"
        yield Finding(Code.SERVICE_IDENTITY, what, facts.names.update_part(task, f"--service-account={expected}"))


def _callers(facts: Snapshot, task: str, service: gcp.RunService, caller: str) -> Iterator[Finding]:
    """Only the expected caller can call a service."""
    names, resource, name = facts.names, facts.names.service(task), f"{facts.names.name}-{task}"
    policy = facts.get(AllowPolicy, resource)
    if service.invoker_iam_disabled:
        what = f"{name} does not check its callers"
        yield Finding(Code.SERVICE_OPEN, what, names.update_part(task, "--invoker-iam-check"))
    yield from report_unknown(policy)
    if not isinstance(policy, AllowPolicy):
        return
    if caller not in [*members(policy, *INVOKING), *members(facts.get(AllowPolicy, names.project_path), *INVOKING)]:
        fix = names.change_binding("add", resource, caller, INVOKING[0])
        yield Finding(Code.SERVICE_CALLER_MISSING, f"{caller} cannot call {name}", fix)
    inherited = [
        (place, *each) for place, above in facts.inherited_policies.items() for each in grants(above, *INVOKING[:2])
    ]
    own = [(resource, *each) for each in grants(policy, *INVOKING)]
    for place, role, member in (*inherited, *own):
        if member != caller and (role in INVOKING[:2] or member in EVERYBODY):
            code = Code.SERVICE_OPEN if member in EVERYBODY else Code.SERVICE_EXTRA_CALLER
            called = name if place == resource else f"every service in {place}"
            fix = names.change_binding("remove", place, member, role)
            yield Finding(code, f"{member} can call {called} ({role})", fix)


def _starters(facts: Snapshot, task: str) -> Iterator[Finding]:
    """The schedule's identity can start a sweep, and the public cannot."""
    names, name, job = facts.names, f"{facts.names.name}-{task}", facts.names.job(task)
    caller, policy = names.member("trigger"), facts.get(AllowPolicy, job)
    for role, member in grants(policy, *_STARTING):
        if member in EVERYBODY:
            fix = names.change_binding("remove", job, member, role)
            yield Finding(Code.SERVICE_OPEN, f"{member} can start {name} ({role})", fix)
    yield from report_unknown(policy)
    if isinstance(policy, AllowPolicy) and caller not in members(policy, *_STARTING):
        fix = names.change_binding("add", job, caller, INVOKING[0])
        yield Finding(Code.SERVICE_CALLER_MISSING, f"{caller} cannot start {name}", fix)
