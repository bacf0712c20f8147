"""The allow policies of a stand-in cloud: who holds what where, and since when."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.deploy.paper import NUMBER, PROJECT
from tests.deploy.paper_clock import Clock

Json = dict[str, Any]
COUNTS_AFTER = 120.0
"""Seconds until a grant counts. Source: "Access change propagation" (IAM): typically two minutes."""
_TARGETS = (
    "topic", "subscription", "bucket", "repository", "secret_id", "service_account_id", "cloud_run_service_name", "name",
    "folder", "org_id", "project",
)  # fmt: skip
_PLACES = {
    "google_project": "projects", "google_pubsub_subscription": "pubsub subscriptions",
}  # fmt: skip
"""The places whose policies gcloud changes too, as the stand-in gcloud names them."""


class Refused(Exception):
    """Google Cloud's answer to a request that it does not carry out."""


def is_policy(kind: str) -> bool:
    return re.search(r"_iam_(member|binding)$", kind) is not None


def place_of(base: str, values: Json) -> str:
    """The place whose policy this is: `projects remediate-ops`."""
    target = next(values[each] for each in _TARGETS if values.get(each))
    return f"{_PLACES.get(base, base)} {target.rpartition('/')[2]}"


class Policies:
    """All allow policies, in the stand-in gcloud's form: rows of place, role, member and condition."""

    def __init__(self, state: Json, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._since: dict[str, float] = {}
        self.agents: set[str] = set()
        """Google's own identities that exist by now."""

    def read(self, kind: str, values: Json) -> Json | None:
        held = self._held(kind, values)
        if "member" in values:
            return values if values["member"] in held else None
        if not held:
            return None
        return values if held == set(values["members"]) else values | {"members": sorted(held)}

    def write(self, kind: str, values: Json) -> None:
        members = values.get("members") or [values["member"]]
        for member in members:
            self._check(values["role"], member)
        if "members" in values:
            self._drop(kind, values, self._held(kind, values) - set(members))
        for member in members:
            row = self._row(kind, values, member)
            if row not in self._state["grants"]:
                self._state["grants"].append(row)
        self.note()

    def delete(self, kind: str, values: Json) -> None:
        self._drop(kind, values, set(values.get("members") or [values["member"]]))

    def note(self) -> None:
        """Remember since when each grant is there, whoever made it."""
        rows = {json.dumps(each) for each in self._state["grants"]}
        self._since = {each: self._since.get(each, self._clock.now) for each in rows}

    def counts(self, place: str, role: str, member: str) -> bool:
        """Whether a grant is there, and was made long enough ago."""
        return any(
            json.loads(row)[:3] == [place, role, member] and self._clock.now - since >= COUNTS_AFTER
            for row, since in self._since.items()
        )

    def _check(self, role: str, member: str) -> None:
        things = self._state["things"]
        if (found := re.fullmatch(r"((?:projects|organizations)/[^/]+)/roles/(\w+)", role)) and not any(
            key == f"iam roles {found[1]} {found[2]}" and not each.get("deleted") for key, each in things.items()
        ):
            raise Refused(f"Error 400: Role {role} does not exist in the resource's hierarchy., badRequest")
        email = member.removeprefix("serviceAccount:")
        ours = email.endswith(f"@{PROJECT}.iam.gserviceaccount.com")
        theirs = re.search(rf"@gcp-sa-\w+\.|service-{NUMBER}@", email) is not None
        known = f"iam service-accounts projects/{PROJECT} {email}" in things if ours else email in self.agents
        if (ours or theirs) and not known:
            raise Refused(f"Error 400: Service account {email} does not exist., badRequest")

    def _row(self, kind: str, values: Json, member: str) -> list[str]:
        base = re.sub(r"_iam_(member|binding)$", "", kind)
        condition = json.dumps(values["condition"], sort_keys=True) if values.get("condition") else "None"
        return [place_of(base, values), values["role"], member, condition]

    def _held(self, kind: str, values: Json) -> set[str]:
        place, role, _, condition = self._row(kind, values, "")
        rows = self._state["grants"]
        return {each[2] for each in rows if [*each[:2], each[3]] == [place, role, condition]}

    def _drop(self, kind: str, values: Json, members: set[str]) -> None:
        gone = [self._row(kind, values, each) for each in members]
        self._state["grants"] = [each for each in self._state["grants"] if each not in gone]
        self.note()
