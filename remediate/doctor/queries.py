"""How each fact is asked for: path, shape, and the right that reading it needs. One method a kind of fact."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from urllib.parse import quote

import msgspec

from remediate.doctor import resources as facts
from remediate.doctor.installation import APIS, CONDITIONAL_APIS
from remediate.doctor.names import Site
from remediate.doctor.resource_api import Right
from remediate.doctor.resources import Absent, AllowPolicy, Fact, Unknown
from remediate.times import instant

_T = TypeVar("_T")
_LOOKED_BACK = timedelta(hours=1)
_READS = {"options": {"requestedPolicyVersion": 3}}
_DEEPEST = 12  # "Resource hierarchy": folders nest ten levels deep


class Reads(Protocol):
    """What the survey sees of Google Cloud: one question, one fact."""

    def read(
        self, service: str, path: str, kind: type[_T], right: Right, body: dict[str, object] | None = None
    ) -> Fact[_T]:
        """What is at this path of a service."""


class _Node(msgspec.Struct, frozen=True):
    name: str = ""
    parent: str = ""


class Questions:
    """The questions that can be asked about a site."""

    def __init__(self, cloud: Reads, now: datetime) -> None:
        self._cloud = cloud
        self._now = now

    def apis(self, site: Site) -> Fact[facts.ServicesUsed]:
        here = site.here
        right = Right("serviceusage.services.get", "roles/serviceusage.serviceUsageViewer", here)
        names = "&".join(f"names={here}/services/{api}" for api in (*APIS, *CONDITIONAL_APIS))
        return self._cloud.read("SERVICEUSAGE", f"/v1/{here}/services:batchGet?{names}", facts.ServicesUsed, right)

    def sink(self, name: str) -> Fact[facts.Sink]:
        right = Right("logging.sinks.get", "roles/logging.viewer", "/".join(name.split("/")[:2]))
        return self._cloud.read("LOGGING", f"/v2/{name}", facts.Sink, right)

    def bucket(self, name: str) -> Fact[facts.Bucket]:
        right = Right("logging.buckets.get", "roles/logging.viewer", "/".join(name.split("/")[:2]))
        return self._cloud.read("LOGGING", f"/v2/{name}", facts.Bucket, right)

    def topic(self, site: Site, name: str) -> Fact[facts.Topic]:
        right = Right("pubsub.topics.get", "roles/pubsub.viewer", site.here)
        return self._cloud.read("PUBSUB", f"/v1/{name}", facts.Topic, right)

    def subscription(self, site: Site, name: str) -> Fact[facts.Subscription]:
        right = Right("pubsub.subscriptions.get", "roles/pubsub.viewer", site.here)
        return self._cloud.read("PUBSUB", f"/v1/{name}", facts.Subscription, right)

    def trigger(self, site: Site, name: str) -> Fact[facts.Trigger]:
        right = Right("eventarc.triggers.get", "roles/eventarc.viewer", site.here)
        return self._cloud.read("EVENTARC", f"/v1/{name}", facts.Trigger, right)

    def schedule(self, site: Site) -> Fact[facts.Schedule]:
        right = Right("cloudscheduler.jobs.get", "roles/cloudscheduler.viewer", site.here)
        return self._cloud.read("CLOUDSCHEDULER", f"/v1/{site.job}", facts.Schedule, right)

    def database(self, path: str) -> Fact[facts.Database]:
        right = Right("datastore.databases.getMetadata", "roles/datastore.viewer", "/".join(path.split("/")[:2]))
        return self._cloud.read("FIRESTORE", f"/v1/{path}", facts.Database, right)

    def indexes(self, path: str) -> Fact[facts.Indexes]:
        right = Right("datastore.indexes.list", "roles/datastore.viewer", "/".join(path.split("/")[:2]))
        return self._cloud.read("FIRESTORE", f"/v1/{path}/collectionGroups/remediations/indexes", facts.Indexes, right)

    def tag(self, site: Site, tag: str) -> Fact[facts.TagValue]:
        right = Right("resourcemanager.tagValues.get", "roles/resourcemanager.tagViewer", site.watched[0])
        path = tag if tag.startswith("tagValues/") else f"tagValues/namespaced?name={quote(tag, safe='')}"
        found = self._cloud.read("CLOUDRESOURCEMANAGER", f"/v3/{path}", facts.TagValue, right)
        if not isinstance(found, Unknown):
            return found
        # Google says 403 for a tag value that is not there, too ("tagValues.get"): who may see all of them can tell.
        scope, body = site.watched[0], {"permissions": [right.permission]}
        where = f"/v3/{scope}:testIamPermissions"
        held = self._cloud.read("CLOUDRESOURCEMANAGER", where, facts.Permissions, right, dict(body))
        return Absent(tag) if isinstance(held, facts.Permissions) and held.permissions else found

    def service(self, site: Site, task: str) -> Fact[facts.Service]:
        right = Right("run.services.get", "roles/run.viewer", site.here)
        return self._cloud.read("RUN", f"/v2/{site.service(task)}", facts.Service, right)

    def job(self, site: Site) -> Fact[facts.Job]:
        right = Right("run.jobs.get", "roles/run.viewer", site.here)
        return self._cloud.read("RUN", f"/v2/{site.job}", facts.Job, right)

    def run_policy(self, site: Site, name: str) -> Fact[AllowPolicy]:
        kind = name.split("/")[4]
        right = Right(f"run.{kind}.getIamPolicy", "roles/run.viewer", site.here)
        path = f"/v2/{name}:getIamPolicy?options.requestedPolicyVersion=3"
        return self._cloud.read("RUN", path, AllowPolicy, right)

    def iap_policy(self, site: Site) -> Fact[AllowPolicy]:
        right = Right("iap.webServices.getIamPolicy", "roles/iap.admin", site.here)
        project = self.project(site.project)
        if not isinstance(project, facts.ProjectFacts):
            return project  # it goes by the project's number
        path = f"/v1/projects/{project.number}/iap_web/cloud_run-{site.region}/services/{site.name}-review:getIamPolicy"
        return self._cloud.read("IAP", path, AllowPolicy, right, dict(_READS))

    def pubsub_policy(self, site: Site, name: str, kind: str) -> Fact[AllowPolicy]:
        right = Right(f"pubsub.{kind}.getIamPolicy", "roles/iam.securityReviewer", site.here)
        path = f"/v1/{name}:getIamPolicy?options.requestedPolicyVersion=3"
        return self._cloud.read("PUBSUB", path, AllowPolicy, right)

    def policy(self, place: str) -> Fact[AllowPolicy]:
        kind = place.partition("/")[0]
        right = Right(f"resourcemanager.{kind}.getIamPolicy", "roles/iam.securityReviewer", place)
        return self._cloud.read("CLOUDRESOURCEMANAGER", f"/v3/{place}:getIamPolicy", AllowPolicy, right, dict(_READS))

    def account(self, site: Site, who: str) -> Fact[facts.Account]:
        right = Right("iam.serviceAccounts.get", "roles/iam.serviceAccountViewer", site.here)
        return self._cloud.read("IAM", f"/v1/{_account(site, who)}", facts.Account, right)

    def account_policy(self, site: Site, who: str) -> Fact[AllowPolicy]:
        right = Right("iam.serviceAccounts.getIamPolicy", "roles/iam.securityReviewer", site.here)
        return self._cloud.read("IAM", f"/v1/{_account(site, who)}:getIamPolicy", AllowPolicy, right, {})

    def keys(self, site: Site, who: str) -> Fact[facts.Keys]:
        right = Right("iam.serviceAccountKeys.list", "roles/iam.serviceAccountViewer", site.here)
        return self._cloud.read("IAM", f"/v1/{_account(site, who)}/keys?keyTypes=USER_MANAGED", facts.Keys, right)

    def role(self, site: Site, role: str) -> Fact[facts.Role]:
        place = "/".join(role.split("/")[:2]) if not role.startswith("roles/") else site.here
        right = Right("iam.roles.get", "roles/iam.roleViewer", place)
        return self._cloud.read("IAM", f"/v1/{role}", facts.Role, right)

    def project(self, project: str) -> Fact[facts.ProjectFacts]:
        right = Right("resourcemanager.projects.get", "roles/browser", f"projects/{project}")
        found = self._cloud.read("CLOUDRESOURCEMANAGER", f"/v3/projects/{project}", _Node, right)
        if not isinstance(found, _Node):
            return found
        above: list[str] = []
        parent = found.parent
        while parent.startswith("folders/") and len(above) < _DEEPEST:
            above.append(parent)
            above_right = Right("resourcemanager.folders.get", "roles/browser", parent)
            folder = self._cloud.read("CLOUDRESOURCEMANAGER", f"/v3/{parent}", _Node, above_right)
            parent = folder.parent if isinstance(folder, _Node) else ""
        above += [parent] if parent.startswith("organizations/") else []
        return facts.ProjectFacts(found.name.rpartition("/")[2], tuple(above))

    def measured(self, site: Site, metric: str, subscription: str) -> Fact[facts.Measured]:
        wanted = (
            f'metric.type="pubsub.googleapis.com/subscription/{metric}" AND '
            f'resource.labels.subscription_id="{subscription.rpartition("/")[2]}"'
        )
        return self.series(site, wanted)

    def quota(self, site: Site, service: str, kind: str) -> Fact[facts.Measured]:
        wanted = (
            f'metric.type="serviceruntime.googleapis.com/quota/{kind}" AND resource.type="consumer_quota" AND '
            f'resource.labels.service="{service}"'
        )
        return self.series(site, wanted, _LOOKED_BACK if kind != "limit" else timedelta(days=2))

    def series(self, site: Site, wanted: str, back: timedelta = timedelta(minutes=15)) -> Fact[facts.Measured]:
        right = Right("monitoring.timeSeries.list", "roles/monitoring.viewer", site.here)
        span = f"interval.startTime={quote(instant(self._now - back))}&interval.endTime={quote(instant(self._now))}"
        path = f"/v3/{site.here}/timeSeries?filter={quote(wanted)}&{span}"
        return self._cloud.read("MONITORING", path, facts.Measured, right)


def _account(site: Site, who: str) -> str:
    return f"{site.here}/serviceAccounts/{site.account(who)}"
