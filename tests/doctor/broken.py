"""Ways to break one part of an installation, each with the codes that the doctor then reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remediate.doctor.codes import Code
from tests.doctor.installation import (
    DATABASE,
    DEAD_KEPT,
    DEAD_TOPIC,
    DUE_JOB,
    DUE_SCHEDULE,
    HERE,
    JOB,
    LEDGER,
    READER,
    RECEIVER,
    REVIEW,
    SCHEDULE,
    SCOPE,
    SINK,
    SUBSCRIPTION,
    TOPIC,
    TRIGGER,
    WRITER,
    WRITES,
    Installation,
    member,
)

MANY, EVE = "user:eve@example.com", "serviceAccount:eve@shop-frontend.iam.gserviceaccount.com"
ACCOUNT = f"/v1/{HERE}/serviceAccounts/remediate-receiver@remediate-ops.iam.gserviceaccount.com"
IAP = "/v1/projects/444444444444/iap_web/cloud_run-asia-northeast1/services/remediate-review:getIamPolicy"
TRAIL, BUCKET = f"/v2/{HERE}/sinks/remediate-trail", f"/v2/{HERE}/locations/asia-northeast1/buckets/remediate-trail"
DENIALS_BUCKET = f"/v2/{HERE}/locations/asia-northeast1/buckets/remediate-denials"
VIEW, VIEW_SINK = f"{DENIALS_BUCKET}/views/remediate-denials", f"/v2/{SCOPE}/sinks/remediate-view"
SERIES, SERVICES = f"/v3/{HERE}/timeSeries", f"/v1/{HERE}/services"
SCHEMA, INDEXES = f"{DATABASE}/documents/settings/schema", f"{DATABASE}/collectionGroups/remediations/indexes"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
APPROVALS, WAKING = f"{HERE}/topics/remediate-approvals", f"{HERE}/subscriptions/remediate-approvals"
INVOKER = "roles/run.invoker"
Patch = dict[str, Any] | Callable[[Installation], dict[str, Any]]


def allow_policy(**roles: list[str]) -> dict[str, Any]:
    """An allow policy: role (with `__` for a dot) and members."""
    return {"bindings": [{"role": f"roles/{r.replace('__', '.')}", "members": m} for r, m in roles.items()]}


def without_variables(path: str, *names: str) -> Callable[[Installation], dict[str, Any]]:
    """A part without these variables."""

    def patch(installation: Installation) -> dict[str, Any]:
        kept = [each for each in installation.variables(path) if each["name"] not in names]
        return {path: _template(path, kept)}

    return patch


def with_env(path: str, **variables: str) -> Callable[[Installation], dict[str, Any]]:
    """A part with other variables."""

    def patch(installation: Installation) -> dict[str, Any]:
        kept = [each for each in installation.variables(path) if each["name"] not in variables]
        return {path: _template(path, [*kept, *({"name": n, "value": v} for n, v in variables.items())])}

    return patch


def _template(path: str, env: list[dict[str, Any]]) -> dict[str, Any]:
    container = {"containers": [{"env": env, "args": ["sweep", "--scope", SCOPE]}]}
    return {"template": {"template": container} if "/jobs/" in path else container}


def with_binding(place: str, role: str, who: str) -> Callable[[Installation], dict[str, Any]]:
    """An allow policy with one more binding."""
    return lambda installation: {f"policy {place}": [*installation.policy(place), {"role": role, "members": [who]}]}


def without_member(place: str, role: str, who: str) -> Callable[[Installation], dict[str, Any]]:
    """A role's binding without a member."""

    def patch(installation: Installation) -> dict[str, Any]:
        listed = installation.policy(place)
        for binding in listed:
            if binding["role"] == role:
                binding["members"] = [each for each in binding["members"] if each != who]
        return {f"policy {place}": listed}

    return patch


