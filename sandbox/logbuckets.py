"""The log buckets that the installation's sinks fill, and the views by which they are read.

As in Google Cloud, a sink copies what is written from then on, and an entry keeps its own `logName`. Unlike there, a
bucket keeps its entries until the sandbox ends, and anyone may read its views.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from sandbox.deployment_apis import DeploymentApis
from sandbox.errors import refuse
from sandbox.logfilter import Predicate, compile_filter
from sandbox.organization import Organization

Json = dict[str, Any]
VIEW = re.compile(r"(projects/[^/]+/locations/[^/]+/buckets/[^/]+)/views/[^/]+")
_SINK = re.compile(r"/v2/((?:projects|folders|organizations)/[^/]+)/sinks/[^/]+")
_SERVICE = "logging.googleapis.com"


class LogBuckets:
    """What the sinks in these resources kept, by bucket."""

    def __init__(self, deployment: DeploymentApis, organization: Organization) -> None:
        self._deployment = deployment
        self._organization = organization
        self._kept: dict[str, list[Json]] = {}

    def keep(self, entry: Json) -> None:
        """Copy the entry to each bucket that a sink leads it to, once."""
        for bucket in {bucket for bucket, select in self._sinks_over(entry) if select(entry)}:
            self._kept.setdefault(bucket, []).append(entry)

    def _sinks_over(self, entry: Json) -> Iterator[tuple[str, Predicate]]:
        """The bucket and the filter of each sink that the entry passes by."""
        project = self._organization.project_ids.get(str(entry["logName"]).split("/")[1], "")
        above = [node.name for node in self._organization.chain(f"projects/{project}")]
        resources = self._deployment.resources
        for path, resource in resources.items():
            service, _, bucket = str(resource.get("destination", "")).partition("/")
            found = _SINK.fullmatch(path)
            reached = above if resource.get("includeChildren") else above[:1]
            runs = service == _SERVICE and f"/v2/{bucket}" in resources and not resource.get("disabled")
            if found and found[1] in reached and runs:
                yield bucket, _compiled(resource.get("filter", ""))

    def read(self, view: str) -> list[Json]:
        """The entries of a view, oldest first. Raises ApiError (NOT_FOUND) if there is no such view."""
        found, resources = VIEW.fullmatch(view), self._deployment.resources
        whole = found and view.endswith("/_AllLogs") and f"/v2/{found[1]}" in resources  # every bucket has this one
        if not found or not (whole or f"/v2/{view}" in resources):
            refuse("NOT_FOUND", f"View {view.rpartition('/')[2]} does not exist")
        return self._kept.get(found[1], [])


@cache
def _compiled(text: str) -> Predicate:
    return compile_filter(text)
