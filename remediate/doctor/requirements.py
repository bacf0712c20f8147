"""What each identity has to hold, and nothing beyond: one table of identity, place, permissions and who calls for them.

Permissions, not roles, so that it does not matter how they are bundled. `roles` are the predefined ones that may carry
them; any other role is superfluous, as is any permission of a custom role that nobody here needs.
"""

from __future__ import annotations

import msgspec

from remediate.decisions.policy import Mode
from remediate.doctor.installation import ABOVE, ROLES

SET_POLICY = "artifactregistry.repositories.setIamPolicy"

ANCESTRY = tuple(each for each in ROLES["ancestry"] if each in ABOVE)
"""What lies above projects: a role of a project cannot hold it, and watched folders need it on the organization too."""

READER = tuple(each for each in ROLES["reader"] if each not in ABOVE)
"""What evidence is made of: `cloud/registry.py`, `projects.py`, `roles.py` and `logs.py`."""

TAGS = "resourcemanager.hierarchyNodes.listEffectiveTags"
"""Needed where an opt-in tag is set; always allowed."""

WRITER = ROLES["writer"]
"""What one grant takes: `cloud/registry.py`."""

WRITER_MAY = ("artifactregistry.repositories.get",)

LEDGER = ROLES["ledger"]
"""What the ledger takes: `ledger/firestore.py`. Nothing is ever deleted."""


class Need(msgspec.Struct, frozen=True):
    """What one identity holds at one place. `mode`: only in this mode; at any other time it is superfluous."""

    identity: str
    where: str
    """`scope`, `project`, `above`: the organization above watched folders, or `events`: a project watched by itself."""
    permissions: tuple[str, ...]
    roles: tuple[str, ...] = ()
    """Predefined roles that carry them all."""
    may: tuple[str, ...] = ()
    """Permissions that may come with them."""
    may_roles: tuple[str, ...] = ()
    mode: Mode | None = None
    by: str = ""
    """What the custom role that carries it is for, as its id ends."""

    def applies(self, mode: Mode) -> bool:
        """Whether it is needed in this mode."""
        return self.mode in (None, mode)


_LOGS = ("roles/logging.logWriter", "roles/monitoring.metricWriter", "roles/cloudtrace.agent")

_DECIDES = ("receiver", "review", "sweep")

NEEDS = (
    *(Need(who, "scope", (*READER, *ANCESTRY), may=(TAGS,), by="Reader") for who in _DECIDES),
    *(Need(who, "above", (*ANCESTRY, "iam.roles.get"), by="Ancestry") for who in _DECIDES),
    *(Need(who, "scope", WRITER, may=WRITER_MAY, by="Writer") for who in ("review", "sweep")),
    Need("receiver", "scope", WRITER, may=WRITER_MAY, by="Writer", mode=Mode.ENFORCE),
    *(Need(who, "project", LEDGER, ("roles/datastore.user",), may_roles=_LOGS, by="Ledger") for who in _DECIDES),
    Need("trigger", "events", ("eventarc.events.receiveEvent",), ("roles/eventarc.eventReceiver",)),
    Need("trigger", "project", (), may_roles=("roles/eventarc.eventReceiver",)),
    Need("builder", "project", (), may_roles=(*_LOGS, "roles/run.builder", "roles/cloudbuild.builds.builder")),
)

PUBLISHING = (
    "roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin", "roles/editor", "roles/owner",
)  # fmt: skip
"""The predefined roles that hold `pubsub.topics.publish`."""

INVOKING = ("roles/run.invoker", "roles/run.servicesInvoker", "roles/run.developer", "roles/run.admin")
"""The predefined roles that hold `run.routes.invoke`."""

IMPERSONATING = (
    "roles/iam.serviceAccountTokenCreator",
    "roles/iam.serviceAccountOpenIdTokenCreator",
    "roles/iam.workloadIdentityUser",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/owner",
    "roles/editor",
)
"""The predefined roles on a service account that let their members act as it, or let themselves in to."""

EVERYBODY = ("allUsers", "allAuthenticatedUsers")
