"""What the checks are functions of: the facts of one installation, of its ledger, and of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from remediate.doctor.environment import environment
from remediate.doctor.names import ResourceNames
from remediate.doctor.resources import (
    AllowPolicy,
    Fact,
    LogSink,
    ProjectAncestry,
    RunJob,
    RunService,
    Subscription,
    Trigger,
)
from remediate.settings import Settings

_T = TypeVar("_T")
FactKey = tuple[type[Any], str]
"""The shape of a fact, and the name of the resource that it is about."""


@dataclass(frozen=True)
class LedgerFacts:
    """The ledger that the service uses, or that the local commands use where there is no service."""

    url: str
    schema: int | None
    """None where the ledger does not exist yet, or could not be read."""
    newest: int
    """The schema that this version writes."""
    fault: str = ""
    """Why the ledger could not be read; empty where it could."""
    refused: bool = False
    """The fault is a missing permission."""


@dataclass(frozen=True)
class LocalFacts:
    """This machine's environment and settings."""

    environ: Mapping[str, str]
    settings: Settings | None
    problems: tuple[str, ...] = ()
    """What is wrong with the settings, a line each; `settings` is None then."""
    policy_fault: str = ""


@dataclass(frozen=True)
class Snapshot:
    """The facts of one installation by shape and resource name. What this kind of installation lacks has no fact."""

    names: ResourceNames
    local: bool
    """The endpoints are a Google Cloud on this machine."""
    facts: Mapping[FactKey, Any]

    def get(self, kind: type[_T], name: str) -> Fact[_T] | None:
        """The fact of this shape about this resource; None where it was not collected."""
        fact: Fact[_T] | None = self.facts.get((kind, name))
        return fact

    def all(self, kind: type[_T]) -> dict[str, Fact[_T]]:
        """Every fact of this shape, by resource name."""
        return {name: fact for (each, name), fact in self.facts.items() if each is kind}

    @property
    def receiver(self) -> Fact[RunService] | None:
        return self.get(RunService, self.names.service("receiver"))

    @property
    def review(self) -> Fact[RunService] | None:
        return self.get(RunService, self.names.service("review"))

    @property
    def writer(self) -> Fact[RunService] | None:
        return self.get(RunService, self.names.service("writer"))

    @property
    def sweep(self) -> Fact[RunJob] | None:
        return self.get(RunJob, self.names.job())

    @property
    def due(self) -> Fact[RunJob] | None:
        """The job that sweeps what is due."""
        return self.get(RunJob, self.names.job("due"))

    @property
    def project(self) -> Fact[ProjectAncestry] | None:
        return self.get(ProjectAncestry, self.names.project_path)

    @property
    def ancestors(self) -> tuple[str, ...]:
        """The folders and the organization above the project, nearest first."""
        return self.project.ancestors if isinstance(self.project, ProjectAncestry) else ()

    @property
    def pushes(self) -> bool:
        """Whether a push subscription delivers, and not Eventarc."""
        return isinstance(self.get(Subscription, self.names.push_subscription), Subscription)

    @property
    def event_subscriptions(self) -> dict[str, list[str]]:
        """The subscriptions that deliver, each with the triggers for which Eventarc made it."""
        found: dict[str, list[str]] = {self.names.push_subscription: []} if self.pushes else {}
        for name, trigger in self.all(Trigger).items():
            if isinstance(trigger, Trigger) and (subscription := trigger.transport.pubsub.subscription):
                found.setdefault(subscription, []).append(name)
        return found

    @property
    def trail_bucket(self) -> str:
        """The log bucket that the trail's sink writes to; empty where it writes elsewhere."""
        sink = self.get(LogSink, self.names.trail_sink)
        service, _, name = sink.destination.partition("/") if isinstance(sink, LogSink) else ("", "", "")
        return name if service == "logging.googleapis.com" else ""

    @property
    def log_view(self) -> str:
        """The log view that the receiver reads entries back from; empty where it reads the projects' own logs."""
        return environment(self.receiver).get("REMEDIATE_LOG_VIEW", "")

    @property
    def policies(self) -> dict[str, Fact[AllowPolicy] | None]:
        """The allow policies of the project, of what is watched, and of the project's ancestors."""
        places = dict.fromkeys((self.names.project_path, *self.names.watched_scopes, *self.ancestors))
        return {place: self.get(AllowPolicy, place) for place in places}

    @property
    def inherited_policies(self) -> dict[str, AllowPolicy]:
        """The allow policies that apply to every resource of the project: its own and its ancestors'."""
        found = ((place, self.get(AllowPolicy, place)) for place in (self.names.project_path, *self.ancestors))
        return {place: policy for place, policy in found if isinstance(policy, AllowPolicy)}
