"""Reads from the structure of a Cloud Run audit entry what was deployed where, with which images, by whom.

Paths and labels are those of Cloud Run's v1 (Knative) and v2 resources in audit log entries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import msgspec

from remediate.entries.error_text import CONDITION_REASONS
from remediate.entries.log_entry import AuditLog, LogEntry, Operation, decode
from remediate.entries.source import Log, Source
from remediate.iam.repository import is_location, is_project, is_project_number

_RESOURCE_TYPES = {
    "cloud_run_revision": "service",
    "cloud_run_job": "job",
    "cloud_run_worker_pool": "worker_pool",
    "cloud_run_instance": "instance",
}
_RESOURCES = ("service", "job", "workerPool", "instance")
_NAME_LABELS = ("service_name", "job_name", "worker_pool_name", "instance_name", "configuration_name")
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_NAMED = re.compile(r"/(services|jobs|worker-?pools|instances)/([^/]+)", re.I)
_LOCATED = re.compile(r"/(?:locations|regions)/([^/]+)")
_PROJECT = re.compile(r"(?:\A|/)(?:projects|namespaces)/([^/]+)")
_KIND_WORDS = (
    ("worker_pool", ("workerpool", "worker-pool")),
    ("job", ("job", "execution")),
    ("service", ("service", "revision")),
    ("instance", ("instance",)),
)
_TEMPLATE_STEPS = (*_RESOURCES, "revision", "execution", "spec", "template")
_USER_IMAGE = "client.knative.dev/user-image"
_PARENT_LABELS = (
    "serving.knative.dev/service",
    "run.googleapis.com/job",
    "run.googleapis.com/workerPool",
    "run.googleapis.com/instance",
)
# On a Service or a job the last modifier deployed; "creator" is the identity that first created it. A Revision has only
# its creator. v2 resources have both as fields.
_DEPLOYER_ANNOTATIONS = (
    "serving.knative.dev/lastModifier",
    "run.googleapis.com/lastModifier",
    "serving.knative.dev/creator",
    "run.googleapis.com/creator",
)
_OWN_STATE = ("Ready", "Completed", "Running")
_INSTANCES_STATE = "ContainerReady"


class ResourceKind(StrEnum):
    """What was deployed."""

    SERVICE = "service"
    JOB = "job"
    WORKER_POOL = "worker_pool"
    INSTANCE = "instance"


_OPERATION = re.compile(r"[0-9A-Za-z-]{8,64}\Z")
_OPERATION_NAME = re.compile(r"[0-9A-Za-z._~-]{1,128}")


class Deploy(msgspec.Struct, frozen=True):
    """The target of a deploy; None means unknown. `project` is a project id, `number` a project number."""

    project: str | None = None
    number: str | None = None
    location: str | None = None
    kind: ResourceKind | None = None
    name: str | None = None


class Body(msgspec.Struct, frozen=True):
    """The decoded request and response of a call (any JSON). They hold secrets, so they are not kept."""

    request: object
    response: object

    @classmethod
    def of(cls, audit: AuditLog) -> Body:
        return cls(decode(audit.request), decode(audit.response))


class Condition(msgspec.Struct, frozen=True):
    """A failed condition about an unreadable image. `own`: it is the resource's own final state."""

    message: str
    own: bool


def deploy_of(entry: LogEntry, audit: AuditLog, body: Body, source: Source | None) -> Deploy:
    """The target of the deploy: from the labels, and what they lack from resource name, request and response.

    The project comes from the label, or without one from the log's name; the response may have its number. Google
    writes all three. What the caller typed (request, resource name) never determines the project.
    """
    request, response = body.request, body.response
    names = [name for name in _resource_names(audit, request, response) if name]
    labels = _labels(entry)
    project = _first([labels.get("project_id"), source.project if source else None], is_project)
    numbered = project is not None and is_project_number(project)
    return Deploy(
        project=None if numbered else project,
        number=project if numbered else _first(_namespaces(response), is_project_number),
        location=_location(labels, audit, names, request, response),
        kind=_kind(entry, audit, names, response),
        name=_name(labels, names, request, response),
    )


