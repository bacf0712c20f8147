"""A small Google Cloud in memory, for `terraform apply`: as strict as the real one where a first apply stumbles.

An API is off until it is enabled. A grant counts only after a while. A deleted role or log bucket keeps its name for seven
days. What names another resource is refused while that one is missing. Things are kept in the form of the stand-in gcloud
(standin.py), which works on the same ones.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Any

from tests.deploy.paper import NUMBER, PROJECT, named, read
from tests.deploy.paper_clock import Clock
from tests.deploy.paper_needs import check_needs
from tests.deploy.paper_policies import Policies, Refused, is_policy

Json = dict[str, Any]
APIS = {
    "artifact_registry": "artifactregistry", "cloud_run": "run", "cloud_scheduler": "cloudscheduler", "eventarc": "eventarc",
    "firestore": "firestore", "folder": "cloudresourcemanager", "iam": "iam", "iap": "iap", "kms": "cloudkms", "logging": "logging",
    "monitoring": "monitoring", "organization": "cloudresourcemanager", "organization_iam_custom_role": "iam",
    "project": "cloudresourcemanager", "project_iam_custom_role": "iam", "project_service": "serviceusage", "pubsub": "pubsub",
    "secret_manager": "secretmanager", "service_account": "iam", "storage": "storage", "tags": "cloudresourcemanager",
}  # fmt: skip
"""The API that makes a resource, by the longest beginning of its type."""
ENABLING = 30.0
"""Seconds until an API that is being enabled is on."""
_TITLES = {"iam": "Identity and Access Management (IAM)", "run": "Cloud Run Admin", "pubsub": "Cloud Pub/Sub"}

# How the stand-in gcloud names what both work on, and the argument that holds the name.
_SHARED = {
    "google_artifact_registry_repository": ("artifacts repositories", "repository_id"),
    "google_eventarc_trigger": ("eventarc triggers", "name"),
    "google_firestore_database": ("firestore databases", "name"),
    "google_logging_project_bucket_config": ("logging buckets", "bucket_id"),
    "google_organization_iam_custom_role": ("iam roles", "role_id"),
    "google_project_iam_custom_role": ("iam roles", "role_id"),
    "google_pubsub_subscription": ("pubsub subscriptions", "name"),
    "google_pubsub_topic": ("pubsub topics", "name"),
    "google_service_account": ("iam service-accounts", "email"),
}
_LASTING = (
    "google_logging_project_bucket_config",
    "google_organization_iam_custom_role",
    "google_project_iam_custom_role",
)
_NAMING = (
    "parent", "org_id", "folder", "project", "location", "region", "database", "collection", "field", "fields", "bucket",
    "secret", "name", "account_id", "service", "short_name", "secret_id", "display_name", "dashboard_json",
)  # fmt: skip
_ANEW = ("google_firestore_field", "google_project_service")  # creating one that is there changes it


def api_of(kind: str) -> str:
    """The API that a type belongs to, such as `iam.googleapis.com`."""
    short = kind.removeprefix("google_")
    return f"{APIS[max((name for name in APIS if short.startswith(name)), key=len)]}.googleapis.com"


def key_of(kind: str, values: Json) -> str:
    if kind in _SHARED:
        words, name = _SHARED[kind]
        place = f"organizations/{values['org_id']}" if values.get("org_id") else f"projects/{PROJECT}"
        return f"{words} {place} {values[name]}"
    return f"{kind} {json.dumps([values[each] for each in _NAMING if values.get(each)])}"


def _without_zeros(value: Any) -> Any:
    """A dashboard as Google Cloud gives it back."""
    if isinstance(value, list):
        return [_without_zeros(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_zeros(each) for key, each in value.items() if each != 0}
    return value


class Cloud:
    """One project in one organization. Terraform's provider (plugin_apply.py) and gcloud (paper_gcloud.py) call it."""

    def __init__(self) -> None:
        self.state: Json = {"apis": [], "things": {}, "grants": [], "images": {}, "builds": 0, "denied": ""}
        self.clock = Clock()
        self.lock = threading.RLock()
        self.policies = Policies(self.state, self.clock)
        self.writes: list[str] = []
        """What was created, changed and deleted, in that order."""
        self._subscriptions: defaultdict[str, int] = defaultdict(int)

    def names(self, kind: str, values: Json) -> Json:
        """What Google Cloud assigns to a resource when it is made."""
        found = named(kind, values)
        match kind:
            case "google_firestore_database":
                found["id"] = f"projects/{PROJECT}/databases/{values['name']}"
            case "google_logging_project_bucket_config":
                found["lifecycle_state"] = "ACTIVE"
            case "google_eventarc_trigger":
                self._subscriptions[values["name"]] += 1
                [[pubsub]] = [each["pubsub"] for each in found["transport"]]
                pubsub["subscription"] = f"{pubsub['subscription'][:-3]}{self._subscriptions[values['name']]:03}"
        return found

    def read(self, kind: str, values: Json) -> Json | None:
        self._api(kind)
        if is_policy(kind):
            return self.policies.read(kind, values)
        if kind == "google_project_service":
            return values if values["service"] in self.state["apis"] else None
        thing = self.state["things"].get(key_of(kind, values))
        if thing is None:
            return None
        found: Json = thing["values"]
        if kind == "google_monitoring_dashboard":
            drawn = json.loads(found["dashboard_json"])
            if (kept := _without_zeros(drawn)) != drawn:
                found = found | {"dashboard_json": json.dumps(kept)}
        return found

    def look(self, kind: str, values: Json) -> Json:
        """A data source."""
        self._api(kind)
        if kind == "google_artifact_registry_docker_image":
            found = [each for name, each in self.state["images"].items() if name.endswith(f"/{values['image_name']}")]
            if not found:
                raise Refused(f"Requested image was not found: {values['image_name']}")
            return {"self_link": found[0]["digest"], "name": values["image_name"]}
        return read(f"data.{kind}", values)

    def find(self, kind: str, identity: str) -> Json:
        """What `terraform import` finds by an id."""
        self._api(kind)
        for each in self.state["things"].values():
            if each.get("kind") == kind and each["values"]["id"] == identity:
                found: Json = dict(each["values"])
                if "deletion_policy" in found:
                    found["deletion_policy"] = "DELETE"  # the provider's own argument, in no answer of Google Cloud
                return found
        raise Refused(f"Cannot import non-existent remote object {identity}")

    def create(self, kind: str, values: Json, given: Json) -> None:
        """Make a resource; `given` is what its configuration says, without what Google Cloud assigns."""
        if kind == "google_project_service":
            self._api(kind)
            self.clock.wait(ENABLING)
            with self.lock:
                self.state["apis"] = sorted({*self.state["apis"], values["service"]})
            return
        with self.lock:
            self._api(kind)
            check_needs(kind, given, self.state, self.policies)
            if is_policy(kind):
                self.policies.write(kind, values)
            else:
                self._make(kind, values)
            self.writes.append(f"create {kind}")

    def update(self, kind: str, values: Json, given: Json) -> None:
        with self.lock:
            self._api(kind)
            check_needs(kind, given, self.state, self.policies)
            if is_policy(kind):
                self.policies.write(kind, values)
            else:
                self._keep(kind, values)
            self.writes.append(f"update {kind}")

    def delete(self, kind: str, values: Json) -> None:
        with self.lock:
            if kind == "google_project_service" and values["disable_on_destroy"] is False:
                return
            self._api(kind)
            if is_policy(kind):
                self.policies.delete(kind, values)
            else:
                self._end(kind, values)
            self.writes.append(f"delete {kind}")

    def _api(self, kind: str) -> None:
        api = api_of(kind)
        if api in self.state["apis"]:
            return
        short = api.partition(".")[0]
        text = (
            f"googleapi: Error 403: {_TITLES.get(short, short)} API has not been used in project {NUMBER} before or it is "
            f"disabled. Enable it by visiting https://console.developers.google.com/apis/api/{api}/overview?project={NUMBER} "
            "then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems "
            "and retry., accessNotConfigured: SERVICE_DISABLED"
        )
        if "custom_role" in kind:
            text = f"Unable to verify whether custom role already exists and must be undeleted: {text}"
        raise Refused(text)

    def _make(self, kind: str, values: Json) -> None:
        key = key_of(kind, values)
        found = self.state["things"].get(key)
        match kind:
            case "google_logging_project_bucket_config" if found:
                pass  # Google's provider changes a bucket that is there, in whatever state
            case "google_organization_iam_custom_role" | "google_project_iam_custom_role" if found:
                if not found.pop("deleted", False):
                    raise Refused(f"Custom role {values['role_id']} already exists and must be imported")
            case _ if found and kind not in _ANEW:
                raise Refused(f"googleapi: Error 409: {key} already exists, alreadyExists")
        self._keep(kind, values, new=found is None)
        if writer := values.get("writer_identity"):
            self.policies.agents.add(writer.removeprefix("serviceAccount:"))
        if kind == "google_eventarc_trigger":
            name = values["transport"][0]["pubsub"][0]["subscription"].rpartition("/")[2]
            self.state["things"][f"pubsub subscriptions projects/{PROJECT} {name}"] = {"flags": {}}

    def _keep(self, kind: str, values: Json, *, new: bool = False) -> None:
        things, key = self.state["things"], key_of(kind, values)
        if not new and key not in things:
            raise Refused(f"googleapi: Error 404: {key} was not found, notFound")
        if not new and things[key].get("deleted"):
            raise Refused(
                f"googleapi: Error 400: Buckets must be in an ACTIVE state to be modified: {key}, failedPrecondition: FAILED_PRECONDITION"
            )
        thing: Json = things.setdefault(key, {"kind": kind, "flags": {}})
        thing["values"] = values
        if values.get("locked"):
            thing["locked"] = True
        if values.get("delete_protection_state") == "DELETE_PROTECTION_ENABLED":
            thing["flags"] = {"delete-protection": ""}

    def _end(self, kind: str, values: Json) -> None:
        things, key = self.state["things"], key_of(kind, values)
        thing = things.get(key)
        if values.get("deletion_policy") == "ABANDON" or thing is None or thing.get("deleted"):
            return
        if kind.startswith("google_cloud_run") and values["deletion_protection"] is not False:
            raise Refused(f"cannot destroy {key} without setting deletion_protection=false")
        if thing.get("locked") or "delete-protection" in thing["flags"]:
            raise Refused(f"googleapi: Error 400: {key} is protected, failedPrecondition: FAILED_PRECONDITION")
        if kind == "google_storage_bucket" and thing.get("objects") and not values["force_destroy"]:
            raise Refused("Error trying to delete bucket containing objects without `force_destroy` set to true")
        if kind == "google_tags_tag_key" and any(each.startswith("google_tags_tag_value") for each in things):
            raise Refused("googleapi: Error 400: Cannot delete tag key still attached to resources, failedPrecondition")
        if kind in _LASTING:
            thing["deleted"] = True
        else:
            del things[key]
        if kind == "google_artifact_registry_repository":
            self.state["images"] = {}
        if kind == "google_eventarc_trigger":
            name = values["transport"][0]["pubsub"][0]["subscription"].rpartition("/")[2]
            del things[f"pubsub subscriptions projects/{PROJECT} {name}"]
