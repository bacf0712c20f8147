"""Surveys an installation: asks Google Cloud for every fact that the checks look at, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

import msgspec

from remediate.doctor import resources as facts
from remediate.doctor.environment import environment, firestore_path
from remediate.doctor.names import IDENTITIES, Site
from remediate.doctor.queries import Questions, Reads
from remediate.doctor.resources import AllowPolicy, Fact
from remediate.doctor.snapshot import Installation

_T = TypeVar("_T")
_P = ParamSpec("_P")
_SCOPE = re.compile(r"--scope(?:=|\Z)")
_AT_ONCE = 8  # questions
QUOTAS = (
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
)
"""The APIs that decisions call, whose quotas they use up."""


class Survey:
    """The survey of one installation. `advance` hears how many questions are answered, of how many so far."""

    def __init__(self, cloud: Reads, now: datetime, advance: Callable[[int, int], None] = lambda *_: None) -> None:
        self._questions = Questions(cloud, now)
        self._advance = advance
        self._answered = self._asked = 0

    def scoped(self, site: Site, organization: str | None) -> Site | facts.Unknown | facts.Absent:
        """The site with the scopes it watches: what its sweep is told, else its organization, else its own project.

        Unknown where the sweep cannot be seen, as the wrong scope would make wrong of everything that is right; Absent
        where there is neither a sweep nor a receiver.
        """
        job = self._questions.job(site)
        if isinstance(job, facts.Unknown):
            return job
        said = _told_scopes(job) if isinstance(job, facts.Job) else ()
        receiver = self._questions.service(site, "receiver")
        if isinstance(receiver, facts.Service):
            told = environment(receiver).get("REMEDIATE_ORGANIZATION", "").rpartition("/")[2]
            organization = told or organization
        elif not said and (organization is None or isinstance(job, facts.Absent)):
            return receiver
        return msgspec.structs.replace(
            site, scopes=said or ((f"organizations/{organization}",) if organization else ())
        )

    def installation(self, site: Site, *, local: bool) -> Installation:
        """Every fact. What the answers of the first round name is asked for in the second."""
        ask, here = self._questions, site.here
        with ThreadPoolExecutor(_AT_ONCE, "survey") as self._pool:
            watched = site.watched if site.by_sink else ()
            sinks = {scope: self._put(ask.sink, site.sink(scope)) for scope in watched}
            topic = self._put(ask.topic, site, site.topic) if site.by_sink else None
            topic_policy = self._put(ask.pubsub_policy, site, site.topic, "topics") if site.by_sink else None
            first = [self._put(ask.service, site, task) for task in ("receiver", "review")]
            called = (site.service("receiver"), site.service("review"), site.job)
            callers = [self._put(ask.run_policy, site, name) for name in called]
            project = self._put(ask.project, site.project)
            triggers = {name: self._put(ask.trigger, site, name) for name in site.triggers}
            sweep, schedule = self._put(ask.job, site), self._put(ask.schedule, site)
            apis, iap_policy = self._put(ask.apis, site), self._put(ask.iap_policy, site)
            dead_topic = self._put(ask.topic, site, site.dead_letter_topic)
            dead_policy = self._put(ask.pubsub_policy, site, site.dead_letter_topic, "topics")
            dead_subscription = self._put(ask.subscription, site, site.dead_letter_subscription)
            dead = self._put(ask.measured, site, "num_undelivered_messages", site.dead_letter_subscription)
            trail_sink = self._put(ask.sink, site.trail_sink)
            policies = {here: self._put(ask.policy, here)}
            accounts = {who: self._put(ask.account, site, who) for who in IDENTITIES}
            acting = {who: self._put(ask.account_policy, site, who) for who in IDENTITIES}
            keys = {who: self._put(ask.keys, site, who) for who in IDENTITIES}
            used = {api: self._put(ask.quota, site, api, "rate/net_usage") for api in QUOTAS}
            limits = {api: self._put(ask.quota, site, api, "limit") for api in QUOTAS}

            receiver, known_project = first[0].result(), project.result()
            names = _subscriptions(each.result() for each in triggers.values())
            above = known_project.ancestors if isinstance(known_project, facts.ProjectFacts) else ()
            policies |= {place: self._put(ask.policy, place) for place in (*site.watched, *above) if place != here}
            kept = {name: self._put(ask.subscription, site, name) for name in names}
            kept_policies = {name: self._put(ask.pubsub_policy, site, name, "subscriptions") for name in names}
            backlogs = {name: self._put(ask.measured, site, "oldest_unacked_message_age", name) for name in names}
            bucket_name = _bucket(trail_sink.result())
            bucket = self._put(ask.bucket, bucket_name) if bucket_name else None
            said = environment(receiver) if isinstance(receiver, facts.Service) else {}
            path = firestore_path(said.get("REMEDIATE_LEDGER", ""))
            tag_name = (said.get("REMEDIATE_OPT_IN_TAG") or "").partition(",")[0]  # a second value has the same key
            database = self._put(ask.database, path) if path else None
            indexes = self._put(ask.indexes, path) if path else None
            tag = self._put(ask.tag, site, tag_name) if tag_name else None

            known = _results(policies)
            held = dict.fromkeys([*_held(site, known.values()), *_custom(_result(topic_policy))])
            roles = {role: self._put(ask.role, site, role) for role in held}
            return Installation(
                site=site,
                local=local,
                project=known_project,
                apis=apis.result(),
                receiver=receiver,
                review=first[1].result(),
                sweep=sweep.result(),
                schedule=schedule.result(),
                receiver_policy=callers[0].result(),
                review_policy=callers[1].result(),
                sweep_policy=callers[2].result(),
                iap_policy=iap_policy.result(),
                sinks=_results(sinks),
                topic=_result(topic),
                topic_policy=_result(topic_policy),
                triggers=_results(triggers),
                subscriptions=_results(kept),
                subscription_policies=_results(kept_policies),
                backlogs=_results(backlogs),
                dead_letter_topic=dead_topic.result(),
                dead_letter_policy=dead_policy.result(),
                dead_letter_subscription=dead_subscription.result(),
                dead_letters=dead.result(),
                trail_sink=trail_sink.result(),
                trail_bucket=_result(bucket),
                database=_result(database),
                indexes=_result(indexes),
                tag=_result(tag),
                quota_used=_results(used),
                quota_limits=_results(limits),
                accounts=_results(accounts),
                keys=_results(keys),
                account_policies=_results(acting),
                policies=known,
                roles=_results(roles),
            )

    def _put(self, question: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Ask in the background."""
        self._asked += 1
        future = self._pool.submit(partial(question, *args, **kwargs))
        future.add_done_callback(self._heard)
        return future

    def _heard(self, _: object) -> None:
        self._answered += 1
        self._advance(self._answered, self._asked)


