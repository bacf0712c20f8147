"""The items that Cloud Logging and Cloud Monitoring settle."""

from __future__ import annotations

from collections import Counter
from urllib.parse import quote

import msgspec

from remediate.decisions.policy import Outcome
from remediate.doctor.first_apply.calls import Reply
from remediate.doctor.first_apply.items import Item, Verdict
from remediate.doctor.first_apply.result import Result, Target, judge, texts
from remediate.doctor.first_apply.words import Fact, InstanceLabel, ResourceType, known

FOREIGN = "projects/bigquery-public-data"
"""A project of Google's that exists, and whose log nobody else may read."""
METRICS = {
    "understood": ResourceType.CLOUD_RUN_REVISION,
    "not-understood": ResourceType.CLOUD_RUN_REVISION,
    "errors": ResourceType.CLOUD_RUN_REVISION,
    "writes": ResourceType.LOGGING_BUCKET,
    "told-writes": ResourceType.LOGGING_BUCKET,
}
"""The log-based metrics of deploy/metrics.tf, each with the monitored resource that its queries name."""
_ACTIVITY = 'log_id("cloudaudit.googleapis.com/activity") protoPayload.serviceName="run.googleapis.com"'


class _Operation(msgspec.Struct, frozen=True):
    first: bool = False
    last: bool = False


class _Status(msgspec.Struct, frozen=True):
    code: int = 0


class _Audit(msgspec.Struct, frozen=True, rename="camel"):
    method_name: str = ""
    status: _Status = _Status()


class _Request(msgspec.Struct, frozen=True):
    status: int = 0


class _Resource(msgspec.Struct, frozen=True):
    type: str = ""
    labels: dict[str, str] = {}


class _Line(msgspec.Struct, frozen=True):
    outcome: str = ""


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    operation: _Operation | None = None
    proto_payload: _Audit = _Audit()
    http_request: _Request = _Request()
    json_payload: _Line = _Line()
    resource: _Resource = _Resource()


class _Entries(msgspec.Struct, frozen=True):
    entries: tuple[_Entry, ...] = ()


def _entries(target: Target, wanted: str, places: tuple[str, ...] = (), size: int = 200) -> tuple[Reply, list[_Entry]]:
    """The newest entries that match, in the installation's own log or in these places."""
    body: dict[str, object] = {
        "resourceNames": list(places or (target.snapshot.names.project_path,)),
        "filter": f'{wanted} timestamp>="{target.since(days=7)}"'.strip(),
        "orderBy": "timestamp desc",
        "pageSize": size,
    }
    reply = target.calls.post("LOGGING", "/v2/entries:list", body)
    found = reply.read(_Entries)
    return reply, list(found.entries) if found else []


def iap_reviewer(target: Target) -> Result:
    """How the review pages answered in the last week: a request that they served came through the proxy."""
    service = f'resource.labels.service_name="{target.snapshot.names.name}-review"'
    reply, found = _entries(target, f'log_id("run.googleapis.com/requests") {service}')
    served = sum(200 <= each.http_request.status < 300 for each in found)
    facts: dict[str, Fact] = {
        "answer": reply.answer,
        "served": served,
        "redirected": sum(300 <= each.http_request.status < 400 for each in found),
        "refused": sum(each.http_request.status in (401, 403) for each in found),
        "failed": sum(each.http_request.status >= 500 for each in found),
    }
    return Result(Item.IAP_REVIEWER, judge(served > 0, bad=bool(facts["refused"])), facts, texts(reply))


def denied_operation(target: Target) -> Result:
    """Which entry of a v2 operation has the denial: the first, the last, or one that is both."""
    reply, found = _entries(target, f"{_ACTIVITY} severity>=ERROR")
    places: Counter[str] = Counter()
    for each in found:
        if ".v2." in each.proto_payload.method_name:
            places[_place(each.operation)] += 1
    codes = {each.proto_payload.status.code for each in found}
    facts: dict[str, Fact] = {
        "answer": reply.answer,
        "v2_first": places["first"],
        "v2_last": places["last"],
        "v2_first_and_last": places["both"],
        "v2_neither": places["neither"],
        "v2_without_operation": places["none"],
        "other_methods": len(found) - places.total(),
        "status_codes": tuple(sorted(code for code in codes if 0 <= code <= 16)),
    }
    return Result(Item.DENIED_OPERATION, judge(places.total() > 0), facts, texts(reply))


def _place(operation: _Operation | None) -> str:
    if operation is None:
        return "none"
    names = {(True, True): "both", (True, False): "first", (False, True): "last"}
    return names.get((operation.first, operation.last), "neither")


def instance_labels(target: Target) -> Result:
    """The monitored resource of an instance's audit entries, and the label that has its name."""
    reply, found = _entries(target, f'{_ACTIVITY} protoPayload.methodName:"google.cloud.run.v2.Instances."')
    types = Counter(known(ResourceType, each.resource.type) for each in found)
    labels = {label: sum(label.value in each.resource.labels for each in found) for label in InstanceLabel}
    facts: dict[str, Fact] = {
        "answer": reply.answer,
        "resource_types": {each.value: number for each, number in types.items()},
        "labels": {each.value: number for each, number in labels.items() if number},
    }
    named = labels[InstanceLabel.INSTANCE_NAME] > 0
    return Result(Item.INSTANCE_LABELS, judge(named, bad=bool(found)), facts, texts(reply))


