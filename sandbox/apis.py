"""Serves REST requests for the sandbox's resources: Artifact Registry, Resource Manager, IAM, Logging.

Paths, field names, error texts and status codes follow the published REST references.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox import auditlog
from sandbox.delivery import Delivering
from sandbox.errors import ApiError, refuse
from sandbox.iam import DOWNLOAD, denied, holds, read_policy, readers, write_policy
from sandbox.logbuckets import VIEW, LogBuckets
from sandbox.logfilter import compile_filter
from sandbox.organization import Node, Organization

Json = dict[str, Any]


@dataclass
class Call:
    """One request: query parameters, decoded body, and the caller and reason from its headers."""

    query: dict[str, str]
    body: Json
    caller: str = "remediate@remediate-ops.iam.gserviceaccount.com"
    reason: str | None = None


@dataclass
class Apis:
    """The services over one organization. `log` has every written entry, oldest first."""

    organization: Organization
    delivering: Delivering
    log: list[Json] = field(default_factory=list)
    buckets: LogBuckets | None = None

    def answer(self, method: str, path: str, call: Call) -> Json:
        """The JSON answer to a request. Raises ApiError if Google would refuse the request."""
        for verb, pattern, handler in _ROUTES:
            match = pattern.fullmatch(path)
            if match and verb == method:
                return handler(self, call, **match.groupdict())
        raise ApiError("NOT_FOUND", f"The sandbox does not serve {method} {path}")

    def write(self, entry: Json) -> None:
        """Write an entry to the log and send it to the subscribers."""
        self.log.append(entry)
        if self.buckets:
            self.buckets.keep(entry)
        self.delivering.send(entry)

    # Artifact Registry v1

    def _repository(self, project: str, location: str, name: str) -> Node:
        self._project(project)
        node = self.organization.nodes.get(self._name(project, location, name))
        if node is None:
            shown = f"projects/{project}/locations/{location}/repositories/{name}"
            refuse("NOT_FOUND", f'Requested entity was not found: "{shown}".')
        return node

    def _name(self, project: str, location: str, name: str) -> str:
        return f"projects/{self.organization.project_ids[project]}/locations/{location}/repositories/{name}"

    def repository(self, _: Call, project: str, location: str, name: str) -> Json:
        return _shown(self._repository(project, location, name))

    def repositories(self, call: Call, project: str, location: str) -> Json:
        self._project(project)
        prefix = self._name(project, location, "")
        found = [_shown(node) for name, node in sorted(self.organization.nodes.items()) if name.startswith(prefix)]
        return _page("repositories", found, call.query)

    def repository_policy(self, call: Call, project: str, location: str, name: str) -> Json:
        version = int(call.query.get("options.requestedPolicyVersion", "1"))
        return read_policy(self._repository(project, location, name), version)

    def project_settings(self, _: Call, project: str) -> Json:
        node = self._project(project)
        return {
            "name": f"projects/{node.fields['projectId']}/projectSettings",
            "legacyRedirectionState": node.fields["redirection"],
        }

    def set_repository_policy(self, call: Call, project: str, location: str, name: str) -> Json:
        node = self._repository(project, location, name)
        mask = call.body.get("updateMask") or call.query.get("updateMask")
        deltas = write_policy(self.organization, node, call.body.get("policy"), mask)
        policy = read_policy(node, 3)
        owner = self.organization.project_ids[project]
        entry = auditlog.policy_written(owner, location, node.name, call.caller, deltas, policy)
        if call.reason:
            entry["protoPayload"]["requestMetadata"]["requestAttributes"]["reason"] = call.reason
        self.write(entry)
        return policy

    def test_repository_permissions(self, call: Call, project: str, location: str, name: str) -> Json:
        return self._granted(self._repository(project, location, name), call)

    def _granted(self, node: Node, call: Call) -> Json:
        member = f"serviceAccount:{call.caller}"
        asked = call.body.get("permissions", [])
        granted = [each for each in asked if holds(self.organization, member, each, node.name)]
        return {"permissions": granted} if granted else {}

    # Resource Manager v3, and the v1 calls that gcloud makes

    def _project(self, project: str) -> Node:
        known = self.organization.project_ids.get(project)
        if known is None:
            text = f"Permission denied on resource project {project} (or it may not exist)."
            refuse("PERMISSION_DENIED", text, "CONSUMER_INVALID")
        return self.organization.nodes[f"projects/{known}"]

    def _node(self, kind: str, name: str) -> Node:
        if kind == "projects":
            return self._project(name)
        node = self.organization.nodes.get(f"{kind}/{name}")
        if node is None:
            refuse("PERMISSION_DENIED", f"The caller does not have permission on {kind}/{name} (or it may not exist).")
        return node

    def resource(self, _: Call, kind: str, name: str) -> Json:
        node = self._node(kind, name)
        shown: Json = {"name": node.name, "state": "ACTIVE", "etag": 'W/"1"', **node.fields}
        shown = {name: value for name, value in shown.items() if name not in ("tags", "denied", "redirection")}
        if kind == "projects":
            shown["name"] = f"projects/{shown.pop('number')}"
        if kind != "organizations" and node.parent:
            shown["parent"] = node.parent
        return shown

    def search_projects(self, call: Call) -> Json:
        names = [name for name, node in sorted(self.organization.nodes.items()) if "number" in node.fields]
        found = [self.resource(call, "projects", name.removeprefix("projects/")) for name in names]
        return _page("projects", found, call.query)

    def policy(self, call: Call, kind: str, name: str) -> Json:
        version = int(call.body.get("options", {}).get("requestedPolicyVersion", 1))
        return read_policy(self._node(kind, name), version)

    def test_permissions(self, call: Call, kind: str, name: str) -> Json:
        return self._granted(self._node(kind, name), call)

    def project_v1(self, _: Call, project: str) -> Json:
        node = self._project(project)
        shown: Json = {
            "projectNumber": node.fields["number"],
            "projectId": node.fields["projectId"],
            "lifecycleState": "ACTIVE",
            "name": node.fields["projectId"],
            "createTime": "2024-01-01T00:00:00.000Z",
        }
        if node.parent:
            kind, number = node.parent.split("/")
            shown["parent"] = {"type": kind.removesuffix("s"), "id": number}
        return shown

    def projects_v1(self, call: Call) -> Json:
        names = [name for name, node in sorted(self.organization.nodes.items()) if "number" in node.fields]
        found = [self.project_v1(call, name.removeprefix("projects/")) for name in names]
        return _page("projects", found, call.query)

    def ancestry(self, _: Call, project: str) -> Json:
        chain = self.organization.chain(self._project(project).name)
        pairs = [node.name.split("/", 1) for node in chain]
        return {"ancestor": [{"resourceId": {"type": kind.removesuffix("s"), "id": own}} for kind, own in pairs]}

    def effective_tags(self, call: Call) -> Json:
        prefix = "//cloudresourcemanager.googleapis.com/projects/"
        parent = call.query.get("parent", "")
        if not parent.startswith(prefix):
            refuse("INVALID_ARGUMENT", f"parent: {parent!r}; the sandbox has tags only on projects")
        tags = self._project(parent.removeprefix(prefix)).fields.get("tags")
        found = []
        for tag in tags if isinstance(tags, list) else []:
            number = int(hashlib.sha256(tag.encode()).hexdigest()[:12], 16)
            key = tag.rpartition("/")[0]
            found.append({"tagValue": f"tagValues/{number}", "namespacedTagValue": tag, "namespacedTagKey": key})
        return _page("effectiveTags", found, call.query)

    # Policy Troubleshooter v3beta

    def troubleshoot(self, call: Call) -> Json:
        asked = call.body.get("accessTuple", {})
        principal, resource = str(asked.get("principal")), str(asked.get("fullResourceName"))
        match = re.fullmatch(
            r"//artifactregistry\.googleapis\.com/projects/([^/]+)/locations/([^/]+)/repositories/(.+)", resource
        )
        if not match or asked.get("permission") != DOWNLOAD:
            refuse("INVALID_ARGUMENT", "accessTuple: the sandbox troubleshoots only downloads from repositories")
        kind = "serviceAccount" if principal.endswith("gserviceaccount.com") else "user"
        member, node = f"{kind}:{principal}", self._repository(*match.groups())
        deny = "DENIED" if denied(self.organization, member, node.name) else "NOT_DENIED"
        allow = "GRANTED" if holds(self.organization, member, DOWNLOAD, node.name) else "NOT_GRANTED"
        return {
            "overallAccessState": "CAN_ACCESS" if (deny, allow) == ("NOT_DENIED", "GRANTED") else "CANNOT_ACCESS",
            "accessTuple": asked,
            "allowPolicyExplanation": {"allowAccessState": f"ALLOW_ACCESS_STATE_{allow}"},
            "denyPolicyExplanation": {"denyAccessState": f"DENY_ACCESS_STATE_{deny}"},
            "pabPolicyExplanation": {"principalAccessBoundaryAccessState": "PAB_ACCESS_STATE_NOT_ENFORCED"},
        }

    # IAM v1

    def role(self, _: Call, name: str) -> Json:
        permissions = self.organization.roles.get(name)
        if permissions is None:
            refuse("NOT_FOUND", f"The role named {name} was not found.")
        return {"name": name, "title": name, "stage": "GA", "includedPermissions": permissions}

    def predefined_roles(self, call: Call) -> Json:
        found = [{"name": name, "includedPermissions": [DOWNLOAD]} for name in readers()]
        return _page("roles", [*found, {"name": "roles/run.developer", "includedPermissions": []}], call.query)

    # Logging v2

    def list_entries(self, call: Call) -> Json:
        matches = compile_filter(call.body.get("filter", ""))
        scopes = call.body.get("resourceNames", [])
        if not scopes:
            refuse("INVALID_ARGUMENT", "resourceNames is required")
        views = [scope for scope in scopes if self.buckets and VIEW.fullmatch(scope)]
        projects = {project for scope in scopes if scope not in views for project in self._projects_in(scope)}
        written = [entry for entry in self.log if entry["logName"].split("/")[1] in projects]
        written += [entry for view in views if self.buckets for entry in self.buckets.read(view)]
        found = [entry for entry in written if matches(entry)]
        order = call.body.get("orderBy", "timestamp asc")
        if order not in ("timestamp asc", "timestamp desc"):
            refuse("INVALID_ARGUMENT", f"orderBy: {order!r}; expected 'timestamp asc' or 'timestamp desc'")
        found.sort(key=lambda entry: str(entry["timestamp"]), reverse=order.endswith("desc"))
        return _page("entries", found, {name: str(call.body.get(name, "")) for name in ("pageSize", "pageToken")})

    def _projects_in(self, scope: str) -> list[str]:
        """The project of this log scope. The log of an organization or folder has no entries of its projects."""
        kind, _, name = scope.partition("/")
        node = self._node(kind, name.split("/")[0])
        return [str(node.fields["projectId"])] if kind == "projects" else []

    def write_entries(self, call: Call) -> Json:
        for entry in call.body.get("entries", []):
            shared = {name: call.body[name] for name in ("logName", "resource", "labels") if call.body.get(name)}
            moment = auditlog.now()
            whole = {"insertId": moment, "timestamp": moment, "receiveTimestamp": moment, **shared, **entry}
            if not str(whole.get("logName", "")).startswith("projects/"):
                refuse("INVALID_ARGUMENT", f"Invalid log name: {whole.get('logName')!r}")
            self.write(whole)
        return {}


def _shown(node: Node) -> Json:
    moment = "2024-01-01T00:00:00.000000Z"
    return {"name": node.name, **node.fields, "createTime": moment, "updateTime": moment}


def _page(name: str, items: list[Json], query: dict[str, str]) -> Json:
    size, start = query.get("pageSize") or "1000", query.get("pageToken") or "0"
    if not (size.isdigit() and start.isdigit()):
        refuse("INVALID_ARGUMENT", "pageSize or pageToken is not valid")
    end = int(start) + (int(size) or 1000)
    answer: Json = {name: items[int(start) : end]}
    if end < len(items):
        answer["nextPageToken"] = str(end)
    return answer


_REPOSITORIES = r"/v1/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/repositories"
_REPOSITORY = rf"{_REPOSITORIES}/(?P<name>[^/:]+)"
_V3 = r"/v3/(?P<kind>projects|folders|organizations)/(?P<name>[^/]+?)"
_V1_PROJECT = r"/v1/projects/(?P<project>[^/]+?)"

_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Json]]] = [
    (verb, re.compile(pattern), handler)
    for verb, pattern, handler in (
        ("GET", rf"{_REPOSITORY}:getIamPolicy", Apis.repository_policy),
        ("POST", rf"{_REPOSITORY}:setIamPolicy", Apis.set_repository_policy),
        ("POST", rf"{_REPOSITORY}:testIamPermissions", Apis.test_repository_permissions),
        ("GET", _REPOSITORY, Apis.repository),
        ("GET", r"/v1/projects/(?P<project>[^/]+)/projectSettings", Apis.project_settings),
        ("GET", _REPOSITORIES, Apis.repositories),
        ("POST", rf"{_V3}:getIamPolicy", Apis.policy),
        ("POST", rf"{_V3}:testIamPermissions", Apis.test_permissions),
        ("GET", r"/v3/effectiveTags", Apis.effective_tags),
        ("GET", r"/v1/(?P<name>(?:projects|organizations)/[^/]+/roles/[^/]+)", Apis.role),
        ("GET", r"/v1/roles", Apis.predefined_roles),
        ("POST", r"/v3beta/iam:troubleshoot", Apis.troubleshoot),
        ("GET", r"/v3/projects:search", Apis.search_projects),
        ("GET", _V3, Apis.resource),
        ("POST", rf"{_V1_PROJECT}:getAncestry", Apis.ancestry),
        ("POST", r"/v1/(?P<kind>projects)/(?P<name>[^/]+?):getIamPolicy", Apis.policy),
        ("GET", _V1_PROJECT, Apis.project_v1),
        ("GET", r"/v1/projects", Apis.projects_v1),
        ("POST", r"/v2/entries:list", Apis.list_entries),
        ("POST", r"/v2/entries:write", Apis.write_entries),
    )
]