def _told_scopes(job: facts.Job) -> tuple[str, ...]:
    """What follows each `--scope` in the arguments of the sweep."""
    words = [word for container in job.template.template.containers for word in container.args]
    pairs = zip(words, [*words[1:], ""], strict=True)
    said = [after if word == "--scope" else word.partition("=")[2] for word, after in pairs if _SCOPE.match(word)]
    return tuple(dict.fromkeys(each for each in said if each))


def _subscriptions(triggers: Iterable[Fact[facts.Trigger]]) -> list[str]:
    named = [each.transport.pubsub.subscription for each in triggers if isinstance(each, facts.Trigger)]
    return list(dict.fromkeys(name for name in named if name))


def _bucket(sink: Fact[facts.Sink]) -> str | None:
    service, _, name = sink.destination.partition("/") if isinstance(sink, facts.Sink) else ("", "", "")
    return name if service == "logging.googleapis.com" and name else None


def _held(site: Site, policies: Iterable[Fact[AllowPolicy]]) -> list[str]:
    """The roles that our identities hold anywhere above."""
    ours = {f"serviceAccount:{site.account(who)}" for who in IDENTITIES}
    known = [policy for policy in policies if isinstance(policy, AllowPolicy)]
    return list(dict.fromkeys(each.role for policy in known for each in policy.bindings if ours & set(each.members)))


def _custom(policy: Fact[AllowPolicy] | None) -> list[str]:
    """The custom roles that anybody holds by this policy."""
    bindings = policy.bindings if isinstance(policy, AllowPolicy) else ()
    return [each.role for each in bindings if not each.role.startswith("roles/")]


def _results(futures: Mapping[str, Future[_T]]) -> dict[str, _T]:
    return {name: future.result() for name, future in futures.items()}


def _result(future: Future[_T] | None) -> _T | None:
    return future.result() if future else None