def first_proposal(target: Target) -> Result:
    """What the receiver decided in the last week about denials that are not synthetic."""
    service = f'resource.labels.service_name="{target.snapshot.names.name}-receiver"'
    reply, found = _entries(target, f'{service} jsonPayload.outcome:* NOT jsonPayload.insert_id=~"^canary-"')
    decided = {each.value: sum(line.json_payload.outcome == each.value for line in found) for each in Outcome}
    facts: dict[str, Fact] = {"answer": reply.answer, "decided": dict(decided)}
    return Result(Item.FIRST_PROPOSAL, judge(decided[Outcome.ASK.value] > 0), facts, texts(reply))


def trail_bucket(target: Target) -> Result:
    """How many lines the trail's log bucket has."""
    names = target.snapshot.names
    bucket = f"{names.location_path}/buckets/{names.name}-trail/views/_AllLogs"
    reply, found = _entries(target, "", (bucket,))
    sent = target.report.canary
    missing = reply.answer.is_ok and sent is not None and sent.stages.recorded is not None
    facts: dict[str, Fact] = {"answer": reply.answer, "lines": len(found)}
    return Result(Item.TRAIL_BUCKET, judge(bool(found), bad=missing), facts, texts(reply))


def unreadable_project(target: Target) -> Result:
    """Whether one project that may not be read makes `entries.list` refuse the others too."""
    own = target.snapshot.names.project_path
    wanted = f'log_id("cloudaudit.googleapis.com/activity") timestamp>="{target.since(hours=1)}"'
    replies = {
        "own": _entries(target, wanted, (own,), 1),
        "foreign": _entries(target, wanted, (FOREIGN,), 1),
        "both": _entries(target, wanted, (own, FOREIGN), 1),
    }
    facts: dict[str, Fact] = {
        name: {"answer": reply.answer, "entries": len(found)} for name, (reply, found) in replies.items()
    }
    answers = {name: reply.answer for name, (reply, _) in replies.items()}
    settled = answers["own"].is_ok and answers["foreign"].http in (403, 404)
    verdict = Verdict.NOT_KNOWN
    if settled:
        verdict = judge(answers["both"].http == answers["foreign"].http, bad=answers["both"].is_ok)
    return Result(Item.UNREADABLE_PROJECT, verdict, facts, texts(*(reply for reply, _ in replies.values())))


class _Series(msgspec.Struct, frozen=True):
    resource: _Resource = _Resource()


class _TimeSeries(msgspec.Struct, frozen=True, rename="camel"):
    time_series: tuple[_Series, ...] = ()


def metric_resources(target: Target) -> Result:
    """The monitored resource that each log-based metric is written to."""
    names = target.snapshot.names
    facts: dict[str, Fact] = {}
    replies: list[Reply] = []
    seen = wrong = 0
    for metric, expected in METRICS.items():
        wanted = quote(f'metric.type="logging.googleapis.com/user/{names.name}-{metric}"')
        path = f"/v3/{names.project_path}/timeSeries?filter={wanted}&view=HEADERS&{target.span(days=1)}"
        reply = target.calls.get("MONITORING", path)
        found = reply.read(_TimeSeries)
        types = Counter(known(ResourceType, each.resource.type) for each in found.time_series) if found else Counter()
        also = {ResourceType.CLOUD_RUN_JOB} if metric == "errors" else set()
        seen += bool(types)
        wrong += bool({*types} - {expected} - also)
        replies.append(reply)
        series = {each.value: number for each, number in types.items()}
        facts[metric] = {"answer": reply.answer, "series": series}
    return Result(Item.METRIC_RESOURCES, judge(seen > 0 and not wrong, bad=wrong > 0), facts, texts(*replies))


class _Vector(msgspec.Struct, frozen=True):
    result: tuple[msgspec.Raw, ...] = ()


class _Prometheus(msgspec.Struct, frozen=True):
    data: _Vector = _Vector()


def metric_names(target: Target) -> Result:
    """Whether PromQL finds each metric by the name that the alerts use, and takes a pattern of resources."""
    names = target.snapshot.names
    path = f"/v1/{names.project_path}/location/global/prometheus/api/v1/query?query="
    selectors = {metric: f'monitored_resource="{kind.value}"' for metric, kind in METRICS.items()}
    queries = {metric: _promql(names.name, metric, selector) for metric, selector in selectors.items()}
    queries["errors-by-pattern"] = _promql(
        names.name, "errors", 'monitored_resource=~"cloud_run_revision|cloud_run_job"'
    )
    facts: dict[str, Fact] = {}
    replies: list[Reply] = []
    series = 0
    for metric, query in queries.items():
        reply = target.calls.get("MONITORING", path + quote(query))
        found = reply.read(_Prometheus)
        series += len(found.data.result) if found and metric in METRICS else 0
        facts[metric] = {"answer": reply.answer, "series": len(found.data.result) if found else None}
        replies.append(reply)
    refused = any(each.answer.http == 400 for each in replies[: len(METRICS)])
    return Result(Item.METRIC_NAMES, judge(series > 0 and not refused, bad=refused), facts, texts(*replies))


def _promql(name: str, metric: str, selector: str) -> str:
    """The number of entries in a day, as deploy/metrics.tf names the metric."""
    own = f"{name}-{metric}".replace("-", "_")
    return f"increase(logging_googleapis_com:user_{own}{{{selector}}}[1d])"
