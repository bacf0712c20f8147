"""A ledger, a registry in memory, and a service that notifies real receivers, for tests of notices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from remediate.cloud.interface import Cloud
from remediate.decisions.policy import Mode
from remediate.ledger.opening import open_ledger
from remediate.notify.dispatch import Dispatcher
from remediate.records import outbox
from remediate.records.delivery import DeliveryResult
from remediate.records.notice import Notice, NoticeKind
from remediate.records.remediation import Remediation
from remediate.records.results import Limits
from remediate.records.states import State
from remediate.service.remediator import Remediator
from remediate.settings import load_settings
from remediate.wiring import notifier_from
from tests.audit_entries import REPOSITORY, activity, denial, user_text
from tests.fakes import ORGANIZATION, Heard, MemoryLogs, MemoryRegistry, MemoryRoles, projects
from tests.policies import WIDER

REVIEWER = "ana@example.com"
SAME_REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
SAME_IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
PAGES = "https://review.example.com"


class Scene:
    """The service at one moment, `now`; `pass_time` advances it. `said` has the result of each post."""

    def __init__(
        self,
        ledger_url: str,
        given: Mapping[str, str] = MappingProxyType({}),
        *,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        mode: str = "dry-run",
        **environ: str,
    ) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.heard = Heard()
        self.ledger_url = ledger_url
        self.environ = {"REMEDIATE_LEDGER": ledger_url, "REMEDIATE_REVIEW_URL": PAGES, **given, **environ}
        self.ledger = open_ledger(ledger_url)
        self.registry = MemoryRegistry({REPOSITORY: [], SAME_REPOSITORY: []})
        self.entries: dict[str, dict[str, Any]] = {}
        logs = MemoryLogs(lambda insert_id: self.entries.get(insert_id))
        self.cloud = Cloud(self.registry, projects(), MemoryRoles(), logs)
        self.notifier = self.instance()
        self.remediator = Remediator(
            ledger=self.ledger,
            cloud=self.cloud,
            mode=Mode(mode),
            organization=ORGANIZATION,
            clock=lambda: self.now,
            limits=limits,
            rules=lambda: WIDER,
            notifier=self.notifier,
        )

    def instance(self, *, background: bool = False) -> Dispatcher | None:
        """Another process's notifier on the same ledger."""
        return notifier_from(load_settings(self.environ), self.heard, clock=lambda: self.now, background=background)

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    def denied(self, insert_id: str = "1", **entry: Any) -> list[Remediation]:
        """Handle a denial; returns its remediation and the partners of it."""
        found = activity(**{"insert_id": insert_id, **entry}) | {"timestamp": self.now.isoformat()}
        self.entries[insert_id] = found
        handled = self.remediator.handle(denial(found))
        idents = [handled.remediation.id, *handled.partners] if handled.remediation else []
        return [record for record in map(self.ledger.get, idents) if record]

    def denied_at_home(self, insert_id: str = "1", **entry: Any) -> list[Remediation]:
        """A denial for an image in the deploying project: one remediation, granted by rule in enforce mode."""
        return self.denied(insert_id, message=user_text(SAME_IMAGE), images=(SAME_IMAGE,), **entry)

    def sweep(self) -> list[DeliveryResult]:
        """Run the sweep's steps: first the due transitions, then the waiting notices."""
        for _ in self.remediator.sweep():
            pass
        return self.notifier.deliver(20) if self.notifier else []

    def waiting(self, channel: str) -> list[outbox.OutboxMessage]:
        """The messages that are due on a channel now."""
        return self.ledger.waiting(channel, msgspec.to_builtins(self.now).replace("+00:00", "Z"), 1000)


def notice(**fields: Any) -> Notice:
    defaults: dict[str, Any] = {
        "id": "r-000000000000.1.proposed",
        "kind": NoticeKind.PROPOSED,
        "at": "2026-11-23T12:00:00.000000Z",
        "title": "Proposal opened",
        "summary": "somebody could not read something.",
        "advice": "Approve or reject it.",
        "link": "https://review.example.com/r/r-000000000000",
        "remediation": "r-000000000000",
        "cycle": 1,
        "state": State.PROPOSED,
        "repository": "projects/p/locations/us/repositories/r",
        "role": "roles/artifactregistry.reader",
        "member": "user:a@example.com",
        "actor": "remediate",
        "denials": 1,
        "first_seen": "2026-11-23T12:00:00.000000Z",
        "last_seen": "2026-11-23T12:00:00.000000Z",
    }
    return Notice(**(defaults | fields))


def many(scene: Scene, count: int) -> None:
    """This number of proposals, each for a different member."""
    for number in range(count):
        email = f"deployer-{number}@shop-frontend.iam.gserviceaccount.com"
        scene.denied_at_home(f"many-{number}", email=email)
