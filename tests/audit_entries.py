"""Builds audit log entries in the published shapes from a test's parameters of a deploy."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any

from remediate.entries.denial import Denial, NotADenial, understand
from remediate.entries.log_entry import read_entry
from remediate.iam.member import Member, MemberKind
from remediate.iam.repository import Repository
from remediate.times import to_rfc3339

IMAGE = "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:v2"
REPOSITORY = "projects/platform-images/locations/asia-northeast1/repositories/containers"
PROJECT, NUMBER = "shop-frontend", "123456789012"
DEPLOYER = "github-deployer@shop-frontend.iam.gserviceaccount.com"
OPERATION = "0c1f7c2e-5a7b-4f57-9d54-3f6f0c0d1e2f"
AGENT = f"service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com"

_HINT = (
    " Ensure that the provided container image URL is correct and that the above account has permission to access the"
    " image. If you just enabled the Cloud Run API, the permissions might take a few minutes to propagate."
)


def user_text(image: str = IMAGE, tail: str = "") -> str:
    """Cloud Run's error text if the deployer cannot read the image."""
    return f"User must have permission to read the image, {image}.{_HINT}{tail}"


def agent_text(image: str = IMAGE, agent: str | None = AGENT) -> str:
    """Cloud Run's error text if its service agent cannot read the image."""
    who = f"Google Cloud Run Service Agent {agent}" if agent else "Google Cloud Run Service Agent"
    return f"{who} must have permission to read the image, {image}.{_HINT}"


def bare_text(resource: str | None = REPOSITORY, quote: str = '"', prefix: str = "") -> str:
    """Artifact Registry's error text, which v2 calls return unchanged."""
    named = f" {quote}{prefix}{resource}{quote}" if resource else ""
    permission = f"{quote}artifactregistry.repositories.downloadArtifacts{quote}"
    return f"Permission {permission} denied on resource{named} (or it may not exist)."


_TEMPLATES: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("v1", "service"): ("Services.ReplaceService", ("service", "spec", "template", "spec")),
    ("v1", "job"): ("Jobs.ReplaceJob", ("job", "spec", "template", "spec", "template", "spec")),
    ("v1", "worker_pool"): ("WorkerPools.ReplaceWorkerPool", ("workerPool", "spec", "template", "spec")),
    ("v2", "service"): ("Services.UpdateService", ("service", "template")),
    ("v2", "job"): ("Jobs.UpdateJob", ("job", "template", "template")),
    ("v2", "worker_pool"): ("WorkerPools.UpdateWorkerPool", ("workerPool", "template")),
    ("v1", "instance"): ("Instances.ReplaceInstance", ("instance", "spec")),
    ("v2", "instance"): ("Instances.UpdateInstance", ("instance",)),
}
_LABELS = {
    "service": ("cloud_run_revision", "service_name"),
    "job": ("cloud_run_job", "job_name"),
    "worker_pool": ("cloud_run_worker_pool", "worker_pool_name"),
    "instance": ("cloud_run_instance", "instance_name"),
}


