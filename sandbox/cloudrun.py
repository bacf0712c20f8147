"""Deploys as Cloud Run does: two image checks, the audit entries, and the output of gcloud.

Source: "Deploying container images" (Cloud Run) and its troubleshooting page.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sandbox import auditlog
from sandbox.errors import refuse
from sandbox.iam import DOWNLOAD, bindings, holds
from sandbox.organization import Organization

_KINDS = {"service": "Service", "job": "Job", "worker-pool": "WorkerPool"}
_COLLECTIONS = {"service": "services", "job": "jobs", "worker-pool": "workerpools"}
_RESOURCES = {
    "service": ("cloud_run_revision", "service_name"),
    "job": ("cloud_run_job", "job_name"),
    "worker-pool": ("cloud_run_worker_pool", "worker_pool_name"),
}
_GCR = {"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}
_HOST = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev\Z")
_HINT = (
    "Ensure that the provided container image URL is correct and that the above account has permission to access the"
    " image. If you just enabled the Cloud Run API, the permissions might take a few minutes to propagate."
)
_SEE = "See https://cloud.google.com/run/docs/deploying#other-projects"


class DeployRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What to deploy, where, and as which member; `via` is the external principal that impersonates it."""

    project: str
    member: str
    image: str
    kind: str = "service"
    api: str = "v1"
    name: str = "web"
    location: str = "asia-northeast1"
    via: str | None = None


@dataclass
class Outcome:
    """The output and exit code of gcloud, and the audit entries of the deploy."""

    lines: list[str]
    exit_code: int
    entries: list[dict[str, Any]] = field(default_factory=list)


class Found(msgspec.Struct):
    """The image's repository (resource name), its name with tag, and the project as written in the reference."""

    repository: str
    project: str
    location: str
    image: str


def locate(reference: str) -> Found | None:
    """The location of an image in Artifact Registry; None if the reference points elsewhere."""
    name, _, digest = reference.partition("@")
    host, *path = name.split("/")
    if len(path) > 1 and "." in path[0]:
        path = [f"{path[0]}:{path[1]}", *path[2:]]
    if host in _GCR and len(path) >= 2:
        project, repository, location, image = path[0], host, _GCR[host], path[1:]
    elif (match := _HOST.match(host)) and len(path) >= 3:
        project, repository, location, image = path[0], path[1], match[1], path[2:]
    else:
        return None
    tagged = "/".join(image)
    tagged = tagged if ":" in tagged or digest else f"{tagged}:latest"
    return Found(f"projects/{project}/locations/{location}/repositories/{repository}", project, location, tagged)