def has_matching_project_label(entry: LogEntry, source: Source) -> bool:
    """Whether the entry's project label is consistent with the project of its log.

    An id and a number count as consistent: only Resource Manager can compare them.
    """
    label = _labels(entry).get("project_id")
    if label is None:
        return True
    return is_project(label) and (
        label == source.project or is_project_number(label) != is_project_number(source.project)
    )


def has_project_mismatch(audit: AuditLog, where: Deploy) -> bool:
    """Whether the resource name, which the caller typed, names a different project from the deploy's."""
    match = _PROJECT.search(audit.resource_name or "")
    if match is None or not is_project(match[1]):
        return False
    known = where.number if is_project_number(match[1]) else where.project
    return known is not None and match[1] != known


def images(body: Body) -> tuple[str, ...]:
    """The image of every container in the request or in the resulting resource."""
    return tuple(dict.fromkeys([*_containers(body.request), *_containers(body.response)]))


def annotated_image(body: Body) -> str | None:
    """The image from gcloud's annotation. Entries of 2023 and 2024 have no containers."""
    for path in (("service", "spec", "template"), ("service",), ("job",), ("instance",)):
        image = _at(body.request, *path, "metadata", "annotations", _USER_IMAGE)
        if isinstance(image, str):
            return image
    return None


def deployer_in_response(body: Body) -> str | None:
    """The deployer from Cloud Run's annotations on the resulting resource: system events have no caller.

    Never reads the request: a failed v1 Replace has the *previous* deployer there.
    """
    notes = people_in_response(body)
    revision = _at(body.response, "kind") == "Revision"  # Cloud Run writes only its creator
    creators = [note for name, note in notes.items() if name.endswith("creator")] if revision else []
    return next(iter([*creators, *notes.values()]), None)


def people_in_response(body: Body) -> dict[str, str]:
    """Every creator or modifier in the resulting resource, by the name of the annotation or field.

    The author of a template can add such annotations, so each of these identities counts as a possible deployer.
    """
    notes = {name: _at(body.response, "metadata", "annotations", name) for name in _DEPLOYER_ANNOTATIONS}
    notes |= {name: _at(body.response, name) for name in ("lastModifier", "creator")}
    return {name: note for name, note in notes.items() if isinstance(note, str) and note}


def operation(body: Body) -> str | None:
    """The operation id that joins a system event with its call; None if the resource has no such annotation."""
    note = _at(body.response, "metadata", "annotations", "run.googleapis.com/operation-id")
    return note if isinstance(note, str) and _OPERATION.match(note) else None


def bare_operation(operation: Operation | None) -> str | None:
    """The last part of an operation's name, which is also the annotation's value; None if there is none."""
    name = (operation.id or "").rpartition("/operations/")[2] if operation else ""
    return name if _OPERATION_NAME.fullmatch(name) else None


def has_separate_call_entry(entry: LogEntry, source: Source | None) -> bool:
    """Whether another entry has the caller, request and permissions: for a system event and for an operation's end."""
    operation = entry.operation
    ends = operation is not None and operation.last is True and not operation.first
    return ends or (source is not None and source.log is Log.SYSTEM_EVENT)


def image_denied_conditions(body: Body) -> list[Condition]:
    """The failed conditions of a system event's resource with the reason that the image could not be read."""
    response = body.response
    lists = [_at(response, "status", "conditions"), _at(response, "conditions"), [_at(response, "terminalCondition")]]
    own_states = (*_OWN_STATE, _INSTANCES_STATE) if _is_instance(response) else _OWN_STATE
    conditions = []
    for condition in (item for items in lists if isinstance(items, list) for item in items):
        failed = _at(condition, "status") == "False" or _at(condition, "state") == "CONDITION_FAILED"
        reasons = [_at(condition, name) for name in ("reason", "revisionReason", "executionReason")]
        if failed and any(reason in CONDITION_REASONS for reason in reasons):
            message = _at(condition, "message")
            own = _at(condition, "type") in own_states
            conditions.append(Condition(message if isinstance(message, str) else "", own))
    return conditions


