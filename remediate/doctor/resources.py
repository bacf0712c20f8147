"""What Google Cloud says of an installation, in the few fields that the checks look at.

The shapes are those of the REST references: Logging v2, Pub/Sub v1, Eventarc v1, Cloud Run Admin v2, Cloud Scheduler
v1, IAM v1, Firestore v1, Resource Manager v3 and Monitoring v3. What is not there is Absent, what may not be read is
Unknown.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec


class Absent(msgspec.Struct, frozen=True):
    """Google says 404: there is no such thing."""

    name: str


class Unknown(msgspec.Struct, frozen=True):
    """It may not be read, or not now: never a yes and never a no."""

    name: str
    why: str
    """Google's own words."""
    right: str
    """The permission that reading it needs."""
    fix: str
    """The command that gives it, or makes the API answer."""


_T = TypeVar("_T")
Fact: TypeAlias = _T | Absent | Unknown


class _Shape(msgspec.Struct, frozen=True, rename="camel"):
    """Google's JSON: names in camel case, and fields that we do not know are passed over."""


class Binding(_Shape, frozen=True):
    """One binding of an allow policy; `condition` is the expression, empty where there is none."""

    role: str = ""
    members: tuple[str, ...] = ()
    condition: dict[str, str] = {}


class AllowPolicy(_Shape, frozen=True):
    """An allow policy."""

    bindings: tuple[Binding, ...] = ()

    def roles_of(self, member: str) -> list[Binding]:
        """The bindings that name this member."""
        return [each for each in self.bindings if member in each.members]

    def members_of(self, *roles: str) -> list[str]:
        """The members of these roles, each once."""
        return list(dict.fromkeys(name for each in self.bindings if each.role in roles for name in each.members))


class Sink(_Shape, frozen=True):
    """A log sink."""

    name: str = ""
    destination: str = ""
    filter: str = ""
    disabled: bool = False
    include_children: bool = False
    intercept_children: bool = False
    writer_identity: str = ""
    exclusions: tuple[dict[str, object], ...] = ()


class Bucket(_Shape, frozen=True):
    """A log bucket."""

    name: str = ""
    retention_days: int = 30
    locked: bool = False
    lifecycle_state: str = "ACTIVE"


class Topic(_Shape, frozen=True):
    """A Pub/Sub topic."""

    name: str = ""


class DeadLetterPolicy(_Shape, frozen=True):
    """Where a subscription puts what cannot be delivered."""

    dead_letter_topic: str = ""
    max_delivery_attempts: int = 5


class Subscription(_Shape, frozen=True):
    """A Pub/Sub subscription."""

    name: str = ""
    topic: str = ""
    state: str = "ACTIVE"
    detached: bool = False
    dead_letter_policy: DeadLetterPolicy | None = None
    ack_deadline_seconds: int = 10


class Attribute(_Shape, frozen=True):
    """What an Eventarc trigger matches by."""

    attribute: str = ""
    value: str = ""


class CloudRunTarget(_Shape, frozen=True):
    """The Cloud Run service that a trigger calls."""

    service: str = ""
    region: str = ""


class Destination(_Shape, frozen=True):
    """Where a trigger sends events."""

    cloud_run: CloudRunTarget = CloudRunTarget()


class PubsubTransport(_Shape, frozen=True):
    """The topic that a trigger listens to, and the subscription that it made for itself."""

    topic: str = ""
    subscription: str = ""


class Transport(_Shape, frozen=True):
    """How events reach a trigger."""

    pubsub: PubsubTransport = PubsubTransport()


class StateCondition(_Shape, frozen=True):
    """What a trigger suffers from."""

    code: str | int = ""
    message: str = ""


class Trigger(_Shape, frozen=True):
    """An Eventarc trigger."""

    name: str = ""
    event_filters: tuple[Attribute, ...] = ()
    service_account: str = ""
    destination: Destination = Destination()
    transport: Transport = Transport()
    conditions: dict[str, StateCondition] = {}

    @property
    def event_type(self) -> str:
        """The type of the events that it matches."""
        return next((each.value for each in self.event_filters if each.attribute == "type"), "")


class EnvVar(_Shape, frozen=True):
    """A variable of a container; its value may come from a secret."""

    name: str = ""
    value: str = ""
    value_source: dict[str, object] | None = None


class Container(_Shape, frozen=True):
    """A container, as far as it is configured by its environment and its arguments."""

    env: tuple[EnvVar, ...] = ()
    args: tuple[str, ...] = ()


class RunTemplate(_Shape, frozen=True):
    """What revisions and executions are made of."""

    service_account: str = ""
    containers: tuple[Container, ...] = ()


