"""A gcloud with a memory, for install.sh: what was created is there, and what was deleted is gone, or gone in seven days.

It is as strict as Google Cloud where an install stumbles: an API is off until it is enabled, a right counts only after a while, a
deleted role or log bucket cannot be created again, and a locked or protected thing cannot be deleted. It runs as a script;
`GCLOUD_STATE` is the file that it remembers in.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]
DENIED_BUILDS = 2
"""How often the builder's new rights do not count yet."""
VERBS = (
    "create", "deploy", "describe", "delete", "update", "undelete", "add-iam-policy-binding", "remove-iam-policy-binding",
    "submit", "set-cleanup-policies", "enable", "add", "list", "rm", "print-access-token",
)  # fmt: skip
APIS = {
    "artifacts": "artifactregistry", "builds": "cloudbuild", "eventarc": "eventarc", "firestore": "firestore", "iam": "iam",
    "iap": "iap", "logging": "logging", "pubsub": "pubsub", "run": "run", "scheduler": "cloudscheduler",
    "secrets": "secretmanager", "storage": "storage",
}  # fmt: skip
LASTING = ("iam roles", "logging buckets")
"""What stays deleted for seven days."""


def fail(text: str) -> NoReturn:
    print(f"ERROR: {text}", file=sys.stderr)
    sys.exit(1)


