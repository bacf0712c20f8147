"""The report of the checklist as JSON's types: without names it can be sent to other people as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from remediate import __version__
from remediate.decisions.policy import Mode
from remediate.doctor.environment import environment
from remediate.doctor.first_apply.items import Verdict
from remediate.doctor.first_apply.result import Result, Target
from remediate.doctor.first_apply.words import Fact, encode, version
from remediate.doctor.resources import AllowPolicy, ProjectAncestry, RunService

FORMAT = 1
"""The version of the report's form."""


class ScopeKind(StrEnum):
    """What an installation watches."""

    ORGANIZATION = "organizations"
    FOLDERS = "folders"
    PROJECT = "projects"


@dataclass(frozen=True)
class ChecklistReport:
    """Every item's result, in the order of the page."""

    target: Target
    results: tuple[Result, ...]

    @property
    def counts(self) -> dict[Verdict, int]:
        """The number of items of each verdict."""
        found = Counter(each.verdict for each in self.results)
        return {verdict: found[verdict] for verdict in Verdict}

    def to_json(self, *, names: bool) -> dict[str, object]:
        """The report; with `names` also what the installation and its parts are called, and Google's own words."""
        snapshot = self.target.snapshot
        scopes = snapshot.names.watched_scopes
        mode = environment(snapshot.receiver).get("REMEDIATE_MODE")
        about: dict[str, Fact] = {
            "remediate": version(__version__),
            "watches": next(kind for kind in ScopeKind if scopes[0].startswith(kind.value)),
            "scopes": len(scopes),
            "mode": next((each for each in Mode if each.value == mode), None),
            "deployed": isinstance(snapshot.receiver, RunService),
        }
        items = [
            {
                "item": each.item.value,
                "verdict": each.verdict.value,
                "see": each.item.anchor,
                "facts": encode(each.facts),
            }
            for each in self.results
        ]
        summary = {verdict.value: number for verdict, number in self.counts.items()}
        report: dict[str, object] = {"first_apply_report": FORMAT, "about": encode(about), "summary": summary}
        return report | {"items": items} | ({"names": self._names()} if names else {})

    def _names(self) -> dict[str, object]:
        snapshot = self.target.snapshot
        number = snapshot.project.number if isinstance(snapshot.project, ProjectAncestry) else None
        policies = {
            place: msgspec.to_builtins(policy.bindings)
            for (kind, place), policy in snapshot.facts.items()
            if kind is AllowPolicy and isinstance(policy, AllowPolicy)
        }
        return {
            "installation": msgspec.to_builtins(snapshot.names),
            "project_number": number,
            "ancestors": list(snapshot.ancestors),
            "findings": [
                {"code": each.code.value, "what": each.what, "fix": each.fix} for each in self.target.report.findings
            ],
            "policies": policies,
            "answers": {each.item.value: list(each.texts) for each in self.results if each.texts},
        }
