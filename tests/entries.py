"""Audit log entries in the published shapes, built from what a test wants to say about a deploy."""

from __future__ import annotations

import base64
import json
from typing import Any

from remediate.denial import Denial, NotADenial, understand
from remediate.logentry import read_entry

IMAGE = "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:v2"
REPOSITORY = "projects/platform-images/locations/asia-northeast1/repositories/containers"
PROJECT, NUMBER = "shop-frontend", "123456789012"
DEPLOYER = "github-deployer@shop-frontend.iam.gserviceaccount.com"
AGENT = f"service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com"

_HINT = (
    " Ensure that the provided container image URL is correct and that the above account has permission to access the"
    " image. If you just enabled the Cloud Run API, the permissions might take a few minutes to propagate."
)


def user_text(image: str = IMAGE, tail: str = "") -> str:
    """What Cloud Run says when the deployer cannot read the image."""
    return f"User must have permission to read the image, {image}.{_HINT}{tail}"


def agent_text(image: str = IMAGE, agent: str | None = AGENT) -> str:
    """What Cloud Run says when its service agent cannot."""
    who = f"Google Cloud Run Service Agent {agent}" if agent else "Google Cloud Run Service Agent"
    return f"{who} must have permission to read the image, {image}.{_HINT}"


def bare_text(resource: str | None = REPOSITORY, quote: str = '"', prefix: str = "") -> str:
    """What Artifact Registry says, as v2 calls pass it on."""
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
) -> dict[str, Any]:
    """The entry of a failed API call."""
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
            "resourceName": f"namespaces/{project}/{collection}/web",
            "authenticationInfo": {name: value for name, value in who.items() if value},
            "status": {"code": code, "message": message},
            "request": request,
        },
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


def _condition(message: str, reason: str) -> dict[str, Any]:
    if reason.isupper():
        return {"type": "Ready", "state": "CONDITION_FAILED", "reason": reason, "message": message}
    return {"type": "Ready", "status": "False", "reason": reason, "message": message}


def push_body(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry as a sink's topic pushes it: base64 of the JSON and a newline."""
    data = base64.b64encode(json.dumps(entry).encode() + b"\n").decode()
    message = {"data": data, "messageId": "1", "publishTime": "2026-11-23T08:00:01Z", "attributes": {}}
    return {"subscription": "projects/ops/subscriptions/denials", "message": message}


def understood(entry: dict[str, Any]) -> Denial | NotADenial:
    """What `understand` makes of an entry."""
    return understand(read_entry(json.dumps(entry).encode()))


def denial(entry: dict[str, Any]) -> Denial:
    """The Denial that an entry is; fails where it is none."""
    found = understood(entry)
    assert isinstance(found, Denial), found
    return found