def activity(
    message: str = user_text(),
    *,
    api: str = "v1",
    kind: str = "service",
    images: tuple[str, ...] = (IMAGE,),
    email: str | None = DEPLOYER,
    subject: str | None = None,
    code: int = 7,
    project: str = PROJECT,
    number: str | None = NUMBER,
    insert_id: str = "abc123",
    granted: bool | None = True,
) -> dict[str, Any]:
    """The entry of a failed API call. `granted` None leaves out `authorizationInfo`'s items."""
    method, path = _TEMPLATES[api, kind]
    request: dict[str, Any] = {}
    node = request
    for step in path:
        node = node.setdefault(step, {})
    if images:
        node["containers"] = [{"image": image, "env": [{"name": "PASSWORD", "value": "hunter2"}]} for image in images]
    if number:
        request[path[0]]["metadata"] = {"namespace": number, "name": "web"}
    resource_type, label = _LABELS[kind]
    who = {"principalEmail": email, "principalSubject": subject}
    collection = {"service": "services", "job": "jobs", "worker_pool": "workerpools", "instance": "instances"}[kind]
    resource = f"namespaces/{project}/{collection}/web"
    checked = {"permission": f"run.{collection}.update", "resource": resource, "resourceAttributes": {}}
    return {
        "insertId": insert_id,
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "timestamp": "2026-11-23T08:00:00.123456Z",
        "severity": "ERROR",
        "resource": {
            "type": resource_type,
            "labels": {"project_id": project, "location": "asia-northeast1", label: "web"},
        },
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": "run.googleapis.com",
            "methodName": f"google.cloud.run.{api}.{method}",
            "resourceName": resource,
            "authenticationInfo": {name: value for name, value in who.items() if value},
            "authorizationInfo": [] if granted is None else [checked | ({"granted": True} if granted else {})],
            "status": {"code": code, "message": message},
            "request": request,
        },
    }


def deployed(
    member: Member,
    project: str,
    repository: Repository,
    at: datetime,
    *,
    api: str = "v1",
    kind: str = "service",
    insert_id: str = "deployed",
    created: bool = False,
) -> dict[str, Any]:
    """The entry of a successful deploy of an image of the repository, as a call with one entry writes it.

    `created`: the call created the resource, and did not update it.
    """
    address = member.id.partition(":")[2]
    federated = member.kind is MemberKind.PRINCIPAL
    image = f"{repository.location}-docker.pkg.dev/{repository.project.replace(':', '/')}/{repository.name}/web:v1"
    entry = activity(
        "",
        api=api,
        kind=kind,
        images=(image,),
        email=None if federated else address,
        subject=member.id if federated else None,
        project=project,
        number=None,
        insert_id=insert_id,
    )
    payload = entry["protoPayload"]
    del payload["status"]
    payload["authorizationInfo"] = [
        {"resource": payload["resourceName"], "permission": "run.services.update", "granted": True}
    ]
    if created:
        payload["methodName"] = re.sub(r"\.(?:Replace|Update)([A-Z]\w+)$", r".Create\1", payload["methodName"])
    return entry | {"severity": "NOTICE", "timestamp": to_rfc3339(at)}


def policy_set(
    resource: str, *deltas: tuple[str, str, str], at: datetime, by: str = "owner@example.com", project: str = PROJECT
) -> dict[str, Any]:
    """The entry of a SetIamPolicy on a repository or a project. Each of `deltas` is action, role and member."""
    registry = "/repositories/" in resource
    payload: dict[str, Any] = {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "serviceName": "artifactregistry.googleapis.com" if registry else "cloudresourcemanager.googleapis.com",
        "methodName": "google.devtools.artifactregistry.v1.ArtifactRegistry.SetIamPolicy"
        if registry
        else "SetIamPolicy",
        "resourceName": resource,
        "authenticationInfo": {"principalEmail": by},
        "serviceData": {
            "@type": "type.googleapis.com/google.iam.v1.logging.AuditData",
            "policyDelta": {
                "bindingDeltas": [{"action": action, "role": role, "member": member} for action, role, member in deltas]
            },
        },
    }
    return {
        "insertId": "policy",
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "timestamp": to_rfc3339(at),
        "severity": "NOTICE",
        "protoPayload": payload,
    }


