"""What runs: receiver, review pages, sweep, schedule, Identity-Aware Proxy, the kept trail. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator

from remediate.doctor.codes import Code
from remediate.doctor.environment import environment
from remediate.doctor.finding import APPLY, Finding, command, not_known, unseen
from remediate.doctor.names import Site, policy_words
from remediate.doctor.requirements import EVERYBODY, INVOKING
from remediate.doctor.resources import (
    Absent,
    AllowPolicy,
    Bucket,
    Fact,
    Job,
    ProjectFacts,
    Schedule,
    Service,
    Sink,
    Unknown,
)
from remediate.doctor.snapshot import Installation

_ACCESSOR = "roles/iap.httpsResourceAccessor"
_READY = ("CONDITION_SUCCEEDED", "")


def receiver(found: Installation) -> Iterator[Finding]:
    """The receiver is there and ready, is reached from inside alone, and is called by the trigger alone."""
    yield from _runs(found.site, "receiver", found.receiver)
    if isinstance(found.receiver, Service):
        if found.receiver.ingress != "INGRESS_TRAFFIC_INTERNAL_ONLY":
            what = f"{found.site.name}-receiver takes requests from everywhere ({found.receiver.ingress})"
            yield Finding(Code.SERVICE_OPEN, what, _update(found.site, "receiver", "--ingress=internal"))
        caller = f"serviceAccount:{found.site.account('trigger')}"
        yield from _called_by(found, "receiver", found.receiver, found.receiver_policy, caller)


def review(found: Installation) -> Iterator[Finding]:
    """The review pages are there and ready, and reached through Identity-Aware Proxy alone, by reviewers."""
    site = found.site
    yield from _runs(site, "review", found.review)
    if not isinstance(found.review, Service):
        return
    if not found.review.iap_enabled:
        what = f"{site.name}-review is not behind Identity-Aware Proxy"
        yield Finding(Code.IAP_OFF, what, _update(site, "review", "--iap", track="beta"))
    yield from unseen(found.project)
    if isinstance(found.project, ProjectFacts):
        number = found.project.number
        agent = f"serviceAccount:service-{number}@gcp-sa-iap.iam.gserviceaccount.com"
        yield from _called_by(found, "review", found.review, found.review_policy, agent)
        expected = f"/projects/{number}/locations/{site.region}/services/{site.name}-review"
        said = environment(found.review).get("REMEDIATE_IAP_AUDIENCE")
        if said != expected:
            what = f"{site.name}-review expects the audience {said or '(none)'}, and the proxy's is {expected}"
            fix = _update(site, "review", f"--update-env-vars=REMEDIATE_IAP_AUDIENCE={expected}")
            yield Finding(Code.IAP_AUDIENCE, what, fix)
    yield from _reviewers(found)


def _reviewers(found: Installation) -> Iterator[Finding]:
    site = found.site
    words = ("gcloud", "beta", "iap", "web", "{}", "--resource-type=cloud-run", f"--service={site.name}-review")
    where = (f"--region={site.region}", f"--project={site.project}", f"--role={_ACCESSOR}")
    match found.iap_policy:
        case Unknown():
            yield not_known(found.iap_policy)
        case policy:
            allowed = policy.members_of(_ACCESSOR) if isinstance(policy, AllowPolicy) else []
            for place, above in found.above.items():
                for member in sorted({*above.members_of(_ACCESSOR)} & {*EVERYBODY}):
                    words_ = ("gcloud", *policy_words(place, "remove"), f"--member={member}", f"--role={_ACCESSOR}")
                    what = f"{member} may pass every proxy in {place} ({_ACCESSOR})"
                    yield Finding(Code.IAP_EVERYBODY, what, command(*words_))
                allowed += above.members_of(_ACCESSOR)
            for member in sorted({*allowed} & {*EVERYBODY}):
                command_ = [word.format("remove-iam-policy-binding") for word in words]
                fix = command(*command_, *where, f"--member={member}")
                yield Finding(Code.IAP_EVERYBODY, f"{member} may pass the proxy to {site.name}-review", fix)
            if not allowed:
                command_ = [word.format("add-iam-policy-binding") for word in words]
                fix = command(*command_, *where, "--member=user:REVIEWER@example.com")
                yield Finding(Code.IAP_NOBODY, f"nobody holds {_ACCESSOR} for {site.name}-review", fix)


def sweep(found: Installation) -> Iterator[Finding]:
    """The sweep is there, ran well, and is started by its schedule."""
    site = found.site
    where = (f"{site.name}-sweep", f"--location={site.region}", f"--project={site.project}")
    run = ("gcloud", "run", "jobs", "execute", f"{site.name}-sweep", f"--region={site.region}")
    match found.sweep:
        case Unknown():
            yield not_known(found.sweep)
        case Absent():
            yield Finding(Code.SWEEP_MISSING, f"there is no job {site.job}", APPLY)
        case Job():
            account = found.sweep.template.template.service_account
            if account != (expected := site.account("sweep")):
                words = ("gcloud", "run", "jobs", "update", f"{site.name}-sweep", f"--region={site.region}")
                fix = command(*words, f"--service-account={expected}", f"--project={site.project}")
                what = f"{site.name}-sweep runs as {account or 'the default identity'}, not as {expected}"
                yield Finding(Code.SERVICE_IDENTITY, what, fix)
            failed = found.sweep.latest_created_execution.completion_status in (
                "EXECUTION_FAILED",
                "EXECUTION_CANCELLED",
            )
            if failed or found.sweep.terminal_condition.state not in _READY:
                told = found.sweep.terminal_condition.message or "its last execution failed"
                fix = command(*run, "--wait", f"--project={site.project}")
                yield Finding(Code.SWEEP_FAILING, f"{site.name}-sweep: {told}", fix)
            yield from _starts(found, f"serviceAccount:{site.account('trigger')}")
    match found.schedule:
        case Unknown():
            yield not_known(found.schedule)
        case Absent():
            yield Finding(Code.SCHEDULE_MISSING, f"there is no schedule {site.job}", APPLY)
        case Schedule():
            if found.schedule.state != "ENABLED":
                fix = command("gcloud", "scheduler", "jobs", "resume", *where)
                what = f"schedule {site.name}-sweep is {found.schedule.state or 'off'}"
                yield Finding(Code.SCHEDULE_PAUSED, what, fix)
            if not _starts_the_job(site, found.schedule.http_target.uri):
                uri = f"https://run.googleapis.com/v2/{site.job}:run"
                what = f"schedule {site.name}-sweep calls {found.schedule.http_target.uri or 'nothing'}, not {uri}"
                fix = command("gcloud", "scheduler", "jobs", "update", "http", *where, f"--uri={uri}")
                yield Finding(Code.SCHEDULE_TARGET, what, fix)
            if found.schedule.status.code:
                told = found.schedule.status.message or f"code {found.schedule.status.code}"
                what = f"the last start of {site.name}-sweep by its schedule failed: {told}"
                yield Finding(Code.SWEEP_FAILING, what, command("gcloud", "scheduler", "jobs", "run", *where))


def trail(found: Installation) -> Iterator[Finding]:
    """The trail's lines go to a log bucket of their own."""
    site, name = found.site, f"{found.site.name}-trail"
    match found.trail_sink:
        case Unknown():
            yield not_known(found.trail_sink)
        case Absent():
            yield Finding(Code.TRAIL_NOT_KEPT, f"{site.here} has no sink {name}", APPLY)
        case Sink(disabled=True):
            fix = command("gcloud", "logging", "sinks", "update", name, "--no-disabled", f"--project={site.project}")
            yield Finding(Code.TRAIL_NOT_KEPT, f"sink {name} is disabled", fix)
        case Sink(filter=selects) if "jsonPayload.trail" not in selects:
            fix = command("gcloud", "logging", "sinks", "describe", name, f"--project={site.project}")
            what = f"sink {name} does not take the trail's lines: {selects or 'no filter'}"
            yield Finding(Code.TRAIL_NOT_KEPT, what, fix)
        case Sink(destination=destination):
            match found.trail_bucket:
                case Unknown():
                    yield not_known(found.trail_bucket)
                case Bucket(lifecycle_state="ACTIVE"):
                    pass
                case _:
                    yield Finding(
                        Code.TRAIL_NOT_KEPT, f"sink {name} writes to {destination}, which is no log bucket", APPLY
                    )


