"""Creates the resources of a healthy installation from the `deployment:` section, each under its REST path.

The shapes follow the published REST references: Pub/Sub v1, Eventarc v1, Cloud Run Admin v2, Cloud Scheduler v1,
Logging v2, IAM v1, Firestore v1, Identity-Aware Proxy v1, Service Usage v1, Monitoring v3.
"""

from __future__ import annotations

from typing import Any

from sandbox.deployment_seed import DeploymentSeed
from sandbox.errors import SeedError
from sandbox.installation import apis, indexes, named, permissions, tasks
from sandbox.organization import Organization

Json = dict[str, Any]
_ALWAYS_ON = "serviceusage.googleapis.com"  # the API that lists the enabled APIs
_DECIDE = ("receiver", "review", "sweep", "writer")
_WRITE = ("sweep", "writer")


class Names:
    """The names of an installation's parts. Raises SeedError if the file lacks the project or the scope."""

    def __init__(self, seed: DeploymentSeed, organization: Organization) -> None:
        if seed.project not in organization.project_ids or seed.scope not in organization.nodes:
            raise SeedError(f"deployment: the file must describe {seed.project} and {seed.scope}")
        self.project = f"projects/{seed.project}"
        self.number = organization.number(seed.project)
        self.place = f"{self.project}/locations/{seed.region}"
        self.name = seed.name
        chain = [node.name for node in organization.chain(seed.scope)]
        self.organization = next((name for name in chain if name.startswith("organizations/")), seed.scope)
        self.topic = f"{self.project}/topics/{self.of('topics', 'denials')}"
        self.approvals = f"{self.project}/topics/{self.of('topics', 'approvals')}"
        self.dead = f"topics/{self.of('topics', 'dead_letters')}"
        self.trigger = self.of("triggers", "denials")
        self.bucket = f"{self.place}/buckets/{self.of('log_buckets', 'denials')}"
        self.view = f"{self.bucket}/views/{self.of('log_views', 'denials')}"
        self.subscription = f"{self.project}/subscriptions/eventarc-{seed.region}-{self.trigger}-sub-001"
        kind = "org" if seed.scope.startswith("organizations/") else "folder"
        self.writer = (
            f"serviceAccount:service-{kind}-{seed.scope.partition('/')[2]}@gcp-sa-logging.iam.gserviceaccount.com"
        )
        self._seed = seed

    def of(self, kind: str, part: str) -> str:
        return named(kind, part, self.name)

    def email(self, task: str) -> str:
        return f"{self.of('accounts', task)}@{self._seed.project}.iam.gserviceaccount.com"

    def member(self, task: str) -> str:
        return f"serviceAccount:{self.email(task)}"

    def agent(self, service: str) -> str:
        return f"serviceAccount:service-{self.number}@gcp-sa-{service}.iam.gserviceaccount.com"


def resources(seed: DeploymentSeed, organization: Organization) -> dict[str, Json]:
    """Every resource by its path; an allow policy by its resource's path and `:getIamPolicy`.

    Also grants the installation's identities their roles in the organization's policies.
    """
    names = Names(seed, organization)
    _grant(seed, names, organization)
    return {
        **_routing(seed, names),
        **_running(seed, names),
        **_kept(seed, names),
        **_watched(seed, names),
    }


def _grant(seed: DeploymentSeed, names: Names, organization: Organization) -> None:
    reader, writer = (f"{names.organization}/roles/{names.of('roles', each)}" for each in ("reader", "writer"))
    ledger = f"{names.project}/roles/{names.of('roles', 'ledger')}"
    organization.roles |= {reader: permissions("reader"), writer: permissions("writer"), ledger: permissions("ledger")}
    writers = [names.member(task) for task in (("receiver", *_WRITE) if seed.mode == "enforce" else _WRITE)]
    organization.identities |= {names.member(task) for task in tasks()}
    key, _, value = seed.opt_in_tag.rpartition("/")
    bound: list[Json] = [
        {"role": reader, "members": [names.member(task) for task in _DECIDE]},
        {"role": writer, "members": writers},
    ]
    if seed.opt_in_tag:
        either = " || ".join(f"resource.matchTag('{key}', '{each}')" for each in dict.fromkeys((value, "deployers")))
        bound[1]["condition"] = {"title": "opted in", "expression": either}
    _bind(organization, seed.scope, *bound)
    _bind(
        organization,
        names.project,
        {"role": ledger, "members": [names.member(task) for task in _DECIDE]},
        {"role": "roles/logging.logWriter", "members": [names.member("builder")]},
        {"role": "roles/logging.bucketWriter", "members": [names.writer], "condition": _alone(names.bucket)},
    )


