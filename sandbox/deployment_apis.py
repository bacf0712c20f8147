"""Serves an installation's resources as Google's APIs do, and lets tests break them one at a time.

GET (or POST, if Google requires it) on a path returns its resource; 404 if there is none, 403 if the API is disabled.
`publish` pushes to the subscribers as the trigger would.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from typing import Any

from sandbox.delivery import Delivering
from sandbox.deployment import Names, resources
from sandbox.deployment_seed import DeploymentSeed
from sandbox.errors import refuse
from sandbox.iam import DOWNLOAD, role_holds
from sandbox.organization import Organization, Policy

Json = dict[str, Any]
_WRITE = "artifactregistry.repositories.setIamPolicy"
_SERVED = [
    (api, re.compile(pattern))
    for api, pattern in (
        ("pubsub", r"/v1/projects/[^/]+/(?:topics|subscriptions)/[^/:]+(?::\w+)?"),
        ("eventarc", r"/v1/projects/[^/]+/locations/[^/]+/triggers/[^/:]+"),
        ("cloudscheduler", r"/v1/projects/[^/]+/locations/[^/]+/jobs/[^/:]+(?::resume)?"),
        ("run", r"/v2/projects/[^/]+/locations/[^/]+/(?:services|jobs)/[^/:]+(?::getIamPolicy)?"),
        ("logging", r"/v2/(?:projects|folders|organizations)/[^/]+/(?:sinks/[^/]+|locations/[^/]+/buckets/[^/]+)"),
        ("logging", r"/v2/projects/[^/]+/locations/[^/]+/buckets/[^/]+/views/[^/:]+(?::\w+)?"),
        ("iam", r"/v1/projects/[^/]+/serviceAccounts/[^/:]+(?:/keys|:getIamPolicy)?"),
        ("iam", r"/v1/roles/[^/]+"),
        ("firestore", r"/v1/projects/[^/]+/databases/[^/]+(?:/.*)?"),
        ("iap", r"/v1/projects/[^/]+/iap_web/[^/]+/services/[^/:]+:getIamPolicy"),
        ("serviceusage", r"/v1/projects/[^/]+/services(?::batchGet)?"),
        ("monitoring", r"/v3/projects/[^/]+/timeSeries"),
        ("cloudresourcemanager", r"/v3/tagValues/[^/]+"),
        ("storage", r"/storage/v1/b/[^/]+/o/.+"),
    )
]
_TERM = re.compile(r'(metric|resource)\.(type|labels?\.(\w+))\s*=\s*"([^"]*)"')


class DeploymentApis:
    """The APIs of one installation. `resources` has the served resources by path."""

    def __init__(self, seed: DeploymentSeed, organization: Organization, delivering: Delivering) -> None:
        self.resources = resources(seed, organization)
        self._organization = organization
        self._healthy = copy.deepcopy(self._state())
        self._delivering = delivering
        self._names = Names(seed, organization)

    def serves(self, path: str) -> str | None:
        """The API that serves this path; None if none of them does."""
        return next((api for api, pattern in _SERVED if pattern.fullmatch(path)), None)

    def answer(self, api: str, method: str, path: str, query: dict[str, list[str]], body: Json) -> Json:
        """The JSON answer to a request to this API. Raises ApiError if Google would refuse the request."""
        path = path.replace("/projects/-/serviceAccounts/", f"/{self._names.project}/serviceAccounts/")  # "any project"
        if path.startswith("/v1/projects/") and path.split("/")[3] not in self._organization.project_ids:
            project = path.split("/")[3]
            refuse("PERMISSION_DENIED", f"Permission denied on resource project {project}.", "CONSUMER_INVALID")
        if not self._enabled(api):
            text = f"{api} API has not been used in project {self._names.number} before or it is disabled. Enable it."
            refuse("PERMISSION_DENIED", text, "SERVICE_DISABLED")
        if path.endswith(":publish") and method == "POST":
            return self._publish(path.removesuffix(":publish"), body)
        if path.endswith(":setIamPolicy") and method == "POST":
            return self._set_policy(path, body)
        if method == "PATCH":
            return self._patch(path, query, body)
        if path.endswith(":resume") and method == "POST":
            return self._patch(path.removesuffix(":resume"), {}, {"state": "ENABLED"})
        if path.startswith("/v1/roles/"):
            return _predefined(path.removeprefix("/v1/"))
        if api == "serviceusage":
            return self._services(path, query)
        if path.endswith("/namespaced"):
            wanted = query.get("name", [""])[0]
            found = (each for each in self.resources.values() if each.get("namespacedName") == wanted)
            return next(found, None) or refuse(
                "PERMISSION_DENIED", "Permission denied on tag value (or it may not exist)."
            )
        resource = self.resources.get(path)
        if resource is None:
            refuse("NOT_FOUND", f"Resource not found (resource={path.rpartition('/')[2].partition(':')[0]}).")
        return _filtered(resource, query.get("filter", [""])[0]) if api == "monitoring" else resource

    def change(self, patches: dict[str, Any]) -> None:
        """Break or repair: merge each path's resource with a patch (RFC 7396); null removes the resource.

        `policy NAME` is the allow policy of an organization, folder or project, `role NAME` the permissions of a role.
        """
        for name, patch in patches.items():
            kind, _, own = name.partition(" ")
            if kind == "policy":
                self._organization.nodes[own].policy["bindings"] = patch
            elif kind == "role" and patch is None:
                self._organization.roles.pop(own, None)
            elif kind == "role":
                self._organization.roles[own] = patch
            elif patch is None:
                self.resources.pop(name, None)
            else:
                self.resources[name] = _merged(self.resources.get(name, {}), patch)

    def heal(self) -> None:
        """Reset everything to the file."""
        self.resources, policies, self._organization.roles = copy.deepcopy(self._healthy)
        for name, policy in policies.items():
            self._organization.nodes[name].policy = policy

    def _state(self) -> tuple[dict[str, Json], dict[str, Policy], dict[str, list[str]]]:
        above = {name: node.policy for name, node in self._organization.nodes.items() if "/repositories/" not in name}
        return self.resources, above, self._organization.roles

    def tell(self, variables: dict[str, str]) -> None:
        """Set these environment variables for every deployed service and job, as a redeploy would."""
        for resource in self.resources.values():
            template = resource.get("template", {})
            for container in template.get("template", template).get("containers", []):
                kept = [each for each in container["env"] if each["name"] not in variables]
                container["env"] = [*kept, *({"name": name, "value": value} for name, value in variables.items())]

    def _enabled(self, api: str) -> bool:
        services = self.resources.get(f"/v1/{self._names.project}/services", {})
        return bool(services.get(f"{api}.googleapis.com") == "ENABLED")

    def _services(self, path: str, query: dict[str, list[str]]) -> Json:
        states = self.resources[path.removesuffix(":batchGet")]
        wanted = [name.rpartition("/")[2] for name in query.get("names", list(states))]
        parent = f"projects/{self._names.number}/services"
        return {"services": [_service(f"{parent}/{api}", states.get(api, "DISABLED")) for api in wanted]}

    def _publish(self, path: str, body: Json) -> Json:
        if path not in self.resources:
            refuse("NOT_FOUND", f"Resource not found (resource={path.rpartition('/')[2]}).")
        topic = path.removeprefix("/v1/")
        ids = []
        for message in body.get("messages", []):
            try:
                data = base64.b64decode(message.get("data", ""), validate=True)
            except binascii.Error:
                refuse("INVALID_ARGUMENT", "Invalid value at 'messages[0].data' (TYPE_BYTES), Base64 decoding failed")
            ids.append(self._delivering.publish(data, topic, heard=self._heard(topic)))
        return {"messageIds": ids}

    def _heard(self, topic: str) -> bool:
        """Whether a trigger listens to the topic and its destination is the receiver."""
        triggers = [each for name, each in self.resources.items() if "/triggers/" in name]
        mine = [each for each in triggers if each["transport"]["pubsub"]["topic"] == topic]
        receiver = self._names.of("services", "receiver")
        return any(each["destination"]["cloudRun"]["service"].rpartition("/")[2] == receiver for each in mine)

    def _patch(self, path: str, query: dict[str, list[str]], body: Json) -> Json:
        """Change the fields in the mask, or all fields in the body. Pub/Sub has resource and mask in the body."""
        if path not in self.resources:
            refuse("NOT_FOUND", f"Resource not found (resource={path.rpartition('/')[2]}).")
        mask = body.get("updateMask") or ",".join(query.get("updateMask", []))
        wanted = body.get("subscription") or body
        fields = [_camel(name) for name in mask.split(",")] if mask else list(wanted)
        self.resources[path] = {**self.resources[path], **{name: wanted[name] for name in fields if name in wanted}}
        return self.resources[path]

    def _set_policy(self, path: str, body: Json) -> Json:
        name = path.replace(":setIamPolicy", ":getIamPolicy")
        if name not in self.resources:
            refuse("NOT_FOUND", f"Resource not found (resource={path.rpartition('/')[2]}).")
        self.resources[name] = {"version": 1, **body["policy"], "etag": "BwYAAAAAAAM="}
        return self.resources[name]


def _camel(name: str) -> str:
    """A field of a mask in JSON's camel case. Some clients send snake case."""
    first, *others = name.strip().split("_")
    return first + "".join(word.title() for word in others)


def _service(name: str, state: str) -> Json:
    api = name.rpartition("/")[2]
    return {"name": name, "config": {"name": api, "title": api}, "state": state}


def _predefined(name: str) -> Json:
    known = [each for each in (DOWNLOAD, _WRITE) if role_holds(name, each)]
    return {"name": name, "title": name, "stage": "GA", "includedPermissions": known}


def _filtered(measured: Json, wanted: str) -> Json:
    """The time series that match every `metric.` and `resource.` term of the filter."""
    terms = _TERM.findall(wanted)
    found = [
        series
        for series in measured["timeSeries"]
        if all(
            (series[side].get("labels", {}).get(label) if label else series[side].get("type")) == value
            for side, _, label, value in terms
        )
    ]
    return {"timeSeries": found} if found else {}


def _merged(old: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
