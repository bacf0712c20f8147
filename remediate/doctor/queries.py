"""How each fact is read: service, path, and the permission that it needs. One row a shape of resource."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from remediate.doctor import resources as gcp
from remediate.doctor.installation import APIS, CONDITIONAL_APIS
from remediate.doctor.names import ResourceNames
from remediate.doctor.resource_api import ReadPermission, ResourceApi
from remediate.doctor.resources import Absent, AllowPolicy, Fact, Unknown
from remediate.times import to_rfc3339

_VERSION_3: dict[str, object] = {"options": {"requestedPolicyVersion": 3}}
_MAX_FOLDERS = 12  # "Resource hierarchy": folders nest ten levels deep

_INDEXES = "/v1/{}/collectionGroups/remediations/indexes"
_KEYS = "/v1/{}/keys?keyTypes=USER_MANAGED"
_RESOURCES: dict[type[Any], tuple[str, str, str, str]] = {
    gcp.LogSink: ("LOGGING", "/v2/{}", "logging.sinks.get", "roles/logging.viewer"),
    gcp.LogBucket: ("LOGGING", "/v2/{}", "logging.buckets.get", "roles/logging.viewer"),
    gcp.LogView: ("LOGGING", "/v2/{}", "logging.views.get", "roles/logging.viewer"),
    gcp.PubSubTopic: ("PUBSUB", "/v1/{}", "pubsub.topics.get", "roles/pubsub.viewer"),
    gcp.Subscription: ("PUBSUB", "/v1/{}", "pubsub.subscriptions.get", "roles/pubsub.viewer"),
    gcp.Trigger: ("EVENTARC", "/v1/{}", "eventarc.triggers.get", "roles/eventarc.viewer"),
    gcp.SchedulerJob: ("CLOUDSCHEDULER", "/v1/{}", "cloudscheduler.jobs.get", "roles/cloudscheduler.viewer"),
    gcp.RunService: ("RUN", "/v2/{}", "run.services.get", "roles/run.viewer"),
    gcp.RunJob: ("RUN", "/v2/{}", "run.jobs.get", "roles/run.viewer"),
    gcp.Database: ("FIRESTORE", "/v1/{}", "datastore.databases.getMetadata", "roles/datastore.viewer"),
    gcp.Indexes: ("FIRESTORE", _INDEXES, "datastore.indexes.list", "roles/datastore.viewer"),
    gcp.ServiceAccount: ("IAM", "/v1/{}", "iam.serviceAccounts.get", "roles/iam.serviceAccountViewer"),
    gcp.AccountKeys: ("IAM", _KEYS, "iam.serviceAccountKeys.list", "roles/iam.serviceAccountViewer"),
    gcp.IamRole: ("IAM", "/v1/{}", "iam.roles.get", "roles/iam.roleViewer"),
}
"""Service, path, permission and a predefined role that holds it."""

_RESOURCE_MANAGER = ("CLOUDRESOURCEMANAGER", "/v3/{}:getIamPolicy")
_IN_QUERY = "/{}:getIamPolicy?options.requestedPolicyVersion=3"
_POLICIES: dict[str, tuple[str, str, str, str, dict[str, object] | None]] = {
    "services": ("RUN", f"/v2{_IN_QUERY}", "run.services", "roles/run.viewer", None),
    "jobs": ("RUN", f"/v2{_IN_QUERY}", "run.jobs", "roles/run.viewer", None),
    "topics": ("PUBSUB", f"/v1{_IN_QUERY}", "pubsub.topics", "roles/iam.securityReviewer", None),
    "subscriptions": ("PUBSUB", f"/v1{_IN_QUERY}", "pubsub.subscriptions", "roles/iam.securityReviewer", None),
    "serviceAccounts": ("IAM", "/v1/{}:getIamPolicy", "iam.serviceAccounts", "roles/iam.securityReviewer", {}),
    "views": ("LOGGING", "/v2/{}:getIamPolicy", "logging.views", "roles/iam.securityReviewer", _VERSION_3),
    "iap": ("IAP", "/v1/{}:getIamPolicy", "iap.webServices", "roles/iap.admin", _VERSION_3),
    "projects": (*_RESOURCE_MANAGER, "resourcemanager.projects", "roles/iam.securityReviewer", _VERSION_3),
    "folders": (*_RESOURCE_MANAGER, "resourcemanager.folders", "roles/iam.securityReviewer", _VERSION_3),
    "organizations": (*_RESOURCE_MANAGER, "resourcemanager.organizations", "roles/iam.securityReviewer", _VERSION_3),
}
"""How the allow policy of a resource is read, by the collection that the resource is in."""


class _Node(msgspec.Struct, frozen=True):
    name: str = ""
    parent: str = ""


class Queries:
    """Reads the facts of one installation."""

    def __init__(self, cloud: ResourceApi, names: ResourceNames, now: datetime) -> None:
        self._cloud = cloud
        self._names = names
        self._now = now

    def read(self, kind: type[Any], name: str) -> Fact[Any]:
        """The fact of this shape about the resource of this name."""
        special: dict[type[Any], Callable[[str], Fact[Any]]] = {
            AllowPolicy: self._policy,
            gcp.ApiStates: self._apis,
            gcp.ProjectAncestry: self._project,
            gcp.TagValue: self._tag,
            gcp.Measurements: self._measurements,
        }
        if kind in special:
            return special[kind](name)
        service, path, permission, role = _RESOURCES[kind]
        place = self._names.project_path if name.startswith("roles/") else "/".join(name.split("/")[:2])
        return self._cloud.read(service, path.format(name), kind, ReadPermission(permission, role, place))

    def _policy(self, name: str) -> Fact[AllowPolicy]:
        service, path, permission, role, body = _POLICIES[name.split("/")[-2]]
        if service == "IAP":  # it names projects by number
            project = self._project(self._names.project_path)
            if not isinstance(project, gcp.ProjectAncestry):
                return project
            name = self._names.iap_resource(project.number)
        place = self._names.project_path if service == "IAP" else "/".join(name.split("/")[:2])
        right = ReadPermission(f"{permission}.getIamPolicy", role, place)
        return self._cloud.read(service, path.format(name), AllowPolicy, right, body)

    def _apis(self, here: str) -> Fact[gcp.ApiStates]:
        right = ReadPermission("serviceusage.services.get", "roles/serviceusage.serviceUsageViewer", here)
        names = "&".join(f"names={here}/services/{api}" for api in (*APIS, *CONDITIONAL_APIS))
        return self._cloud.read("SERVICEUSAGE", f"/v1/{here}/services:batchGet?{names}", gcp.ApiStates, right)

    def _tag(self, tag: str) -> Fact[gcp.TagValue]:
        scope = self._names.watched_scopes[0]
        right = ReadPermission("resourcemanager.tagValues.get", "roles/resourcemanager.tagViewer", scope)
        path = tag if tag.startswith("tagValues/") else f"tagValues/namespaced?name={quote(tag, safe='')}"
        found = self._cloud.read("CLOUDRESOURCEMANAGER", f"/v3/{path}", gcp.TagValue, right)
        if not isinstance(found, Unknown):
            return found
        # "tagValues.get": Google answers 403 for a missing tag value too. A caller with access to all can tell.
        body: dict[str, object] = {"permissions": [right.permission]}
        path = f"/v3/{scope}:testIamPermissions"
        held = self._cloud.read("CLOUDRESOURCEMANAGER", path, gcp.HeldPermissions, right, body)
        return Absent(tag) if isinstance(held, gcp.HeldPermissions) and held.permissions else found

    def _project(self, here: str) -> Fact[gcp.ProjectAncestry]:
        found = self._node(here)
        if not isinstance(found, _Node):
            return found
        above: list[str] = []
        parent = found.parent
        while parent.startswith("folders/") and len(above) < _MAX_FOLDERS:
            above.append(parent)
            folder = self._node(parent)
            parent = folder.parent if isinstance(folder, _Node) else ""
        above += [parent] if parent.startswith("organizations/") else []
        return gcp.ProjectAncestry(found.name.rpartition("/")[2], tuple(above))

    def _node(self, name: str) -> Fact[_Node]:
        right = ReadPermission(f"resourcemanager.{name.partition('/')[0]}.get", "roles/browser", name)
        return self._cloud.read("CLOUDRESOURCEMANAGER", f"/v3/{name}", _Node, right)

    def _measurements(self, name: str) -> Fact[gcp.Measurements]:
        """By `SUBSCRIPTION:METRIC`, or `API:limit` and `API:rate/net_usage` for a quota."""
        owner, _, metric = name.rpartition(":")
        if "/" in owner:
            back = timedelta(minutes=15)
            wanted = (
                f'metric.type="pubsub.googleapis.com/subscription/{metric}" AND '
                f'resource.labels.subscription_id="{owner.rpartition("/")[2]}"'
            )
        else:
            back = timedelta(days=2) if metric == "limit" else timedelta(hours=1)
            wanted = (
                f'metric.type="serviceruntime.googleapis.com/quota/{metric}" AND resource.type="consumer_quota" AND '
                f'resource.labels.service="{owner}"'
            )
        here = self._names.project_path
        right = ReadPermission("monitoring.timeSeries.list", "roles/monitoring.viewer", here)
        span = (
            f"interval.startTime={quote(to_rfc3339(self._now - back))}&interval.endTime={quote(to_rfc3339(self._now))}"
        )
        path = f"/v3/{here}/timeSeries?filter={quote(wanted)}&{span}"
        return self._cloud.read("MONITORING", path, gcp.Measurements, right)
