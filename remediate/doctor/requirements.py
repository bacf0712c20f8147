"""What each identity has to hold, as one table of identity, place and permissions; anything else is superfluous.

The table lists permissions, as roles can bundle them in any way. `roles` are the predefined roles that may hold them.
"""

from __future__ import annotations

import msgspec

from remediate.decisions.policy import Mode
from remediate.doctor.installation import ABOVE, ROLES

SET_POLICY = "artifactregistry.repositories.setIamPolicy"

WRITING_ROLES = ("roles/owner", "roles/artifactregistry.admin", "roles/artifactregistry.repoAdmin")
"""The predefined roles that hold `SET_POLICY`."""

ANCESTRY = tuple(each for each in ROLES["ancestry"] if each in ABOVE)
"""For folders and organizations: no role of a project can hold these; watched folders need them on the organization."""

READER = tuple(each for each in ROLES["reader"] if each not in ABOVE)
"""For evidence: `cloud/registry.py`, `projects.py`, `roles.py` and `logs.py`."""

TAGS = "resourcemanager.hierarchyNodes.listEffectiveTags"
"""Required with an opt-in tag; always allowed."""

WRITER = ROLES["writer"]
"""For grants: `cloud/registry.py`."""

WRITER_OPTIONAL = ("artifactregistry.repositories.get",)

LEDGER = ROLES["ledger"]
"""For the ledger: `ledger/firestore.py`. It deletes nothing."""


class Requirement(msgspec.Struct, frozen=True):
    """What one identity needs at one place. `mode`: only in this mode; superfluous in the other."""

    identity: str
    where: str
    """`scope`, `project`, `above` (the organization above watched folders) or `events` (a single watched project)."""
    permissions: tuple[str, ...]
    roles: tuple[str, ...] = ()
    """Predefined roles that hold them all."""
    optional: tuple[str, ...] = ()
    """Permissions that are allowed beside them."""
    optional_roles: tuple[str, ...] = ()
    mode: Mode | None = None
    custom_role: str = ""
    """The suffix of the id of the custom role that holds them."""


_LOGS = ("roles/logging.logWriter", "roles/monitoring.metricWriter", "roles/cloudtrace.agent")

_BUILDS = (*_LOGS, "roles/run.builder", "roles/cloudbuild.builds.builder")

DECIDES = ("receiver", "review", "sweep", "writer")
"""The identities that collect evidence and decide."""

REQUIREMENTS = (
    *(Requirement(task, "scope", (*READER, *ANCESTRY), optional=(TAGS,), custom_role="Reader") for task in DECIDES),
    *(Requirement(task, "above", (*ANCESTRY, "iam.roles.get"), custom_role="Ancestry") for task in DECIDES),
    *(
        Requirement(task, "scope", WRITER, optional=WRITER_OPTIONAL, custom_role="Writer")
        for task in ("sweep", "writer")
    ),
    Requirement("receiver", "scope", WRITER, optional=WRITER_OPTIONAL, custom_role="Writer", mode=Mode.ENFORCE),
    *(
        Requirement(task, "project", LEDGER, ("roles/datastore.user",), optional_roles=_LOGS, custom_role="Ledger")
        for task in DECIDES
    ),
    Requirement("trigger", "events", ("eventarc.events.receiveEvent",), ("roles/eventarc.eventReceiver",)),
    Requirement("trigger", "project", (), optional_roles=("roles/eventarc.eventReceiver",)),
    Requirement("builder", "project", (), optional_roles=_BUILDS),
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
"""The predefined roles whose members can act as a service account, or grant themselves that."""

EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})