class Condition(_Shape, frozen=True):
    """How a Cloud Run resource is."""

    state: str = ""
    message: str = ""


class Service(_Shape, frozen=True):
    """A Cloud Run service."""

    name: str = ""
    ingress: str = ""
    iap_enabled: bool = False
    invoker_iam_disabled: bool = False
    template: RunTemplate = RunTemplate()
    terminal_condition: Condition = Condition()


class JobTemplate(_Shape, frozen=True):
    """The execution template of a job."""

    template: RunTemplate = RunTemplate()


class Execution(_Shape, frozen=True):
    """The latest execution of a job."""

    completion_status: str = ""


class Job(_Shape, frozen=True):
    """A Cloud Run job."""

    name: str = ""
    template: JobTemplate = JobTemplate()
    terminal_condition: Condition = Condition()
    latest_created_execution: Execution = Execution()


class HttpTarget(_Shape, frozen=True):
    """What a schedule calls."""

    uri: str = ""


class RpcStatus(_Shape, frozen=True):
    """How a call ended; code 0 is well."""

    code: int = 0
    message: str = ""


class Schedule(_Shape, frozen=True):
    """A Cloud Scheduler job."""

    name: str = ""
    state: str = ""
    http_target: HttpTarget = HttpTarget()
    status: RpcStatus = RpcStatus()


class Database(_Shape, frozen=True):
    """A Firestore database."""

    name: str = ""
    type: str = "FIRESTORE_NATIVE"


class IndexField(_Shape, frozen=True):
    """A field of a composite index."""

    field_path: str = ""
    order: str = ""


class Index(_Shape, frozen=True):
    """A composite index."""

    fields: tuple[IndexField, ...] = ()
    state: str = "READY"

    @property
    def paths(self) -> tuple[str, ...]:
        """Its fields in order, without the document's name, which Firestore adds to every index."""
        return tuple(each.field_path for each in self.fields if each.field_path != "__name__")

    @property
    def newest_first(self) -> bool:
        """Whether it orders what lists want newest first so."""
        orders = {each.field_path: each.order for each in self.fields}
        return all(orders[path] == "DESCENDING" for path in newest_first(self.paths))


def newest_first(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Which fields of an index lists want newest first: `last_seen`, and groups of floods where they come last."""
    return tuple(path for path in paths if path == "last_seen" or path == paths[-1] == "gathered")


class Indexes(_Shape, frozen=True):
    """The composite indexes of a collection."""

    indexes: tuple[Index, ...] = ()


class Account(_Shape, frozen=True):
    """A service account."""

    email: str = ""
    disabled: bool = False


class Key(_Shape, frozen=True):
    """A key of a service account that somebody made and keeps."""

    name: str = ""


class Keys(_Shape, frozen=True):
    """The keys of a service account."""

    keys: tuple[Key, ...] = ()


class Role(_Shape, frozen=True):
    """A role."""

    name: str = ""
    included_permissions: tuple[str, ...] = ()
    deleted: bool = False


class TagValue(_Shape, frozen=True):
    """A tag value."""

    name: str = ""
    namespaced_name: str = ""


class Permissions(_Shape, frozen=True):
    """Those of the permissions asked about that the caller holds."""

    permissions: tuple[str, ...] = ()


class ProjectFacts(_Shape, frozen=True):
    """A project: its number, and what lies above it, nearest first."""

    number: str
    ancestors: tuple[str, ...] = ()


class ServiceUse(_Shape, frozen=True):
    """Whether an API is enabled in the project."""

    name: str = ""
    state: str = "DISABLED"


class ServicesUsed(_Shape, frozen=True):
    """The APIs that were asked about."""

    services: tuple[ServiceUse, ...] = ()

    def enabled(self, api: str) -> bool:
        """Whether this API is enabled."""
        return any(each.state == "ENABLED" and each.name.endswith(f"/services/{api}") for each in self.services)


class Point(_Shape, frozen=True):
    """One measured value; Google writes 64-bit numbers as text."""

    value: dict[str, object] = {}
    interval: dict[str, str] = {}

    @property
    def number(self) -> float:
        """The value as a number."""
        found = self.value.get("int64Value", self.value.get("doubleValue", 0))
        try:
            return float(str(found))
        except ValueError:
            return 0.0


class Labels(_Shape, frozen=True):
    """What a time series is told apart by."""

    labels: dict[str, str] = {}


class TimeSeries(_Shape, frozen=True):
    """A measured quantity, newest point first."""

    metric: Labels = Labels()
    resource: Labels = Labels()
    points: tuple[Point, ...] = ()


class Measured(_Shape, frozen=True):
    """What Monitoring answers; no series at all where nothing was measured."""

    time_series: tuple[TimeSeries, ...] = ()