def _runs(site: Site, task: str, service: Fact[Service]) -> Iterator[Finding]:
    name = f"{site.name}-{task}"
    match service:
        case Unknown():
            yield not_known(service)
        case Absent():
            yield Finding(Code.SERVICE_MISSING, f"there is no service {site.service(task)}", APPLY)
        case Service():
            if service.terminal_condition.state not in _READY:
                what = f"{name} is not ready: {service.terminal_condition.message or service.terminal_condition.state}"
                words = ("gcloud", "run", "services", "describe", name, f"--region={site.region}")
                yield Finding(Code.SERVICE_NOT_READY, what, command(*words, f"--project={site.project}"))
            account, expected = service.template.service_account, site.account(task)
            if account != expected:
                what = f"{name} runs as {account or 'the default identity'}, not as {expected}"
                yield Finding(Code.SERVICE_IDENTITY, what, _update(site, task, f"--service-account={expected}"))


def _called_by(
    found: Installation, task: str, service: Service, policy: Fact[AllowPolicy], caller: str
) -> Iterator[Finding]:
    """Who has to call a service may, and nobody else."""
    site, name = found.site, f"{found.site.name}-{task}"
    if service.invoker_iam_disabled:
        what = f"{name} does not check who calls it"
        yield Finding(Code.SERVICE_OPEN, what, _update(site, task, "--invoker-iam-check"))
    if isinstance(policy, Unknown):
        yield not_known(policy)
        return
    if not isinstance(policy, AllowPolicy):
        return
    words = ("gcloud", "run", "services", "{}", name, f"--region={site.region}", f"--project={site.project}")
    own = found.policies.get(site.here)
    inherited = own.members_of(*INVOKING) if isinstance(own, AllowPolicy) else []
    if caller not in [*policy.members_of(*INVOKING), *inherited]:
        fix = [word.format("add-iam-policy-binding") for word in words]
        what = f"{caller} may not call {name}"
        line = command(*fix, f"--member={caller}", "--role=roles/run.invoker")
        yield Finding(Code.SERVICE_CALLER_MISSING, what, line)
    yield from _called_from_above(found, caller)
    for binding in policy.bindings:
        for member in binding.members if binding.role in INVOKING else ():
            if member != caller and (binding.role in INVOKING[:2] or member in EVERYBODY):
                fix = [word.format("remove-iam-policy-binding") for word in words]
                code = Code.SERVICE_OPEN if member in EVERYBODY else Code.SERVICE_EXTRA_CALLER
                line = command(*fix, f"--member={member}", f"--role={binding.role}")
                yield Finding(code, f"{member} may call {name} ({binding.role})", line)


