"""Collects the facts that the checks read from Google Cloud. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from typing import Any

import msgspec

from remediate.doctor import resources as gcp
from remediate.doctor.environment import environment, firestore_path
from remediate.doctor.names import IDENTITIES, QUOTA_APIS, ResourceNames
from remediate.doctor.queries import Queries
from remediate.doctor.resource_api import ResourceApi
from remediate.doctor.resources import Absent, AllowPolicy, Fact, Unknown, bindings
from remediate.doctor.snapshot import FactKey, Snapshot

_SCOPE = re.compile(r"--scope(?:=|\Z)")
_PARALLEL = 8  # queries


class FactCollector:
    """Collects the facts of one installation. `advance` gets the numbers of answered queries and of all so far."""

    def __init__(
        self, cloud: ResourceApi, now: datetime, advance: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self._cloud = cloud
        self._now = now
        self._advance = advance

    def resolve_scopes(self, names: ResourceNames, organization: str | None) -> ResourceNames | Unknown | Absent:
        """Fill in what the installation watches: its sweep's scopes, else its organization, else its own project.

        Unknown where the sweep cannot be read, as every check of the wrong scope would fail; Absent where there is
        neither a sweep nor a receiver.
        """
        queries = Queries(self._cloud, names, self._now)
        job: Fact[gcp.RunJob] = queries.read(gcp.RunJob, names.job())
        if isinstance(job, Unknown):
            return job
        scopes = _sweep_scopes(job) if isinstance(job, gcp.RunJob) else ()
        receiver: Fact[gcp.RunService] = queries.read(gcp.RunService, names.service("receiver"))
        if isinstance(receiver, gcp.RunService):
            organization = environment(receiver).get("REMEDIATE_ORGANIZATION", "").rpartition("/")[2] or organization
        elif not scopes and (organization is None or isinstance(job, Absent)):
            return receiver
        scopes = scopes or ((f"organizations/{organization}",) if organization else ())
        return msgspec.structs.replace(names, scopes=scopes)

    def collect(self, names: ResourceNames, *, local: bool) -> Snapshot:
        """Every fact, in three rounds: what an answer names is read in the next round."""
        queries = Queries(self._cloud, names, self._now)
        facts: dict[FactKey, Fact[Any]] = {}
        snapshot = Snapshot(names, local, facts)
        with ThreadPoolExecutor(_PARALLEL, "collect") as pool:
            for keys in (_installed_keys, _referenced_keys, _role_keys):
                futures = {pool.submit(queries.read, *key): key for key in dict.fromkeys(keys(snapshot))}
                for done, _ in enumerate(as_completed(futures), len(facts) + 1):
                    self._advance(done, len(facts) + len(futures))
                facts |= {key: future.result() for future, key in futures.items()}
        return snapshot


def _installed_keys(snapshot: Snapshot) -> Iterable[FactKey]:
    """What the Terraform module installs under fixed names."""
    names = snapshot.names
    if names.has_sinks:
        yield from ((gcp.LogSink, names.sink(scope)) for scope in names.watched_scopes)
        yield from ((gcp.PubSubTopic, names.topic), (AllowPolicy, names.topic))
    for service in map(names.service, ("receiver", "review", "writer")):
        yield from ((gcp.RunService, service), (AllowPolicy, service))
    for task in ("sweep", "due"):
        yield from ((kind, names.job(task)) for kind in (gcp.RunJob, AllowPolicy, gcp.SchedulerJob))
    yield (AllowPolicy, names.iap)
    yield from ((kind, names.project_path) for kind in (gcp.ProjectAncestry, gcp.ApiStates, AllowPolicy))
    yield from ((gcp.Trigger, name) for name in names.triggers)
    yield from ((kind, names.push_subscription) for kind in (gcp.Subscription, AllowPolicy))
    yield from ((gcp.PubSubTopic, names.dead_letter_topic), (AllowPolicy, names.dead_letter_topic))
    yield from ((gcp.Subscription, each) for each in (names.dead_letter_subscription, names.approvals_subscription))
    yield from ((kind, names.approvals_topic) for kind in (gcp.PubSubTopic, AllowPolicy))
    yield (gcp.Measurements, f"{names.dead_letter_subscription}:num_undelivered_messages")
    yield (gcp.LogSink, names.trail_sink)
    for task in IDENTITIES:
        yield from ((kind, names.account_name(task)) for kind in (gcp.ServiceAccount, AllowPolicy, gcp.AccountKeys))
    yield from ((gcp.Measurements, f"{api}:{metric}") for api in QUOTA_APIS for metric in ("rate/net_usage", "limit"))


def _referenced_keys(snapshot: Snapshot) -> Iterable[FactKey]:
    """What the answers of the first round refer to."""
    names = snapshot.names
    yield from ((AllowPolicy, place) for place in snapshot.policies if place != snapshot.names.project_path)
    for name in snapshot.event_subscriptions:
        yield from ((gcp.Subscription, name), (AllowPolicy, name))
        yield (gcp.Measurements, f"{name}:oldest_unacked_message_age")
    if snapshot.trail_bucket:
        yield (gcp.LogBucket, snapshot.trail_bucket)
    if names.has_sinks and snapshot.log_view:
        yield from ((kind, snapshot.log_view) for kind in (gcp.LogView, AllowPolicy))
        yield (gcp.LogBucket, snapshot.log_view.partition("/views/")[0])
        yield from ((gcp.LogSink, names.view_sink(scope)) for scope in names.watched_scopes)
    settings = environment(snapshot.receiver)
    if path := firestore_path(settings.get("REMEDIATE_LEDGER", "")):
        yield from ((gcp.Database, path), (gcp.Indexes, path))
    if tag := settings.get("REMEDIATE_OPT_IN_TAG", "").partition(",")[0]:  # a second value has the same key
        yield (gcp.TagValue, tag)


def _role_keys(snapshot: Snapshot) -> Iterable[FactKey]:
    """The roles that our identities hold, and the custom roles on the topic."""
    ours = {f"serviceAccount:{snapshot.names.account(task)}" for task in IDENTITIES}
    for policy in snapshot.policies.values():
        yield from ((gcp.IamRole, each.role) for each in bindings(policy) if ours & {*each.members})
    on_topic = bindings(snapshot.get(AllowPolicy, snapshot.names.topic))
    yield from ((gcp.IamRole, each.role) for each in on_topic if not each.role.startswith("roles/"))


def _sweep_scopes(job: gcp.RunJob) -> tuple[str, ...]:
    """The value of each `--scope` in the sweep's arguments."""
    words = [word for container in job.template.template.containers for word in container.args]
    pairs = zip(words, [*words[1:], ""], strict=True)
    scopes = [after if word == "--scope" else word.partition("=")[2] for word, after in pairs if _SCOPE.match(word)]
    return tuple(dict.fromkeys(each for each in scopes if each))
