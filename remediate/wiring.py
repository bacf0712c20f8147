"""Turns Settings into the objects that do the work: the one place where the packages are connected."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from remediate.cloud.interface import Cloud, Logs
from remediate.decisions.organization import HomeNames
from remediate.decisions.policy import BuiltIn, Rules
from remediate.errors import BadInput
from remediate.iam.member import Member, parse_member
from remediate.ledger.interface import Ledger
from remediate.ledger.opening import open_ledger
from remediate.records.events import NO_EVENTS, Events
from remediate.records.results import Limits
from remediate.service.handing_over import Wake
from remediate.service.remediator import Remediator
from remediate.service.reviewers import Reviewers
from remediate.settings import Settings

if TYPE_CHECKING:
    from remediate.notify.dispatch import Dispatcher
    from remediate.notify.interface import Channel, Notifier
    from remediate.review.pages import Review


def ledger_from(settings: Settings) -> Ledger:
    """The ledger in the settings. Raises BadInput if it cannot be opened."""
    return open_ledger(settings.ledger)


def rules_from(settings: Settings, events: Events) -> Callable[[], Rules]:
    """The rules in force: those of the policy file, reloaded when it changes, or the built-in ones. Raises BadInput."""
    if settings.policy is None:
        built_in = BuiltIn(settings.grant_days)
        return lambda: built_in
    from remediate.service.policy_source import PolicySource

    return PolicySource(settings.policy, events, endpoint=settings.endpoints.get("STORAGE"))


def rules_when_needed(settings: Settings, events: Events) -> Callable[[], Rules]:
    """As `rules_from`, but read at the first decision: a switch or a revocation needs no policy file."""

    @cache
    def source() -> Callable[[], Rules]:
        return rules_from(settings, events)

    return lambda: source()()


def logs_from(settings: Settings) -> Logs | None:
    """Cloud Logging at the endpoint in the settings; None for a local Google Cloud without Cloud Logging."""
    if _local(settings) and "LOGGING" not in settings.endpoints:
        return None
    from remediate.cloud.logs import GoogleLogs

    at, calls = settings.endpoints.get("LOGGING"), settings.lookups_a_minute
    return GoogleLogs(at, settings.timeout, calls=calls, view=settings.log_view)


def trail_log_from(settings: Settings, failed: Callable[[str], None]) -> Events:
    """Writes the transitions by a command to Cloud Logging; does nothing with the embedded ledger."""
    project, _, _ = settings.ledger.removeprefix("firestore://").partition("/")
    if settings.ledger.startswith("sqlite:") or (_local(settings) and "LOGGING" not in settings.endpoints):
        return NO_EVENTS
    from remediate.cloud.traillog import TrailLog

    return TrailLog(project, settings.endpoints.get("LOGGING"), settings.timeout, failed)


def cloud_from(settings: Settings) -> Cloud:
    """Google Cloud at the endpoints in the settings.

    A client library is imported when a denial first needs it, not here.
    """
    from remediate.cloud.projects import GoogleProjects
    from remediate.cloud.registry import GoogleRegistry
    from remediate.cloud.roles import GoogleRoles, UnknownRoles
    from remediate.cloud.troubleshooter import GoogleTroubleshooter

    at, timeout = settings.endpoints.get, settings.timeout
    no_iam = _local(settings) and "IAM" not in settings.endpoints
    return Cloud(
        registry=GoogleRegistry(at("ARTIFACTREGISTRY"), timeout),
        projects=GoogleProjects(at("CLOUDRESOURCEMANAGER"), timeout),
        roles=UnknownRoles() if no_iam else GoogleRoles(at("IAM"), timeout),
        logs=logs_from(settings),
        troubleshooter=GoogleTroubleshooter(at("POLICYTROUBLESHOOTER"), timeout) if settings.troubleshooter else None,
    )


def projects_within(settings: Settings, scopes: list[str]) -> list[str]:
    """All projects in these scopes, each once. Raises BadInput if no project of a scope is visible."""
    projects = cloud_from(settings).projects
    found: dict[str, None] = {}
    for scope in scopes:
        inside = projects.list_projects(scope)
        if not inside:
            raise BadInput(f"{scope}: these credentials see no project in it")
        found |= dict.fromkeys(inside)
    return list(found)


def _local(settings: Settings) -> bool:
    """Whether the settings name a local Google Cloud: an endpoint without TLS, which gets no real credentials."""
    return settings.endpoints.get("ARTIFACTREGISTRY", "").startswith("http://")


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def operators_from(settings: Settings) -> tuple[str, ...]:
    """The people who may loosen the mode alone, and the local reviewer with an embedded ledger on this machine."""
    embedded = settings.ledger.startswith("sqlite:") and not {"K_SERVICE", "CLOUD_RUN_JOB"} & set(os.environ)
    local = parse_member(settings.local_reviewer) if embedded else None
    return (*settings.operators, *([local.key] if isinstance(local, Member) else []))


def limits_from(settings: Settings) -> Limits:
    """The deadlines and rate limits in the settings."""
    return Limits(
        timedelta(days=settings.lapse_days),
        timedelta(days=settings.hold_days),
        grants_an_hour=settings.grants_an_hour,
        grants_to_a_member=settings.grants_to_a_member,
        proposals_an_hour=settings.proposals_an_hour,
        one_may_declare=settings.one_may_declare,
    )


def review_from(settings: Settings, remediator: Remediator) -> Review:
    """The review pages. Raises BadInput if the settings do not allow to authenticate requests."""
    import secrets

    from remediate.cloud.rest import get_public
    from remediate.review.identity import KEYS, IapIdentity, Identity, LocalIdentity
    from remediate.review.pages import Review

    identity: Identity
    if settings.iap_audience is not None:
        what = "get IAP's public keys"
        identity = IapIdentity(settings.iap_audience, lambda: get_public(KEYS, settings.timeout, what))
    elif settings.ledger.startswith("sqlite:") and not os.environ.get("K_SERVICE"):
        identity = LocalIdentity(settings.local_reviewer)
    else:
        advice = "Behind Identity-Aware Proxy: /projects/NUMBER/locations/REGION/services/NAME"
        raise BadInput("REMEDIATE_IAP_AUDIENCE is not set; the review pages require it", advice=advice)
    if settings.secret is None and settings.iap_audience is not None:
        advice = "Create one: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        raise BadInput("REMEDIATE_SECRET is not set; the review pages require it", advice=advice)
    return Review(
        remediator,
        ledger_from(settings),
        identity,
        settings.secret or secrets.token_urlsafe(),
        clock,
        configured=settings.mode,
        limits=limits_from(settings),
    )


def notifier_from(
    settings: Settings,
    events: Events = NO_EVENTS,
    clock: Callable[[], datetime] = clock,
    *,
    background: bool = False,
) -> Dispatcher | None:
    """Sends notices on the channels in the settings; None if there is no channel.

    `events` gets the result of every post. `background`: a thread sends stored notices at once.
    """
    if not (settings.notify_topic or settings.slack_webhook or settings.chat_webhook):
        return None
    from remediate.notify import cards
    from remediate.notify.dispatch import Dispatcher
    from remediate.notify.pubsub import TopicChannel
    from remediate.notify.webhook import Webhook
    from remediate.records.notice import NoticeContext

    channels: list[Channel] = []
    if settings.notify_topic is not None:
        channels.append(TopicChannel(settings.notify_topic, settings.endpoints.get("PUBSUB")))
    if settings.slack_webhook is not None:
        channels.append(Webhook("slack", settings.slack_webhook, cards.slack))
    if settings.chat_webhook is not None:
        channels.append(Webhook("chat", settings.chat_webhook, cards.chat))
    lapse_after = timedelta(days=settings.lapse_days)
    terms = NoticeContext(settings.review_url, lapse_after, settings.proposals_an_hour, settings.opt_in_tag)
    return Dispatcher(ledger_from(settings), channels, terms, clock, events, background=background)


def remediator_from(
    settings: Settings,
    events: Events = NO_EVENTS,
    clock: Callable[[], datetime] = clock,
    notifier: Notifier | None = None,
    rules: Callable[[], Rules] | None = None,
) -> Remediator:
    """The service with these settings. If no `rules` are given, they are read when first needed.

    `events` gets every transition after it is stored, and errors in the policy file. The `notifier` stores and sends
    the notices of transitions.
    """
    return Remediator(
        ledger=ledger_from(settings),
        cloud=cloud_from(settings),
        rules=rules or rules_when_needed(settings, events),
        opt_in_tag=settings.opt_in_tag,
        home_names=HomeNames(settings.domains, settings.workforce_pools),
        policy_confirmed=settings.policy_confirmed,
        mode=settings.mode,
        organization=settings.organization,
        reviewers=Reviewers(settings.reviewers, settings.identities, operators_from(settings)),
        events=events,
        notifier=notifier,
        limits=limits_from(settings),
        clock=clock,
        wake=wake_from(settings, events),
    )


def wake_from(settings: Settings, events: Events) -> Wake | None:
    """Wakes the writer; None if this process changes policies itself."""
    if settings.writer_topic is None:
        return None
    from remediate.cloud.wake_up import WakeUps

    return WakeUps(settings.writer_topic, settings.endpoints.get("PUBSUB"), events.on_no_wake_up).wake
