"""What a check finds: a code, the text of what was found, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from remediate.doctor.codes import Code, Severity
from remediate.doctor.resources import Absent, Unknown

APPLY = "terraform -chdir=deploy apply"
"""Restores everything that the Terraform module installs."""


class Finding(msgspec.Struct, frozen=True):
    """One thing to look at. `fix` is a command to copy, with this installation's names."""

    code: Code
    what: str
    fix: str

    @property
    def severity(self) -> Severity:
        """The severity of its code."""
        return self.code.severity

    @property
    def why(self) -> str:
        """Why its code matters."""
        return self.code.why


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    FOUND = "found"
    UNKNOWN = "unknown"
    """Something could not be read, and nothing worse was found."""
    SKIPPED = "left_out"
    """There was nothing to check; `note` says why."""


class CheckResult(msgspec.Struct, frozen=True):
    """One finished check: its findings, or in `note` why it was skipped; `note` may also say what was checked."""

    section: str
    title: str
    findings: tuple[Finding, ...] = ()
    note: str = ""
    skipped: bool = False

    @property
    def status(self) -> CheckStatus:
        """How it ended."""
        if self.skipped:
            return CheckStatus.SKIPPED
        if not self.findings:
            return CheckStatus.OK
        only_unknown = all(each.severity is Severity.UNKNOWN for each in self.findings)
        return CheckStatus.UNKNOWN if only_unknown else CheckStatus.FOUND


def report_unknown(fact: object) -> Iterator[Finding]:
    """The finding for a fact that could not be read; none for other facts."""
    if isinstance(fact, Unknown):
        what = f"{fact.name} cannot be read ({fact.why}); it needs {fact.right}"
        yield Finding(Code.NOT_KNOWN, what, fact.fix)


def report_missing(fact: object, absent: Finding) -> Iterator[Finding]:
    """The finding for a fact that could not be read, or `absent` for a resource that does not exist."""
    yield from report_unknown(fact)
    if isinstance(fact, Absent):
        yield absent


def report_unavailable(fact: object) -> Iterator[Finding]:
    """The finding for a fact that could not be read, or that Google denies though it always exists."""
    yield from report_unknown(fact)
    if isinstance(fact, Absent):
        yield Finding(Code.NOT_KNOWN, f"Google Cloud has no {fact.name}", "gcloud projects list")