def system_event(
    message: str | None = agent_text(),
    *,
    condition: str | None = None,
    reason: str = "ContainerPermissionDenied",
    kind: str = "Revision",
    images: tuple[str, ...] = (IMAGE,),
    annotations: dict[str, str] | None = None,
    code: int | None = 7,
    number: str | None = NUMBER,
) -> dict[str, Any]:
    """The entry of a revision, service or execution that could not become ready."""
    containers = [{"image": image} for image in images]
    spec: dict[str, Any] = {"containers": containers}
    if kind != "Revision":
        spec = {"template": {"spec": spec}}
    conditions = [] if condition is None else [_condition(condition, reason)]
    job = kind in ("Job", "Execution")
    labels = {"job_name" if job else "service_name": "web", "project_id": PROJECT, "location": "asia-northeast1"}
    metadata: dict[str, Any] = {"name": "web-00002-abc", "annotations": annotations or {}}
    if number:
        metadata["namespace"] = number
    status = {name: value for name, value in {"code": code, "message": message}.items() if value is not None}
    return {
        "insertId": "sys123",
        "logName": f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Fsystem_event",
        "timestamp": "2026-11-23T08:01:00.5Z",
        "severity": "ERROR",
        "resource": {"type": "cloud_run_job" if job else "cloud_run_revision", "labels": labels},
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": "run.googleapis.com",
            "methodName": "/Jobs.RunJob" if job else "/Services.ReplaceService",
            "resourceName": f"namespaces/{PROJECT}/revisions/web-00002-abc",
            "status": status,
            "response": {"kind": kind, "metadata": metadata, "spec": spec, "status": {"conditions": conditions}},
        },
    }


def call_entry(
    operation: str, email: str | None = DEPLOYER, *, api: str = "v1", place: str = "first", **more: Any
) -> dict[str, Any]:
    """The entry of a successful call that started an operation; in v2 it is the operation's `first` or `last` entry."""
    entry = activity("", email=email, api=api, code=0, **more)
    del entry["protoPayload"]["status"]
    if api == "v1":
        annotations = {"run.googleapis.com/operation-id": operation}
        metadata = {"name": "web", "namespace": NUMBER, "annotations": annotations}
        entry["protoPayload"]["response"] = {"kind": "Service", "metadata": metadata}
    else:
        entry["operation"] = operation_of(operation, place)
    return entry | {"severity": "NOTICE"}


def operation_of(operation: str, *places: str) -> dict[str, Any]:
    """`LogEntry.operation` of a v2 call's entry."""
    name = f"projects/{PROJECT}/locations/asia-northeast1/operations/{operation}"
    return {"id": name, "producer": "run.googleapis.com", **dict.fromkeys(places, True)}


def last_entry(message: str, operation: str, *, code: int = 13, insert_id: str = "last1") -> dict[str, Any]:
    """The entry that ends a v2 call's operation: without caller, request and permissions."""
    entry = activity(message, api="v2", code=code, insert_id=insert_id, granted=None)
    for name in ("authenticationInfo", "authorizationInfo", "request"):
        del entry["protoPayload"][name]
    return entry | {"operation": operation_of(operation, "last")}


def _condition(message: str, reason: str) -> dict[str, Any]:
    if reason.isupper():
        return {"type": "Ready", "state": "CONDITION_FAILED", "reason": reason, "message": message}
    return {"type": "Ready", "status": "False", "reason": reason, "message": message}


def push_body(entry: dict[str, Any]) -> dict[str, Any]:
    """The Pub/Sub push body of the entry: base64 of the JSON and a newline, as a sink publishes it."""
    data = base64.b64encode(json.dumps(entry).encode() + b"\n").decode()
    message = {"data": data, "messageId": "1", "publishTime": "2026-11-23T08:00:01Z", "attributes": {}}
    return {"subscription": "projects/ops/subscriptions/denials", "message": message}


def understood(entry: dict[str, Any]) -> Denial | NotADenial:
    """The result of `understand` for an entry."""
    return understand(read_entry(json.dumps(entry).encode()))


LOGGED: dict[str, dict[str, Any]] = {}
"""The last entry of each insert id that `denial` got, so that a fake Cloud Logging can return it."""


def denial(entry: dict[str, Any]) -> Denial:
    """The Denial of an entry. Raises AssertionError if the entry is not a denial."""
    found = understood(entry)
    assert isinstance(found, Denial), found
    LOGGED[entry["insertId"]] = entry
    return found
