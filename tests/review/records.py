"""Creates remediations for tests of the pages: with a project, a repository and a state."""

from __future__ import annotations

from datetime import UTC, datetime

from remediate.decisions.policy import decide
from remediate.entries.denial import Deploy, ResourceKind
from remediate.records.lifecycle import open_remediation
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import activity, denial
from tests.records.changed import with_fields

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def record(project: str = "shop", repository: str = "images/containers", state: State = State.GRANTED) -> Remediation:
    """A remediation; `repository` is `PROJECT/NAME`."""
    found = denial(activity())
    made, _ = open_remediation(found, decide(found), State.PROPOSED, actor="remediate", now=NOON)
    holder, _, name = repository.partition("/")
    where = Deploy(project=project, number="1", location="us-central1", kind=ResourceKind.SERVICE, name="web")
    resource = f"projects/{holder}/locations/us/repositories/{name}"
    return with_fields(made, state=state, repository=resource, deploys=(where,))
