"""The `deployment:` section of the organization file: where the service is installed, and its settings."""

from __future__ import annotations

import msgspec


class DeploymentSeed(msgspec.Struct, forbid_unknown_fields=True):
    """One healthy installation. Tests break it through `PUT /sandbox/deployment`."""

    project: str
    region: str
    filter: str
    """The sink's filter, from `remediate.entries.log_filter`."""
    scope: str
    """`organizations/N` or `folders/N`."""
    name: str = "remediate"
    mode: str = "dry-run"
    reviewers: list[str] = []
    opt_in_tag: str = ""
    """A tag of a project in this file; empty if no opt-in is required."""