def _alone(bucket: str) -> Json:
    name = bucket.partition("/locations/")[2]
    return {"title": "the denials alone", "expression": f'resource.name.endsWith("locations/{name}")'}


def _bind(organization: Organization, name: str, *bindings: Json) -> None:
    policy = organization.nodes[name].policy
    listed = policy.get("bindings")
    policy["bindings"] = [*(listed if isinstance(listed, list) else []), *bindings]
    policy |= {"version": 3, "etag": "BwYAAAAAAAI="}


def _routing(seed: DeploymentSeed, names: Names) -> dict[str, Json]:
    dead_topic = f"{names.project}/{names.dead}"
    dead_kept = f"{names.project}/subscriptions/{names.of('subscriptions', 'dead_letters')}"
    sink, feeding = names.of("sinks", "denials"), names.of("sinks", "view")
    deciding = [names.member(task) for task in _DECIDE]
    push = {
        "pushEndpoint": "https://eventarc.example/push",
        "oidcToken": {"serviceAccountEmail": names.email("trigger")},
    }
    trigger = f"{names.place}/triggers/{names.trigger}"
    publisher, subscriber = "roles/pubsub.publisher", "roles/pubsub.subscriber"
    return {
        f"/v2/{seed.scope}/sinks/{sink}": {
            "name": sink,
            "destination": f"pubsub.googleapis.com/{names.topic}",
            "filter": seed.filter,
            "writerIdentity": names.writer,
            "includeChildren": True,
            "createTime": "2026-01-01T00:00:00Z",
        },
        f"/v2/{seed.scope}/sinks/{feeding}": {
            "name": feeding,
            "destination": f"logging.googleapis.com/{names.bucket}",
            "filter": seed.filter,
            "writerIdentity": names.writer,
            "includeChildren": True,
        },
        f"/v2/{names.bucket}": {"name": names.bucket, "retentionDays": 7, "lifecycleState": "ACTIVE"},
        f"/v2/{names.view}": {"name": names.view},
        f"/v2/{names.view}:getIamPolicy": _policy({"roles/logging.viewAccessor": deciding}),
        f"/v1/{names.topic}": {"name": names.topic, "messageRetentionDuration": "604800s"},
        f"/v1/{names.topic}:getIamPolicy": _policy({publisher: [names.writer]}),
        f"/v1/{trigger}": {
            "name": trigger,
            "uid": "0a1b2c3d-0000-4000-8000-000000000001",
            "eventFilters": [{"attribute": "type", "value": "google.cloud.pubsub.topic.v1.messagePublished"}],
            "serviceAccount": names.email("trigger"),
            "destination": {"cloudRun": {"service": names.of("services", "receiver"), "region": seed.region}},
            "transport": {"pubsub": {"topic": names.topic, "subscription": names.subscription}},
        },
        f"/v1/{names.subscription}": {
            "name": names.subscription,
            "topic": names.topic,
            "state": "ACTIVE",
            "pushConfig": push,
            "deadLetterPolicy": {"deadLetterTopic": dead_topic, "maxDeliveryAttempts": 20},
            "ackDeadlineSeconds": 120,
        },
        f"/v1/{names.subscription}:getIamPolicy": _policy({subscriber: [names.agent("pubsub")]}),
        f"/v1/{dead_topic}": {"name": dead_topic},
        f"/v1/{dead_topic}:getIamPolicy": _policy({publisher: [names.agent("pubsub")]}),
        f"/v1/{dead_kept}": {"name": dead_kept, "topic": dead_topic, "state": "ACTIVE"},
        f"/v1/{dead_kept}:getIamPolicy": _policy({}),
    }