def _called_from_above(found: Installation, caller: str) -> Iterator[Finding]:
    """Who may call every service of the project, and so these."""
    for place, above in found.above.items():
        for role in INVOKING[:2]:
            for member in above.members_of(role):
                if member != caller:
                    words = ("gcloud", *policy_words(place, "remove"), f"--member={member}", f"--role={role}")
                    code = Code.SERVICE_OPEN if member in EVERYBODY else Code.SERVICE_EXTRA_CALLER
                    yield Finding(code, f"{member} may call every service in {place} ({role})", command(*words))


def _starts(found: Installation, caller: str) -> Iterator[Finding]:
    """The schedule's identity may start the job, and nobody that anybody can be."""
    site, policy = found.site, found.sweep_policy
    starting = (*INVOKING, "roles/run.jobsExecutor")
    bound = [each for each in policy.bindings if each.role in starting] if isinstance(policy, AllowPolicy) else []
    for role, members in ((each.role, each.members) for each in bound):
        for member in sorted({*members} & {*EVERYBODY}):
            words = (
                "gcloud",
                "run",
                "jobs",
                "remove-iam-policy-binding",
                f"{site.name}-sweep",
                f"--region={site.region}",
            )
            fix = command(*words, f"--project={site.project}", f"--member={member}", f"--role={role}")
            yield Finding(Code.SERVICE_OPEN, f"{member} may start {site.name}-sweep ({role})", fix)
    if isinstance(policy, Unknown):
        yield not_known(policy)
    elif isinstance(policy, AllowPolicy) and caller not in policy.members_of(*INVOKING, "roles/run.jobsExecutor"):
        words = ("gcloud", "run", "jobs", "add-iam-policy-binding", f"{site.name}-sweep", f"--region={site.region}")
        fix = command(*words, f"--project={site.project}", f"--member={caller}", "--role=roles/run.invoker")
        yield Finding(Code.SERVICE_CALLER_MISSING, f"{caller} may not start {site.name}-sweep", fix)


def _starts_the_job(site: Site, uri: str) -> bool:
    """v2's address, or v1's regional one, which names the project as a namespace."""
    v1 = f"/namespaces/{site.project}/jobs/{site.name}-sweep:run"
    return uri.endswith((f"/v2/{site.job}:run", v1))


def _update(site: Site, task: str, change: str, *, track: str = "") -> str:
    words = ("gcloud", *filter(None, [track]), "run", "services", "update", f"{site.name}-{task}", change)
    return command(*words, f"--region={site.region}", f"--project={site.project}")
