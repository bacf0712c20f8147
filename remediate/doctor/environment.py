"""The environment that a deployed service or job starts with, as far as it can be read."""

from __future__ import annotations

from remediate.doctor.resources import EnvVar, ExecutionTemplate, RunJob, RunService


def environment(part: object) -> dict[str, str]:
    """The variables of a service or job with readable values; none where the part is not known."""
    return {each.name: each.value for each in _variables(part) if each.value_source is None}


def secrets(part: object) -> frozenset[str]:
    """The variables of a service or job that are stored in a secret."""
    return frozenset(each.name for each in _variables(part) if each.value_source is not None)


def _variables(part: object) -> list[EnvVar]:
    match part:
        case RunService(template=template) | RunJob(template=ExecutionTemplate(template=template)):
            return [each for container in template.containers for each in container.env]
    return []


def firestore_path(ledger: str) -> str | None:
    """The resource name of a ledger's Firestore database; None for other ledgers."""
    if not ledger.startswith("firestore://"):
        return None
    owner, _, database = ledger.removeprefix("firestore://").partition("/")
    return f"projects/{owner}/databases/{database}"