def _running(seed: DeploymentSeed, names: Names) -> dict[str, Json]:
    told = {
        "REMEDIATE_MODE": seed.mode,
        "REMEDIATE_LEDGER": f"firestore://{seed.project}/{names.of('databases', 'ledger')}",
        "REMEDIATE_ORGANIZATION": names.organization.partition("/")[2],
        "REMEDIATE_REVIEWERS": ",".join(seed.reviewers),
        "REMEDIATE_IDENTITIES": ",".join(sorted(names.email(task) for task in tasks())),
        "REMEDIATE_OPT_IN_TAG": seed.opt_in_tag,
        "REMEDIATE_LOG_VIEW": names.view,
    }
    env = [{"name": name, "value": value} for name, value in told.items() if value]
    services = {part: f"services/{names.of('services', part)}" for part in ("receiver", "review", "writer")}
    page = f"{names.place}/{services['review']}"
    audience = f"/projects/{names.number}/locations/{seed.region}/{services['review']}"
    secret = {"secretKeyRef": {"secret": names.of("secrets", "review"), "version": "latest"}}
    own: list[Json] = [
        {"name": "REMEDIATE_IAP_AUDIENCE", "value": audience},
        {"name": "REMEDIATE_SECRET", "valueSource": secret},
        {"name": "REMEDIATE_WRITER_TOPIC", "value": names.approvals},
    ]
    receiver, writer = f"{names.place}/{services['receiver']}", f"{names.place}/{services['writer']}"
    waking = f"{names.project}/subscriptions/{names.of('subscriptions', 'approvals')}"
    invoker = "roles/run.invoker"
    reviewers = [f"user:{each}" if "@" in each else f"domain:{each}" for each in seed.reviewers]
    iap = f"/v1/projects/{names.number}/iap_web/cloud_run-{seed.region}/{services['review']}:getIamPolicy"
    return {
        f"/v2/{receiver}": _service(receiver, names.email("receiver"), env, ingress="INGRESS_TRAFFIC_INTERNAL_ONLY"),
        f"/v2/{receiver}:getIamPolicy": _policy({invoker: [names.member("trigger")]}),
        f"/v2/{writer}": _service(writer, names.email("writer"), env, ingress="INGRESS_TRAFFIC_INTERNAL_ONLY"),
        f"/v2/{writer}:getIamPolicy": _policy({invoker: [names.member("trigger")]}),
        f"/v1/{names.approvals}": {"name": names.approvals},
        f"/v1/{names.approvals}:getIamPolicy": _policy({"roles/pubsub.publisher": [names.member("review")]}),
        f"/v1/{waking}": {
            "name": waking,
            "topic": names.approvals,
            "state": "ACTIVE",
            "pushConfig": {
                "pushEndpoint": f"https://{names.of('services', 'writer')}-{names.number}.{seed.region}.run.app",
                "oidcToken": {"serviceAccountEmail": names.email("trigger")},
            },
            "ackDeadlineSeconds": 120,
        },
        f"/v2/{page}": {
            **_service(page, names.email("review"), [*env, *own], ingress="INGRESS_TRAFFIC_ALL"),
            "iapEnabled": True,
        },
        f"/v2/{page}:getIamPolicy": _policy({invoker: [names.agent("iap")]}),
        iap: _policy({"roles/iap.httpsResourceAccessor": reviewers}),
        **_sweep(names, env, "sweep", "7 * * * *", "--since", "1d", "--scope", seed.scope),
        **_sweep(names, env, "due", "*/5 * * * *", "--due"),
    }


def _sweep(names: Names, env: list[Json], part: str, times: str, *options: str) -> dict[str, Json]:
    """A job that sweeps with these options, who may start it, and the schedule that does."""
    own = names.of("jobs", part)
    job, schedule = f"{names.place}/jobs/{own}", f"{names.place}/jobs/{names.of('schedules', part)}"
    container = {"args": ["--", "python3", "-m", "remediate", "sweep", *options], "env": list(env)}
    return {
        f"/v2/{job}": {
            "name": job,
            "template": {"template": {"serviceAccount": names.email("sweep"), "containers": [container]}},
            "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
            "latestCreatedExecution": {"name": f"{own}-x7k2p", "completionStatus": "EXECUTION_SUCCEEDED"},
        },
        f"/v2/{job}:getIamPolicy": _policy({"roles/run.invoker": [names.member("trigger")]}),
        f"/v1/{schedule}": {
            "name": schedule,
            "schedule": times,
            "timeZone": "Etc/UTC",
            "state": "ENABLED",
            "httpTarget": {"uri": f"https://run.googleapis.com/v2/{job}:run", "httpMethod": "POST"},
            "status": {},
        },
    }


