"""Turns Settings into the objects that do the work: the one place where the rooms of the house are connected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from remediate.cloud.interface import Logs
from remediate.ledger import open_ledger
from remediate.ledger.interface import Ledger
from remediate.remediation import TrailRecord
from remediate.remediator import Remediator
from remediate.results import Limits
from remediate.settings import Settings


def ledger_from(settings: Settings) -> Ledger:
    """The ledger that the settings name. Raises BadInput where it cannot be opened."""
    return open_ledger(settings.ledger)


def logs_from(settings: Settings) -> Logs:
    """Cloud Logging at the endpoint that the settings name."""
    from remediate.cloud.logs import GoogleLogs

    return GoogleLogs(settings.endpoints.get("LOGGING"), settings.timeout)


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def remediator_from(
    settings: Settings,
    told: Callable[[TrailRecord], None] = lambda _: None,
    clock: Callable[[], datetime] = clock,
) -> Remediator:
    """The service as the settings want it; `told` hears of every transition once it is in the ledger.

    Google's clients are imported when a denial first needs them, not here.
    """
    from remediate.cloud.projects import GoogleProjects
    from remediate.cloud.registry import GoogleRegistry

    return Remediator(
        ledger=ledger_from(settings),
        registry=GoogleRegistry(settings.endpoints.get("ARTIFACTREGISTRY"), settings.timeout),
        projects=GoogleProjects(settings.endpoints.get("CLOUDRESOURCEMANAGER"), settings.timeout),
        mode=settings.mode,
        organization=settings.organization,
        reviewers=settings.reviewers,
        identities=settings.identities,
        told=told,
        limits=Limits(timedelta(days=settings.lapse_days), timedelta(days=settings.hold_days)),
        clock=clock,
    )
