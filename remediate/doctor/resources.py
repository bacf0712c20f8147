"""The fields of Google Cloud resources that the checks read, in the shapes of the REST references.

Logging v2, Pub/Sub v1, Eventarc v1, Cloud Run Admin v2, Cloud Scheduler v1, IAM v1, Firestore v1, Resource Manager v3
and Monitoring v3. A resource that does not exist is Absent; one that cannot be read is Unknown.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec


class Absent(msgspec.Struct, frozen=True):
    """Google answers 404."""

    name: str


class Unknown(msgspec.Struct, frozen=True):
    """The resource could not be read, so nothing is concluded about it."""

    name: str
    why: str
    """Google's error text."""
    right: str
    """The permission that reading it needs."""
    fix: str
    """The command that grants the permission, or makes the API answer."""


_T = TypeVar("_T")
Fact: TypeAlias = _T | Absent | Unknown


class _Resource(msgspec.Struct, frozen=True, rename="camel"):
    """Google's JSON in camel case; fields that are not declared are ignored."""


class RoleBinding(_Resource, frozen=True):
    role: str = ""
    members: tuple[str, ...] = ()
    condition: dict[str, str] = {}


class AllowPolicy(_Resource, frozen=True):
    bindings: tuple[RoleBinding, ...] = ()


def bindings(policy: object) -> tuple[RoleBinding, ...]:
    """The bindings of an allow policy; none where the policy is not known."""
    return policy.bindings if isinstance(policy, AllowPolicy) else ()


def grants(policy: object, *roles: str) -> list[tuple[str, str]]:
    """Each of these roles with each of its members, in the policy's order."""
    return [(each.role, member) for each in bindings(policy) if each.role in roles for member in each.members]


def members(policy: object, *roles: str) -> list[str]:
    """The members of these roles, each once."""
    return list(dict.fromkeys(member for _, member in grants(policy, *roles)))


class LogSink(_Resource, frozen=True):
    destination: str = ""
    filter: str = ""
    disabled: bool = False
    include_children: bool = False
    intercept_children: bool = False
    writer_identity: str = ""
    exclusions: tuple[dict[str, object], ...] = ()


class LogBucket(_Resource, frozen=True):
    lifecycle_state: str = "ACTIVE"


class LogView(_Resource, frozen=True):
    filter: str = ""


class PubSubTopic(_Resource, frozen=True):
    name: str = ""


class DeadLetterPolicy(_Resource, frozen=True):
    dead_letter_topic: str = ""


class OidcToken(_Resource, frozen=True):
    service_account_email: str = ""


class PushConfig(_Resource, frozen=True):
    push_endpoint: str = ""
    oidc_token: OidcToken = OidcToken()


class Subscription(_Resource, frozen=True):
    topic: str = ""
    push_config: PushConfig = PushConfig()
    state: str = "ACTIVE"
    detached: bool = False
    dead_letter_policy: DeadLetterPolicy | None = None
    ack_deadline_seconds: int = 10


class EventFilter(_Resource, frozen=True):
    attribute: str = ""
    value: str = ""


class CloudRunTarget(_Resource, frozen=True):
    service: str = ""
    region: str = ""


class TriggerDestination(_Resource, frozen=True):
    cloud_run: CloudRunTarget = CloudRunTarget()


class PubSubTransport(_Resource, frozen=True):
    topic: str = ""
    subscription: str = ""


class TriggerTransport(_Resource, frozen=True):
    pubsub: PubSubTransport = PubSubTransport()


class TriggerCondition(_Resource, frozen=True):
    code: str | int = ""
    message: str = ""


class Trigger(_Resource, frozen=True):
    event_filters: tuple[EventFilter, ...] = ()
    service_account: str = ""
    destination: TriggerDestination = TriggerDestination()
    transport: TriggerTransport = TriggerTransport()
    conditions: dict[str, TriggerCondition] = {}

    @property
    def event_type(self) -> str:
        """The type of the events that it matches."""
        return next((each.value for each in self.event_filters if each.attribute == "type"), "")


class EnvVar(_Resource, frozen=True):
    name: str = ""
    value: str = ""
    value_source: dict[str, object] | None = None
    """Set where the value comes from a secret."""


class Container(_Resource, frozen=True):
    env: tuple[EnvVar, ...] = ()
    args: tuple[str, ...] = ()


class RunTemplate(_Resource, frozen=True):
    service_account: str = ""
    containers: tuple[Container, ...] = ()