def is_blocked_by_vpc_service_controls(audit: AuditLog) -> bool:
    """Whether VPC Service Controls denied the call. The error text can then be the same as an image denial's."""
    details = decode(audit.status.details) if audit.status else None
    witness = msgspec.json.encode([details, decode(audit.metadata)])
    return any(sign in witness for sign in (b"VPC_SERVICE_CONTROLS", b"pcServiceControl", b"SECURITY_POLICY_VIOLATED"))


def _labels(entry: LogEntry) -> dict[str, str]:
    labels = entry.resource.labels if entry.resource and entry.resource.labels else {}
    return {name: value for name, value in labels.items() if isinstance(value, str) and value}


def _resource_names(audit: AuditLog, request: object, response: object) -> Iterator[str]:
    if audit.resource_name:
        yield audit.resource_name
    for value in (_at(response, "name"), _at(request, "name"), _at(request, "parent")):
        if isinstance(value, str):
            yield value
    for resource in _RESOURCES:
        value = _at(request, resource, "name")
        if isinstance(value, str):
            yield value


def _namespaces(*resources: object) -> list[str]:
    paths = [("metadata",), *((each, "metadata") for each in _RESOURCES)]
    found = (_at(resource, *path, "namespace") for resource in resources for path in paths)
    return [value for value in found if isinstance(value, str)]


def _location(labels: dict[str, str], audit: AuditLog, names: list[str], *resources: object) -> str | None:
    places: list[object] = [labels.get("location")]
    places += (audit.resource_location and audit.resource_location.current_locations) or []
    places += [match[1] for name in names for match in _LOCATED.finditer(name)]
    places += [_at(resource, "region") for resource in resources]
    places += [_at(resource, "metadata", "labels", "cloud.googleapis.com/location") for resource in resources]
    return _first([place for place in places if isinstance(place, str)], is_location)


def _kind(entry: LogEntry, audit: AuditLog, names: list[str], response: object) -> ResourceKind | None:
    by_type = _RESOURCE_TYPES.get((entry.resource and entry.resource.type) or "")
    if by_type:
        return ResourceKind(by_type)
    kind = _at(response, "kind")
    collections = [match[1] for name in names for match in _NAMED.finditer(name)]
    for text in (kind if isinstance(kind, str) else "", audit.method_name or "", *collections):
        for value, words in _KIND_WORDS:
            if any(word in text.lower() for word in words):
                return ResourceKind(value)
    return None


def _name(labels: dict[str, str], names: list[str], request: object, response: object) -> str | None:
    candidates: list[object] = [labels.get(label) for label in _NAME_LABELS]
    candidates += [_at(response, "metadata", "labels", label) for label in _PARENT_LABELS]
    candidates += [match[2] for name in names for match in _NAMED.finditer(name)]
    candidates += [_at(request, resource, "metadata", "name") for resource in _RESOURCES]
    candidates += [_at(request, field) for field in ("serviceId", "jobId", "workerPoolId", "instanceId")]
    return _first([name for name in candidates if isinstance(name, str)], lambda text: _NAME.match(text) is not None)


def _containers(value: object, depth: int = 8) -> Iterator[str]:
    """The images along the path from a resource to its pod template. `containers` elsewhere means something else."""
    if not isinstance(value, dict) or depth == 0:
        return
    containers = value.get("containers")
    for container in containers if isinstance(containers, list) else []:
        image = _at(container, "image")
        if isinstance(image, str) and image:
            yield image
    for step in _TEMPLATE_STEPS:
        yield from _containers(value.get(step), depth - 1)


def _is_instance(response: object) -> bool:
    """Whether the resource is an instance. For an instance, `ContainerReady` is a final state too."""
    name, kind = _at(response, "name"), _at(response, "kind")
    return kind == "Instance" or (isinstance(name, str) and "/instances/" in name)


def _at(value: object, *path: str) -> object:
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _first(candidates: Iterable[str | None], accept: Callable[[str], bool]) -> str | None:
    return next((text for text in candidates if text and accept(text)), None)