class Standin:
    """One call: the words before and after the verb, and the flags."""

    def __init__(self, state: Json, arguments: list[str]) -> None:
        self.state = state
        words = [each for each in arguments if not each.startswith("--")]
        self.flags = {each[2:].partition("=")[0]: each.partition("=")[2] for each in arguments if each.startswith("--")}
        at = next((at for at, word in enumerate(words) if word in VERBS), None)
        if at is None:
            fail(f"the stand-in knows no such command: {words}")
        self.verb, self.names = words[at], words[at + 1 :]
        self.kind = " ".join(each for each in words[:at] if each != "beta")
        if self.kind == "run":
            self.kind = "run services"
        place = next(
            (f"{each}s/{self.flags[each]}" for each in ("organization", "folder", "project") if each in self.flags), ""
        )
        name = self.names[0] if self.names else self.flags.get("database", "")
        if self.kind.startswith("resource-manager tags") and "parent" in self.flags:
            name = f"{self.flags['parent'].removeprefix('organizations/')}/{name}"
        self.key = f"{self.kind} {place} {name}"

    def run(self) -> str:
        api = APIS.get(self.kind.split()[0])
        if api and f"{api}.googleapis.com" not in self.state["apis"]:
            fail(f"SERVICE_DISABLED: {api} API has not been used in project before or it is disabled")
        method = getattr(self, f"_{self.verb.replace('-', '_')}", None)
        if method is None:
            return ""
        return str(method() or "")

    @property
    def _things(self) -> Json:
        things: Json = self.state["things"]
        return things

    def _thing(self) -> Json:
        if self.key not in self._things:
            fail(f"NOT_FOUND: {self.key} was not found")
        thing: Json = self._things[self.key]
        return thing

    def _enable(self) -> None:
        self.state["apis"] = sorted({*self.state["apis"], *self.names})

    def _print_access_token(self) -> str:
        return "token"

    def _create(self) -> None:
        if self.kind == "services identity":
            return
        if self.kind == "firestore indexes composite":
            self.key += json.dumps(self.flags, sort_keys=True)
        elif self.kind == "iam service-accounts":
            self.key += f"@{self.flags['project']}.iam.gserviceaccount.com"
        elif self.kind == "scheduler jobs":
            self.key = self.key.replace(" http", f" {self.names[1]}")
        elif self.kind == "logging sinks":
            self._into_a_bucket()
        if self.key in self._things:
            deleted = self._things[self.key].get("deleted")
            fail(f"ALREADY_EXISTS: {self.key}" + (" is deleted and can be undeleted" if deleted else ""))
        self._things[self.key] = {
            "flags": {name: value for name, value in self.flags.items() if name not in ("quiet", "project")}
        }
        if self.kind == "eventarc triggers":
            self._things[f"pubsub subscriptions projects/{self.flags['project']} eventarc-{self.names[0]}"] = {}

    def _into_a_bucket(self) -> None:
        bucket = self.names[1].rpartition("/buckets/")[2]
        if "/buckets/" in self.names[1]:
            found = [
                each for key, each in self._things.items() if key.endswith(f" {bucket}") and "logging buckets" in key
            ]
            if not found or found[0].get("deleted"):
                fail(f"FAILED_PRECONDITION: {bucket} takes no entries")

    def _deploy(self) -> None:
        image = self.flags["image"]
        images: dict[str, Json] = self.state["images"]
        if image not in [each["digest"] for each in images.values()]:
            fail(f"Image {image!r} not there")
        self._things[self.key] = {"flags": self.flags}

    def _submit(self) -> None:
        self.state["builds"] += 1
        if self.state["builds"] <= DENIED_BUILDS:
            fail("could not resolve source: Error 403: storage.objects.get")
        image = self.flags["substitutions"].partition("=")[2]
        self.state["images"][image] = {"digest": f"{image.rpartition(':')[0]}@sha256:{self.state['builds']:064x}"}

    def _describe(self) -> str:
        form = self.flags.get("format", "")
        if self.kind == "projects":
            return "987654321098"
        if self.kind == "resource-manager folders":
            return "organizations/400000000001"
        if self.kind == "artifacts docker images":
            if self.names[0] not in self.state["images"]:
                fail("Image not found")
            return str(self.state["images"][self.names[0]]["digest"])
        thing = self._thing()
        if "writerIdentity" in form:
            place = "-".join(self.key.split()[2].split("s/"))
            return f"serviceAccount:service-{place}@gcp-sa-logging.iam.gserviceaccount.com"
        if "subscription" in form:
            return f"eventarc-{self.names[0]}"
        deleted = bool(thing.get("deleted"))
        state = "DELETE_REQUESTED" if deleted else "ACTIVE"
        return {
            "value(deleted)": "True" if deleted else "",
            "value(lifecycleState)": state,
            "value(locked,lifecycleState)": f"{'True' if thing.get('locked') else ''}\t{state}",
        }.get(form, self.key)

    def _update(self) -> None:
        thing = self._thing()
        if thing.get("deleted"):
            fail(f"FAILED_PRECONDITION: {self.key} is deleted")
        if self.kind == "logging sinks":
            self._into_a_bucket()
        if "no-delete-protection" in self.flags:
            thing["flags"].pop("delete-protection", None)

    def _undelete(self) -> None:
        if not self._thing().pop("deleted", False):
            fail(f"FAILED_PRECONDITION: {self.key} is not deleted")

    def _delete(self) -> None:
        thing = self._thing()
        if thing.get("deleted") or thing.get("locked") or "delete-protection" in thing.get("flags", {}):
            fail(f"FAILED_PRECONDITION: {self.key} cannot be deleted")
        if self.kind in LASTING:
            thing["deleted"] = True
        else:
            del self._things[self.key]
        for key in list(self._things):
            if (
                key
                == f"pubsub subscriptions projects/{self.flags.get('project')} eventarc-{self.names and self.names[0]}"
            ):
                del self._things[key]
                self._without_policy(f"pubsub subscriptions eventarc-{self.names[0]}")
            elif self.kind == "firestore databases" and key.startswith("firestore "):
                del self._things[key]
        if self.kind == "artifacts repositories":
            self.state["images"] = {}
        self._without_policy(f"{self.kind} {self.names[0] if self.names else ''}")

    def _without_policy(self, place: str) -> None:
        self.state["grants"] = [each for each in self.state["grants"] if each[0] != place]

    def _rm(self) -> None:
        self.kind = "storage buckets"
        self.key = self.key.replace("storage ", "storage buckets ", 1)
        if self.key not in self._things:
            fail(f"The following URLs matched no objects or files:\n{self.names[0]}")
        self._delete()

    def _list(self) -> str:
        return "1" if f"secrets versions {self.names[0]}" in self._things else ""

    def _add(self) -> None:
        sys.stdin.read()
        self._things[f"secrets versions {self.names[0]}"] = {}

    def _grant(self) -> list[str]:
        place = f"{self.kind} {self.names[0] if self.names else self.flags['service']}"
        return [place, self.flags["role"], self.flags["member"], self.flags.get("condition", "None")]

    def _add_iam_policy_binding(self) -> None:
        grant = self._grant()
        if grant not in self.state["grants"]:
            self.state["grants"].append(grant)

    def _remove_iam_policy_binding(self) -> None:
        grant = self._grant()
        left = [
            each
            for each in self.state["grants"]
            if each[:3] != grant[:3] or not ("all" in self.flags or each[3] == grant[3])
        ]
        if left == self.state["grants"]:
            fail("Policy binding with the specified principal, role, and condition not found!")
        self.state["grants"] = left


def main() -> None:
    path = Path(os.environ["GCLOUD_STATE"])
    state: Json = {"apis": [], "things": {}, "grants": [], "images": {}, "builds": 0, "denied": ""}
    if path.exists():
        state = json.loads(path.read_text())
    output = ""
    try:
        if state["denied"] and state["denied"] in " ".join(sys.argv[1:]):
            fail(f"PERMISSION_DENIED: {state['denied']} (or it may not exist)")
        output = Standin(state, sys.argv[1:]).run()
    finally:
        path.write_text(json.dumps(state, indent=0, sort_keys=True))
    print(output)


if __name__ == "__main__":
    main()