class RunCondition(_Resource, frozen=True):
    state: str = ""
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """Cloud Run reports success, or nothing yet."""
        return self.state in ("CONDITION_SUCCEEDED", "")


class RunService(_Resource, frozen=True):
    ingress: str = ""
    iap_enabled: bool = False
    invoker_iam_disabled: bool = False
    template: RunTemplate = RunTemplate()
    terminal_condition: RunCondition = RunCondition()


class ExecutionTemplate(_Resource, frozen=True):
    template: RunTemplate = RunTemplate()


class Execution(_Resource, frozen=True):
    completion_status: str = ""


class RunJob(_Resource, frozen=True):
    template: ExecutionTemplate = ExecutionTemplate()
    terminal_condition: RunCondition = RunCondition()
    latest_created_execution: Execution = Execution()


class HttpTarget(_Resource, frozen=True):
    uri: str = ""


class RpcStatus(_Resource, frozen=True):
    """How a call ended; code 0 is success."""

    code: int = 0
    message: str = ""


class SchedulerJob(_Resource, frozen=True):
    state: str = ""
    http_target: HttpTarget = HttpTarget()
    status: RpcStatus = RpcStatus()


class Database(_Resource, frozen=True):
    name: str = ""
    type: str = "FIRESTORE_NATIVE"


class IndexField(_Resource, frozen=True):
    field_path: str = ""
    order: str = ""


class Index(_Resource, frozen=True):
    fields: tuple[IndexField, ...] = ()
    state: str = "READY"

    @property
    def paths(self) -> tuple[str, ...]:
        """Its fields in order, without the document name that Firestore adds to every index."""
        return tuple(each.field_path for each in self.fields if each.field_path != "__name__")

    @property
    def has_list_order(self) -> bool:
        """The fields that lists sort newest first are descending."""
        orders = {each.field_path: each.order for each in self.fields}
        return all(orders[path] == "DESCENDING" for path in newest_first(self.paths))


def newest_first(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of an index that lists sort newest first: `last_seen`, and `gathered` where it is the last field."""
    return tuple(path for path in paths if path == "last_seen" or path == paths[-1] == "gathered")


class Indexes(_Resource, frozen=True):
    indexes: tuple[Index, ...] = ()


class ServiceAccount(_Resource, frozen=True):
    disabled: bool = False


class AccountKey(_Resource, frozen=True):
    name: str = ""


class AccountKeys(_Resource, frozen=True):
    """The user-managed keys of a service account."""

    keys: tuple[AccountKey, ...] = ()


class IamRole(_Resource, frozen=True):
    included_permissions: tuple[str, ...] = ()
    deleted: bool = False


class TagValue(_Resource, frozen=True):
    name: str = ""
    namespaced_name: str = ""


class HeldPermissions(_Resource, frozen=True):
    """The answer to `testIamPermissions`: those that the caller holds."""

    permissions: tuple[str, ...] = ()


class ProjectAncestry(_Resource, frozen=True):
    """A project's number and its folders and organization, nearest first."""

    number: str
    ancestors: tuple[str, ...] = ()


class ApiState(_Resource, frozen=True):
    name: str = ""
    state: str = "DISABLED"


class ApiStates(_Resource, frozen=True):
    services: tuple[ApiState, ...] = ()

    def is_enabled(self, api: str) -> bool:
        """The project has this API enabled."""
        return any(each.state == "ENABLED" and each.name.endswith(f"/services/{api}") for each in self.services)


class Point(_Resource, frozen=True):
    value: dict[str, object] = {}
    interval: dict[str, str] = {}

    @property
    def number(self) -> float:
        """The value as a number; Google writes 64-bit integers as text."""
        found = self.value.get("int64Value", self.value.get("doubleValue", 0))
        try:
            return float(str(found))
        except ValueError:
            return 0.0


class Labels(_Resource, frozen=True):
    labels: dict[str, str] = {}


class TimeSeries(_Resource, frozen=True):
    metric: Labels = Labels()
    resource: Labels = Labels()
    points: tuple[Point, ...] = ()
    """The newest first."""


class Measurements(_Resource, frozen=True):
    """Monitoring's answer: no series at all where nothing was measured."""

    time_series: tuple[TimeSeries, ...] = ()

    @property
    def latest(self) -> float:
        """The sum of the newest value of each series."""
        return sum(series.points[0].number for series in self.time_series if series.points)
