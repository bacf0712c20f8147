"""Turns a deployed service or job into the environment that it starts with, as far as that can be seen."""

from __future__ import annotations

from remediate.doctor import resources as facts


def environment(part: facts.Service | facts.Job) -> dict[str, str]:
    """The variables of a service or job whose values can be seen; `secrets` names the others."""
    return {each.name: each.value for each in _variables(part) if each.value_source is None}


def secrets(part: facts.Service | facts.Job) -> frozenset[str]:
    """The variables whose values are kept in a secret."""
    return frozenset(each.name for each in _variables(part) if each.value_source is not None)


def _variables(part: facts.Service | facts.Job) -> list[facts.EnvVar]:
    template = part.template if isinstance(part, facts.Service) else part.template.template
    return [each for container in template.containers for each in container.env]


def firestore_path(ledger: str) -> str | None:
    """The resource name of the database of a ledger's URL; None where it is no Firestore."""
    if not ledger.startswith("firestore://"):
        return None
    owner, _, database = ledger.removeprefix("firestore://").partition("/")
    return f"projects/{owner}/databases/{database}"