class CloudRun:
    """Keeps the number of revisions of each service, job and worker pool deployed so far."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization
        self._revisions: dict[str, int] = {}

    def deploy(self, request: DeployRequest) -> Outcome:
        """Deploy as Cloud Run does. Raises ApiError if the request is not valid."""
        if request.kind not in _KINDS:
            refuse("INVALID_ARGUMENT", f"kind {request.kind!r}: expected one of {', '.join(_KINDS)}")
        if request.api not in ("v1", "v2"):
            refuse("INVALID_ARGUMENT", f"api {request.api!r}: expected v1 or v2")
        if request.project not in self._organization.project_ids:
            refuse("NOT_FOUND", f"project {request.project!r} does not exist in this sandbox")
        project = self._organization.project_ids[request.project]
        call = _Call(request, project, self._organization.number(project), self._exists(request, project))
        denied = self._denied_to_deployer(request, project, call)
        if denied:
            code = 3 if denied.startswith("Expected") else 7
            entries = call.failed(code, denied)
            status = "PERMISSION_DENIED: " if code == 7 else ""
            return Outcome([f"ERROR: ({call.command}) {status}{denied}"], 1, entries)
        revision = self._next_revision(request, project)
        found = locate(request.image)
        if found is None or not self._stored(found):
            text = f"Image '{request.image}' not found."
            return call.not_ready(revision, 5, "ContainerMissing", text)
        agent = f"service-{call.number}@serverless-robot-prod.iam.gserviceaccount.com"
        if self._project(found) != project and not self._reads(f"serviceAccount:{agent}", found):
            return call.not_ready(
                revision, 7, "ContainerPermissionDenied", _agent_text(request.image, agent, found, project)
            )
        return call.ready(revision)

    def _denied_to_deployer(self, request: DeployRequest, project: str, call: _Call) -> str | None:
        resource = f"projects/{project}"
        call.allowed = holds(self._organization, request.member, call.permission, resource)
        if not call.allowed:
            target = f"namespaces/{project}/{_COLLECTIONS[request.kind]}/{request.name}"
            return f"Permission '{call.permission}' denied on resource '{target}' (or resource may not exist)."
        found = locate(request.image)
        if found is None:
            return (
                "Expected an image path like [host/]repo-path[:tag and/or @digest], where host is one of"
                f" [region.]gcr.io, [region-]docker.pkg.dev or docker.io but obtained {request.image}."
            )
        exempt = any(
            binding["role"] in ("roles/owner", "roles/editor") and request.member in binding["members"]
            for node in self._organization.chain(resource)
            for binding in bindings(node.policy)
        )
        if (exempt and self._project(found) == project) or self._reads(request.member, found):
            return None
        bare = f'Permission "{DOWNLOAD}" denied on resource "{found.repository}" (or it may not exist)'
        return f"{bare}." if request.api == "v2" else _user_text(request.image, found, project, bare)

    def _reads(self, member: str, found: Found) -> bool:
        repository = self._repository(found)
        exists = repository in self._organization.nodes
        return exists and holds(self._organization, member, DOWNLOAD, repository)

    def _stored(self, found: Found) -> bool:
        """Whether the repository has the image; for a digest, whether it has any image of that name."""
        images = self._organization.images.get(self._repository(found), set())
        return any(image in (found.image, f"{found.image}:{image.rpartition(':')[2]}") for image in images)

    def _repository(self, found: Found) -> str:
        return f"projects/{self._project(found)}{found.repository.removeprefix(f'projects/{found.project}')}"

    def _project(self, found: Found) -> str:
        return self._organization.project_ids.get(found.project, found.project)

    def _exists(self, request: DeployRequest, project: str) -> bool:
        return f"{project}/{request.location}/{request.kind}/{request.name}" in self._revisions

    def _next_revision(self, request: DeployRequest, project: str) -> str:
        key = f"{project}/{request.location}/{request.kind}/{request.name}"
        self._revisions[key] = self._revisions.get(key, 0) + 1
        return f"{request.name}-{self._revisions[key]:05d}-{secrets.token_hex(2)[:3]}"


class _Call:
    """The audit entries and the output of one deploy."""

    def __init__(self, request: DeployRequest, project: str, number: str, exists: bool) -> None:
        self.request, self.project, self.number, self.exists = request, project, number, exists
        self.permission = f"run.{_COLLECTIONS[request.kind]}.{'update' if exists else 'create'}"
        self.allowed = True
        group = {"service": "", "job": "jobs.", "worker-pool": "worker-pools."}[request.kind]
        self.command = f"gcloud.run.{group}deploy"
        self.operation = (
            f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(1)}0-9000-{secrets.token_hex(6)}"
        )

    def failed(self, code: int, message: str) -> list[dict[str, Any]]:
        """The call's own entry if Cloud Run refused the call."""
        return [self._activity("ERROR", {"code": code, "message": message})]

    def ready(self, revision: str) -> Outcome:
        """The entries and output of a successful deploy."""
        what = _KINDS[self.request.kind]
        text = f"Ready condition status changed to True for {what} {self.request.name}."
        entries = [self._activity("NOTICE", {}), self._system_event("INFO", {"message": text}, revision, [])]
        entries += self._last("NOTICE", {})
        name = self.request.name
        if self.request.kind == "service":
            serving = f"Service [{name}] revision [{revision}] has been deployed and is serving 100 percent of traffic."
            url = f"Service URL: https://{name}-{self.number}.{self.request.location}.run.app"
            return Outcome([serving, url], 0, entries)
        return Outcome([f"{what} [{name}] has successfully been deployed."], 0, entries)

    def not_ready(self, revision: str, code: int, reason: str, text: str) -> Outcome:
        """The entries and output if the call succeeded but the revision could not become ready."""
        status = {
            "code": code,
            "message": f"Ready condition status changed to False for Revision {revision} with message: {text}",
        }
        conditions = [
            {"type": kind, "status": "False", "reason": reason, "message": text, "lastTransitionTime": auditlog.now()}
            for kind in ("Ready", "ContainerReady")
        ]
        entries = [self._activity("NOTICE", {}), self._system_event("ERROR", status, revision, conditions)]
        shown = f"Revision '{revision}' is not ready and cannot serve traffic. {text}"
        entries += self._last("ERROR", {"code": 13, "message": shown})
        return Outcome([f"ERROR: ({self.command}) {shown}"], 1, entries)

    def _activity(self, severity: str, status: dict[str, Any]) -> dict[str, Any]:
        request = self.request
        what, verb = _KINDS[request.kind], "Update" if request.api == "v2" else "Replace"
        method = f"google.cloud.run.{request.api}.{what}s.{verb if self.exists else 'Create'}{what}"
        payload = {
            "authenticationInfo": auditlog.authentication(request.member, request.via),
            "requestMetadata": auditlog.request_metadata("google-cloud-sdk gcloud/583.0.0 command/" + self.command),
            "serviceName": "run.googleapis.com",
            "methodName": method,
            "authorizationInfo": [auditlog.checked(self.permission, self._resource_name(), granted=self.allowed)],
            "resourceName": self._resource_name(),
            "request": self._request(method),
            "resourceLocation": {"currentLocations": [request.location]},
        }
        if status:
            payload["status"] = status
        elif request.api == "v1":
            payload["response"] = self._answer(self._request(method))
        made = auditlog.entry(self.project, auditlog.ACTIVITY, severity, self._resource(""), payload)
        if request.api == "v2":
            made["operation"] = self._operation(first=True) | ({"last": True} if status else {})
        return made

    def _answer(self, sent: dict[str, Any]) -> dict[str, Any]:
        """v1's response: the resource, with the operation id that joins a system event to this call."""
        kind = _KINDS[self.request.kind]
        resource = sent["workerPool" if kind == "WorkerPool" else kind.lower()]
        annotations = {"run.googleapis.com/operation-id": self.operation}
        metadata = resource["metadata"] | {"namespace": self.number, "annotations": annotations}
        answer: dict[str, Any] = {"@type": f"type.googleapis.com/google.cloud.run.v1.{kind}", "kind": kind}
        return {**answer, **resource, "metadata": metadata}

    def _operation(self, **place: bool) -> dict[str, Any]:
        name = f"projects/{self.project}/locations/{self.request.location}/operations/{self.operation}"
        return {"id": name, "producer": "run.googleapis.com", **place}

    def _last(self, severity: str, status: dict[str, Any]) -> list[dict[str, Any]]:
        """The entry that ends a v2 call's operation: without caller, request and permissions."""
        if self.request.api != "v2":
            return []
        verb = "Update" if self.exists else "Create"
        payload: dict[str, Any] = {
            "serviceName": "run.googleapis.com",
            "methodName": f"google.cloud.run.v2.{_KINDS[self.request.kind]}s.{verb}{_KINDS[self.request.kind]}",
            "resourceName": self._resource_name(),
            "resourceLocation": {"currentLocations": [self.request.location]},
        }
        if status:
            payload["status"] = status
        made = auditlog.entry(self.project, auditlog.ACTIVITY, severity, self._resource(""), payload)
        return [made | {"operation": self._operation(last=True)}]

    def _system_event(
        self, severity: str, status: dict[str, Any], revision: str, conditions: list[dict[str, Any]]
    ) -> dict[str, Any]:
        request = self.request
        prefix = "run.googleapis.com" if request.kind == "job" else "serving.knative.dev"
        annotations = {"run.googleapis.com/operation-id": self.operation}
        annotations[f"{prefix}/creator"] = request.member.partition(":")[2] or request.member
        labels = {
            "cloud.googleapis.com/location": request.location,
            f"serving.knative.dev/{request.kind}": request.name,
        }
        metadata = {"name": revision, "namespace": self.number, "labels": labels, "annotations": annotations}
        response = {
            "@type": "type.googleapis.com/google.cloud.run.v1.Revision",
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "metadata": metadata,
            "spec": {"containers": [self._container()]},
            "status": {"observedGeneration": 1, "conditions": conditions},
        }
        verb = "Replace" if self.exists else "Create"
        payload = {
            "status": status,
            "serviceName": "run.googleapis.com",
            "methodName": f"/{_KINDS[request.kind]}s.{verb}{_KINDS[request.kind]}",
            "resourceName": f"namespaces/{self.project}/revisions/{revision}",
            "response": response,
        }
        return auditlog.entry(self.project, auditlog.SYSTEM_EVENT, severity, self._resource(revision), payload)

    def _resource(self, revision: str) -> dict[str, Any]:
        kind, label = _RESOURCES[self.request.kind]
        labels = {"project_id": self.project, "location": self.request.location, label: self.request.name}
        if kind == "cloud_run_revision":
            labels |= {"revision_name": revision, "configuration_name": self.request.name if revision else ""}
        return {"type": kind, "labels": labels}

    def _resource_name(self) -> str:
        request, collection = self.request, _COLLECTIONS[self.request.kind]
        if request.api == "v1":
            return f"namespaces/{self.project}/{collection}/{request.name}"
        collection = "workerPools" if collection == "workerpools" else collection
        return f"projects/{self.project}/locations/{request.location}/{collection}/{request.name}"

    def _request(self, method: str) -> dict[str, Any]:
        what = method.rpartition(".")[2]
        body: dict[str, Any] = {"@type": f"type.googleapis.com/google.cloud.run.{self.request.api}.{what}Request"}
        field_name = {"service": "service", "job": "job", "worker-pool": "workerPool"}[self.request.kind]
        template: dict[str, Any] = {"containers": [self._container()]}
        if self.request.api == "v2":
            template = {"template": template} if self.request.kind == "job" else template
            body[field_name] = {"name": self._resource_name(), "template": template}
            return body
        spec: dict[str, Any] = {"template": {"spec": template}}
        if self.request.kind == "job":
            spec = {"template": {"spec": spec}}
        metadata = {"name": self.request.name, "namespace": self.number if self.exists else self.project}
        body |= {"region": self.request.location, field_name: {"metadata": metadata, "spec": spec}}
        return body

    def _container(self) -> dict[str, Any]:
        env = [{"name": "DATABASE_PASSWORD", "value": "a-secret-that-must-never-be-kept"}]
        return {"name": f"{self.request.name}-1", "image": self.request.image, "env": env}


def _user_text(image: str, found: Found, project: str, bare: str) -> str:
    host, _, path = image.partition("/")
    name, _, version = path.partition("@")
    folder, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    note = ""
    if found.project != project:
        note = f" {_elsewhere(found, project)} Permission must be granted to the User from this project. {_SEE}"
    escaped = bare.replace('"', '\\"')
    cause = f'{{"errors":[{{"code":"DENIED","message":"{escaped}"}}]}}'
    url = f"https://{host}/v2/{folder}/{last}/manifests/{version or tag or 'latest'}"
    sentence = f"User must have permission to read the image, {image}. {_HINT}{note}"
    return f"{sentence}\n Cause: 403 Forbidden\nGET {url}\n{cause}\n"


def _agent_text(image: str, agent: str, found: Found, project: str) -> str:
    who = f"Google Cloud Run Service Agent {agent}"
    sentence = f"{who} must have permission to read the image, {image}. {_HINT} {_elsewhere(found, project)}"
    return f"{sentence} Permission must be granted to the {who} from this project. {_SEE}"


def _elsewhere(found: Found, project: str) -> str:
    return f"Note that the image is from project [{found.project}], which is not the same as this project [{project}]."