def _service(name: str, email: str, env: list[Json], *, ingress: str) -> Json:
    return {
        "name": name,
        "uri": f"https://{name.rpartition('/')[2]}.example",
        "ingress": ingress,
        "template": {"serviceAccount": email, "containers": [{"image": "remediate", "env": list(env)}]},
        "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
    }


def _kept(seed: DeploymentSeed, names: Names) -> dict[str, Json]:
    """The database with its indexes and its schema version, and the trail's log bucket."""
    database = f"{names.project}/databases/{names.of('databases', 'ledger')}"
    group = f"{database}/collectionGroups/remediations/indexes"
    kept = [
        {
            "name": f"{group}/{number}",
            "queryScope": "COLLECTION",
            "state": "READY",
            "fields": [*fields, {"fieldPath": "__name__", "order": fields[-1]["order"]}],
        }
        for number, fields in enumerate(indexes("remediations"))
    ]
    bucket = f"{names.project}/locations/{seed.region}/buckets/{names.of('log_buckets', 'trail')}"
    sink = names.of("sinks", "trail")
    schema = f"{database}/documents/settings/schema"
    return {
        f"/v1/{database}": {"name": database, "type": "FIRESTORE_NATIVE", "locationId": seed.region},
        f"/v1/{group}": {"indexes": kept},
        f"/v1/{schema}": {"name": schema, "fields": {"version": {"integerValue": "5"}}},
        f"/v2/{bucket}": {"name": bucket, "retentionDays": 400, "lifecycleState": "ACTIVE"},
        f"/v2/{names.project}/sinks/{sink}": {
            "name": sink,
            "destination": f"logging.googleapis.com/{bucket}",
            "filter": "jsonPayload.trail.hash:*",
            "writerIdentity": f"serviceAccount:service-{names.number}@gcp-sa-logging.iam.gserviceaccount.com",
        },
    }


def _watched(seed: DeploymentSeed, names: Names) -> dict[str, Json]:
    """Service accounts without keys, the enabled APIs, and Monitoring's time series."""
    found: dict[str, Json] = {}
    for task in tasks():
        account = f"{names.project}/serviceAccounts/{names.email(task)}"
        found[f"/v1/{account}"] = {"name": account, "email": names.email(task), "projectId": seed.project}
        found[f"/v1/{account}/keys"] = {}
        found[f"/v1/{account}:getIamPolicy"] = _policy({})
    found[f"/v1/{names.project}/services"] = dict.fromkeys([*apis(), _ALWAYS_ON], "ENABLED")
    series = [
        _series("num_undelivered_messages", names.of("subscriptions", "dead_letters"), 0),
        _series("oldest_unacked_message_age", names.subscription.rpartition("/")[2], 0),
        _quota("logging", "read_requests", "quota/rate/net_usage", 3),
        _quota("logging", "read_requests", "quota/limit", 60),
        _quota("artifactregistry", "project_region_requests", "quota/rate/net_usage", 12),
        _quota("artifactregistry", "project_region_requests", "quota/limit", 60_000),
    ]
    found[f"/v3/{names.project}/timeSeries"] = {"timeSeries": series}
    if seed.opt_in_tag:
        found["/v3/tagValues/281480000000001"] = {
            "name": "tagValues/281480000000001",
            "namespacedName": seed.opt_in_tag,
            "shortName": seed.opt_in_tag.rpartition("/")[2],
        }
    return found


def _series(metric: str, subscription: str, value: int) -> Json:
    return {
        "metric": {"type": f"pubsub.googleapis.com/subscription/{metric}"},
        "resource": {"type": "pubsub_subscription", "labels": {"subscription_id": subscription}},
        "points": [{"value": {"int64Value": str(value)}}],
    }


def _quota(service: str, metric: str, kind: str, value: int) -> Json:
    labels = {"quota_metric": f"{service}.googleapis.com/{metric}"}
    return {
        "metric": {"type": f"serviceruntime.googleapis.com/{kind}", "labels": labels},
        "resource": {"type": "consumer_quota", "labels": {"service": f"{service}.googleapis.com"}},
        "points": [{"interval": {"endTime": "2026-01-01T00:00:00Z"}, "value": {"int64Value": str(value)}}],
    }


def _policy(roles: dict[str, list[str]]) -> Json:
    bindings = [{"role": role, "members": members} for role, members in roles.items() if members]
    return {"version": 1, "etag": "BwYAAAAAAAE=", "bindings": bindings} if bindings else {"etag": "ACAB"}