def with_permissions(role: str, *more: str, less: str = "") -> Callable[[Installation], dict[str, Any]]:
    """A custom role with other permissions."""

    def patch(installation: Installation) -> dict[str, Any]:
        held = installation.sandbox.call("GET", f"/v1/{role}")[1]["includedPermissions"]
        return {f"role {role}": [*(each for each in held if each != less), *more]}

    return patch


def with_measurement(metric: str, value: int) -> Callable[[Installation], dict[str, Any]]:
    """Another measured value."""

    def patch(installation: Installation) -> dict[str, Any]:
        series = installation.sandbox.call("GET", SERIES)[1]["timeSeries"]
        for each in series:
            if metric in (
                each["metric"]["type"].rpartition("/")[2],
                each["metric"].get("labels", {}).get("quota_metric"),
            ):
                if each["metric"]["type"].endswith("quota/limit"):
                    continue
                each["points"] = [{"value": {"int64Value": str(value)}}]
        return {SERIES: {"timeSeries": series}}

    return patch


def with_tag(condition: dict[str, str] | None, tag_: str = "tagValues/77") -> Callable[[Installation], dict[str, Any]]:
    """An opt-in tag, and the writers' binding with this condition."""

    def patch(installation: Installation) -> dict[str, Any]:
        installation.set_env(REMEDIATE_OPT_IN_TAG=tag_)
        listed = installation.policy(SCOPE)
        for binding in listed:
            if binding["role"] == WRITER and condition:
                binding["condition"] = condition
        tag = {"name": "tagValues/77", "namespacedName": "400000000001/remediate/yes"}
        return {"/v3/tagValues/77": tag, f"policy {SCOPE}": listed}

    return patch


def with_policy_file(policy: dict[str, Any] | None) -> Callable[[Installation], dict[str, Any]]:
    """A policy file in a bucket: JSON is YAML too."""

    def patch(installation: Installation) -> dict[str, Any]:
        installation.set_env(REMEDIATE_POLICY="gs://rules/policy/policy.yaml")
        return {"/storage/v1/b/rules/o/policy/policy.yaml": policy}

    return patch


def no_such_tag(installation: Installation) -> dict[str, Any]:
    """A tag that does not exist, read by a caller with access to all tags."""
    installation.set_env(REMEDIATE_OPT_IN_TAG="400000000001/remediate/gone")
    looker = "serviceAccount:remediate@remediate-ops.iam.gserviceaccount.com"
    return with_binding(SCOPE, "roles/resourcemanager.tagViewer", looker)(installation)


def published_by_a_custom_role(installation: Installation) -> dict[str, Any]:
    """Anyone can publish, through a custom role with the permission."""
    bindings = installation.sandbox.call("GET", f"{TOPIC}:getIamPolicy")[1]["bindings"]
    more = with_permissions(WRITER, "pubsub.topics.publish")(installation)
    return {f"{TOPIC}:getIamPolicy": {"bindings": [*bindings, {"role": WRITER, "members": ["allUsers"]}]}} | more


def oldest_first(installation: Installation) -> dict[str, Any]:
    """Every index in ascending order."""
    indexes = installation.sandbox.call("GET", INDEXES)[1]["indexes"]
    for index in indexes:
        for each in index["fields"]:
            each["order"] = "ASCENDING"
    return {INDEXES: {"indexes": indexes}}


BROKEN: list[tuple[str, Patch, set[Code]]] = [
    # Event delivery
    ("no sink", {SINK: None}, {Code.SINK_MISSING}),
    ("sink off", {SINK: {"disabled": True}}, {Code.SINK_DISABLED}),
    ("an older filter", {SINK: {"filter": 'protoPayload.serviceName="run.googleapis.com"'}}, {Code.SINK_FILTER}),
    ("an exclusion", {SINK: {"exclusions": [{"name": "noise", "filter": "severity=ERROR"}]}}, {Code.SINK_EXCLUDES}),
    ("no children", {SINK: {"includeChildren": None}}, {Code.SINK_CHILDREN}),
    ("intercepting", {SINK: {"interceptChildren": True}}, {Code.SINK_INTERCEPTS}),
    ("elsewhere", {SINK: {"destination": f"pubsub.googleapis.com/{HERE}/topics/x"}}, {Code.SINK_DESTINATION}),
    ("no topic", {TOPIC: None}, {Code.TOPIC_MISSING}),
    ("writer not let in", {f"{TOPIC}:getIamPolicy": {"bindings": None}}, {Code.TOPIC_WRITER}),
    ("sink made anew", {SINK: {"writerIdentity": EVE}}, {Code.TOPIC_WRITER, Code.TOPIC_EXTRA_PUBLISHER}),
    ("publisher of the project", with_binding(HERE, "roles/pubsub.publisher", EVE), {Code.TOPIC_INHERITED_PUBLISHER}),
    ("no log view", {VIEW: None, f"{VIEW}:getIamPolicy": None}, {Code.LOG_VIEW_MISSING}),
    ("its bucket deleted", {DENIALS_BUCKET: {"lifecycleState": "DELETE_REQUESTED"}}, {Code.LOG_VIEW_MISSING}),
    ("its bucket gone for good", {DENIALS_BUCKET: None}, {Code.LOG_VIEW_MISSING}),
    ("a view of a part", {VIEW: {"filter": 'source("projects/x")'}}, {Code.LOG_VIEW_UNFED}),
    ("no sink to the view", {VIEW_SINK: None}, {Code.LOG_VIEW_UNFED}),
    ("sink to the view off", {VIEW_SINK: {"disabled": True}}, {Code.LOG_VIEW_UNFED}),
    ("an older filter to the view", {VIEW_SINK: {"filter": "severity>=ERROR"}}, {Code.LOG_VIEW_UNFED}),
    ("an exclusion from the view", {VIEW_SINK: {"exclusions": [{"name": "x", "filter": "x"}]}}, {Code.LOG_VIEW_UNFED}),
    ("no children in the view", {VIEW_SINK: {"includeChildren": None}}, {Code.LOG_VIEW_UNFED}),
    ("intercepting for the view", {VIEW_SINK: {"interceptChildren": True}}, {Code.LOG_VIEW_UNFED}),
    ("to another bucket", {VIEW_SINK: {"destination": f"logging.googleapis.com/{BUCKET}"}}, {Code.LOG_VIEW_UNFED}),
    ("writer not let in to the bucket", {VIEW_SINK: {"writerIdentity": EVE}}, {Code.LOG_VIEW_UNFED}),
    ("view not for the sweep", {f"{VIEW}:getIamPolicy": allow_policy(logging__viewAccessor=[member("receiver"), member("review")])}, {Code.LOG_VIEW_RIGHT}),
    ("view for another", {f"{VIEW}:getIamPolicy": allow_policy(logging__viewAccessor=[*map(member, ("receiver", "review", "sweep", "writer")), MANY])}, {Code.LOG_VIEW_EXTRA_READER}),
    ("every view for another", with_binding(HERE, "roles/logging.viewAccessor", MANY), {Code.LOG_VIEW_EXTRA_READER}),
    ("two views", with_env(REVIEW, REMEDIATE_LOG_VIEW=f"{VIEW[4:]}-2"), {Code.SETTINGS_DISAGREE}),
    ("no trigger", {TRIGGER: None}, {Code.TRIGGER_MISSING}),
    ("other events", {TRIGGER: {"eventFilters": [{"attribute": "type", "value": "x"}]}}, {Code.TRIGGER_EVENT}),
    ("another topic", {TRIGGER: {"transport": {"pubsub": {"topic": f"{HERE}/topics/x"}}}}, {Code.TRIGGER_TOPIC}),
    ("another service", {TRIGGER: {"destination": {"cloudRun": {"service": "x"}}}}, {Code.TRIGGER_DESTINATION}),
    ("another region", {TRIGGER: {"destination": {"cloudRun": {"region": "us-east1"}}}}, {Code.TRIGGER_DESTINATION}),
    ("another caller", {TRIGGER: {"serviceAccount": "x@y.z"}}, {Code.TRIGGER_IDENTITY}),
    ("unhealthy", {TRIGGER: {"conditions": {"t": {"code": "NOT_FOUND", "message": "gone"}}}}, {Code.TRIGGER_UNHEALTHY}),
    ("no subscription", {SUBSCRIPTION: None, f"{SUBSCRIPTION}:getIamPolicy": None}, {Code.SUBSCRIPTION_MISSING}),
    ("none named", {TRIGGER: {"transport": {"pubsub": {"subscription": None}}}}, {Code.SUBSCRIPTION_MISSING}),
    ("detached", {SUBSCRIPTION: {"detached": True}}, {Code.SUBSCRIPTION_BROKEN}),
    ("resource error", {SUBSCRIPTION: {"state": "RESOURCE_ERROR"}}, {Code.SUBSCRIPTION_BROKEN}),
    ("its topic was deleted", {SUBSCRIPTION: {"topic": "_deleted-topic_"}}, {Code.SUBSCRIPTION_BROKEN}),
    ("impatient", {SUBSCRIPTION: {"ackDeadlineSeconds": 10}}, {Code.SUBSCRIPTION_IMPATIENT}),
    ("dead letters of another topic", {DEAD_KEPT: {"topic": "_deleted-topic_"}}, {Code.DEAD_LETTER_MISSING}),
    ("publisher of the organization", with_binding(SCOPE, "roles/pubsub.publisher", EVE), {Code.TOPIC_INHERITED_PUBLISHER}),
    ("publisher by a role of one's own", published_by_a_custom_role, {Code.TOPIC_EXTRA_PUBLISHER, Code.ROLE_SUPERFLUOUS}),
    ("no dead letters kept", {SUBSCRIPTION: {"deadLetterPolicy": None}}, {Code.SUBSCRIPTION_NO_DEAD_LETTER}),
    ("behind", with_measurement("oldest_unacked_message_age", 4000), {Code.SUBSCRIPTION_BEHIND}),
    ("no dead letter topic", {DEAD_TOPIC: None, f"{DEAD_TOPIC}:getIamPolicy": None}, {Code.DEAD_LETTER_MISSING}),
    ("no way to pull them", {DEAD_KEPT: None}, {Code.DEAD_LETTER_MISSING}),
    ("nobody may move them", {f"{DEAD_TOPIC}:getIamPolicy": {"bindings": None}}, {Code.DEAD_LETTER_RIGHT}),
    ("nor take them", {f"{SUBSCRIPTION}:getIamPolicy": {"bindings": None}}, {Code.DEAD_LETTER_RIGHT}),
    ("dead letters", with_measurement("num_undelivered_messages", 3), {Code.DEAD_LETTERS_WAITING}),
    # Services
    ("no receiver", {RECEIVER: None}, {Code.SERVICE_MISSING}),
    ("no pages", {REVIEW: None}, {Code.SERVICE_MISSING}),
    ("not ready", {RECEIVER: {"terminalCondition": {"state": "CONDITION_FAILED"}}}, {Code.SERVICE_NOT_READY}),
    ("default identity", {RECEIVER: {"template": {"serviceAccount": None}}}, {Code.SERVICE_IDENTITY}),
    ("open to the world", {RECEIVER: {"ingress": "INGRESS_TRAFFIC_ALL"}}, {Code.SERVICE_OPEN}),
    ("no check of callers", {RECEIVER: {"invokerIamDisabled": True}}, {Code.SERVICE_OPEN}),
    ("everybody calls", {f"{REVIEW}:getIamPolicy": allow_policy(run__invoker=["allUsers"])}, {Code.SERVICE_OPEN, Code.SERVICE_CALLER_MISSING}),
    ("trigger may not call", {f"{RECEIVER}:getIamPolicy": {"bindings": None}}, {Code.SERVICE_CALLER_MISSING}),
    ("schedule may not start", {f"{JOB}:getIamPolicy": {"bindings": None}}, {Code.SERVICE_CALLER_MISSING}),
    ("another identity calls", {f"{RECEIVER}:getIamPolicy": allow_policy(run__invoker=[member("trigger"), EVE])}, {Code.SERVICE_EXTRA_CALLER}),
    ("anybody starts the sweep", {f"{JOB}:getIamPolicy": allow_policy(run__invoker=[member("trigger"), "allUsers"])}, {Code.SERVICE_OPEN}),
    ("anybody administers", {f"{RECEIVER}:getIamPolicy": allow_policy(run__invoker=[member("trigger")], run__admin=["allUsers"])}, {Code.SERVICE_OPEN}),
    ("called from above", with_binding(HERE, INVOKER, MANY), {Code.SERVICE_EXTRA_CALLER}),
    ("everybody let in from above", with_binding(HERE, "roles/iap.httpsResourceAccessor", "allAuthenticatedUsers"), {Code.IAP_EVERYBODY}),
    ("trail of remediations alone", {TRAIL: {"filter": "jsonPayload.trail.remediation:*"}}, {Code.TRAIL_NOT_KEPT}),
    ("trail of something else", {TRAIL: {"filter": "severity>=EMERGENCY"}}, {Code.TRAIL_NOT_KEPT}),
    ("no proxy", {REVIEW: {"iapEnabled": None}}, {Code.IAP_OFF}),
    ("another audience", with_env(REVIEW, REMEDIATE_IAP_AUDIENCE="/projects/1/locations/r/services/s"), {Code.IAP_AUDIENCE}),
    ("no audience", without_variables(REVIEW, "REMEDIATE_IAP_AUDIENCE"), {Code.IAP_AUDIENCE}),
    ("no reviewers let in", {IAP: {"bindings": None}}, {Code.IAP_NOBODY}),
    ("everybody let in", {IAP: allow_policy(iap__httpsResourceAccessor=["allAuthenticatedUsers"])}, {Code.IAP_EVERYBODY}),
    ("no sweep", {JOB: None}, {Code.SWEEP_MISSING}),
    ("sweep fails", {JOB: {"latestCreatedExecution": {"completionStatus": "EXECUTION_FAILED"}}}, {Code.SWEEP_FAILING}),
    ("no sweep of what is due", {DUE_JOB: None}, {Code.SWEEP_MISSING}),
    ("sweep of what is due fails", {DUE_JOB: {"latestCreatedExecution": {"completionStatus": "EXECUTION_FAILED"}}}, {Code.SWEEP_FAILING}),
    ("sweep of what is due by the default identity", {DUE_JOB: {"template": {"template": {"serviceAccount": None}}}}, {Code.SERVICE_IDENTITY}),
    ("sweep of what is due may not start", {f"{DUE_JOB}:getIamPolicy": {"bindings": None}}, {Code.SERVICE_CALLER_MISSING}),
    ("no schedule of what is due", {DUE_SCHEDULE: None}, {Code.SCHEDULE_MISSING}),
    ("schedule of what is due paused", {DUE_SCHEDULE: {"state": "PAUSED"}}, {Code.SCHEDULE_PAUSED}),
    ("schedule of what is due starts the other", {DUE_SCHEDULE: {"httpTarget": {"uri": "https://run.googleapis.com/v2/projects/remediate-ops/locations/asia-northeast1/jobs/remediate-sweep:run"}}}, {Code.SCHEDULE_TARGET}),
    ("sweep of what is due with other settings", with_env(DUE_JOB, REMEDIATE_REVIEWERS="eve@example.com"), {Code.SETTINGS_DISAGREE}),
    ("no schedule", {SCHEDULE: None}, {Code.SCHEDULE_MISSING}),
    ("paused", {SCHEDULE: {"state": "PAUSED"}}, {Code.SCHEDULE_PAUSED}),
    ("schedule of something else", {SCHEDULE: {"httpTarget": {"uri": "https://x"}}}, {Code.SCHEDULE_TARGET}),
    ("schedule is refused", {SCHEDULE: {"status": {"code": 7}}}, {Code.SWEEP_FAILING}),
    ("trail not kept", {TRAIL: None}, {Code.TRAIL_NOT_KEPT}),
    ("its bucket gone", {BUCKET: None}, {Code.TRAIL_NOT_KEPT}),
    # Configuration and ledger
    ("a setting not accepted", with_env(RECEIVER, REMEDIATE_TIMEOUT="soon"), {Code.SETTINGS_INVALID}),
    ("a setting of no version", with_env(REVIEW, REMEDIATE_ORGANISATION="1"), {Code.SETTINGS_INVALID}),
    ("two ledgers", with_env(REVIEW, REMEDIATE_LEDGER="firestore://remediate-ops/other"), {Code.SETTINGS_DISAGREE}),
    ("organization unset", lambda installation: {k: v for p in (RECEIVER, REVIEW, WRITES, JOB, DUE_JOB) for k, v in without_variables(p, "REMEDIATE_ORGANIZATION")(installation).items()}, {Code.ORGANIZATION_UNSET, Code.SETTINGS_DIFFER}),
    ("anybody reviews", lambda installation: {k: v for p in (RECEIVER, REVIEW, WRITES, JOB, DUE_JOB) for k, v in without_variables(p, "REMEDIATE_REVIEWERS")(installation).items()}, {Code.REVIEWERS_UNSET}),
    ("itself reviews", lambda installation: {k: v for p in (RECEIVER, REVIEW, WRITES, JOB, DUE_JOB) for k, v in without_variables(p, "REMEDIATE_IDENTITIES")(installation).items()}, {Code.IDENTITIES_UNSET}),
    ("no secret", without_variables(REVIEW, "REMEDIATE_SECRET"), {Code.SECRET_UNSET}),
    ("no such tag", no_such_tag, {Code.TAG_MISSING}),
    ("tag without IAM", with_tag(None), {Code.TAG_NOT_ENFORCED}),
    ("tag under a wider condition", with_tag({"title": "x", "expression": "true || resource.matchTagId('tagKeys/1', 'tagValues/77')"}), {Code.TAG_NOT_ENFORCED}),
    ("tag beside another one", with_tag({"title": "x", "expression": "resource.matchTagId('tagKeys/1', 'tagValues/77') || resource.matchTagId('tagKeys/2', 'tagValues/9')"}), {Code.TAG_NOT_ENFORCED}),
    ("indexes the wrong way", oldest_first, {Code.INDEX_MISSING}),
    ("no policy file", with_policy_file(None), {Code.POLICY_UNREADABLE}),
    ("a policy that is none", with_policy_file({"rules": [{"when": "x"}]}), {Code.POLICY_UNREADABLE}),
    ("no database", {DATABASE: None, SCHEMA: None, INDEXES: None}, {Code.DATABASE_MISSING}),
    ("Datastore mode", {DATABASE: {"type": "DATASTORE_MODE"}}, {Code.DATABASE_MODE}),
    ("no indexes", {INDEXES: {"indexes": []}}, {Code.INDEX_MISSING}),
    ("a newer ledger", {SCHEMA: {"fields": {"version": {"integerValue": "99"}}}}, {Code.LEDGER_NEWER}),
    ("an older ledger", {SCHEMA: {"fields": {"version": {"integerValue": "1"}}}}, {Code.LEDGER_OLDER}),
    # APIs and quotas
    ("scheduler off", {SERVICES: {"secretmanager.googleapis.com": "DISABLED"}}, {Code.API_DISABLED}),
    ("Pub/Sub off", {SERVICES: {"pubsub.googleapis.com": "DISABLED"}}, {Code.API_DISABLED, Code.NOT_KNOWN}),
    ("quota nearly used up", with_measurement("logging.googleapis.com/read_requests", 55), {Code.QUOTA_LOW}),
    # Identities
    ("no account", {ACCOUNT: None, f"{ACCOUNT}/keys": None}, {Code.ACCOUNT_MISSING}),
    ("account off", {ACCOUNT: {"disabled": True}}, {Code.ACCOUNT_DISABLED}),
    ("a key", {f"{ACCOUNT}/keys": {"keys": [{"name": f"{ACCOUNT[4:]}/keys/0123"}]}}, {Code.ACCOUNT_KEYS}),
    ("acted as", {f"{ACCOUNT}:getIamPolicy": allow_policy(iam__serviceAccountTokenCreator=[MANY])}, {Code.ACCOUNT_IMPERSONATED}),
    ("acted as, from above", with_binding(HERE, "roles/iam.serviceAccountTokenCreator", MANY), {Code.ACCOUNT_IMPERSONATED}),
    ("receiver owns the project", with_binding(HERE, "roles/owner", member("receiver")), {Code.WRITES_IN_DRY_RUN}),
    ("review owns the project", with_binding(HERE, "roles/owner", member("review")), {Code.PAGES_WRITE}),
    ("builder edits", with_binding(HERE, "roles/editor", member("builder")), {Code.RIGHT_SUPERFLUOUS}),
    ("builder above", with_binding("folders/310000000002", "roles/viewer", member("builder")), {Code.RIGHT_SUPERFLUOUS}),
    ("receiver writes", with_binding(SCOPE, WRITER, member("receiver")), {Code.WRITES_IN_DRY_RUN}),
    ("receiver's own role writes", with_permissions(READER, SET_POLICY), {Code.WRITES_IN_DRY_RUN, Code.PAGES_WRITE}),
    ("pages write", with_binding(SCOPE, WRITER, member("review")), {Code.PAGES_WRITE}),
    ("pages wake nobody", without_variables(REVIEW, "REMEDIATE_WRITER_TOPIC"), {Code.WRITER_TOPIC_UNSET}),
    ("pages may not wake", {f"/v1/{APPROVALS}:getIamPolicy": {"bindings": None}}, {Code.WRITER_NOT_WOKEN}),
    ("nothing wakes the writer", {f"/v1/{WAKING}": None}, {Code.WRITER_NOT_WOKEN}),
    ("somebody else is woken", {f"/v1/{WAKING}": {"pushConfig": {"pushEndpoint": "https://x.example"}}}, {Code.WRITER_NOT_WOKEN}),
    ("no topic to wake by", {f"/v1/{APPROVALS}": None}, {Code.WRITER_NOT_WOKEN}),
    ("writer open", {WRITES: {"ingress": "INGRESS_TRAFFIC_ALL"}}, {Code.SERVICE_OPEN}),
    ("no writer", {WRITES: None}, {Code.SERVICE_MISSING}),
    ("writer may not write", without_member(SCOPE, WRITER, member("writer")), {Code.RIGHT_MISSING}),
    ("sweep sees nothing", without_member(SCOPE, READER, member("sweep")), {Code.RIGHT_MISSING}),
    ("no ledger for the receiver", without_member(HERE, LEDGER, member("receiver")), {Code.RIGHT_MISSING}),
    ("a role with less", with_permissions(READER, less="logging.logEntries.list"), {Code.RIGHT_MISSING}),
    ("a writer with less", with_permissions(WRITER, less=SET_POLICY), {Code.RIGHT_MISSING}),
    ("a role with more", with_permissions(WRITER, "artifactregistry.repositories.delete"), {Code.ROLE_SUPERFLUOUS}),
    ("a ledger that deletes", with_permissions(LEDGER, "datastore.entities.delete"), {Code.ROLE_SUPERFLUOUS}),
    ("a role that is gone", {f"role {READER}": None}, {Code.ROLE_MISSING, Code.RIGHT_MISSING}),
]  # fmt: skip
