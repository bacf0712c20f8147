"""What a check finds: a stable code with its severity and why it matters, what it is, and the command that cures it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from remediate.doctor.codes import Code, Severity
from remediate.doctor.resources import Absent, Unknown


class Finding(msgspec.Struct, frozen=True):
    """One thing to look at. `fix` is a command to copy, with the names of this installation filled in."""

    code: Code
    what: str
    fix: str

    @property
    def severity(self) -> Severity:
        """How bad it is; the same for every finding of a code."""
        return self.code.severity

    @property
    def why(self) -> str:
        """Why it matters."""
        return self.code.why


class Status(StrEnum):
    """What became of one check."""

    OK = "ok"
    FOUND = "found"
    UNKNOWN = "unknown"
    """Something may not be read, and nothing worse was found."""
    LEFT_OUT = "left_out"
    """There was nothing to check, and `note` says why."""


class Checked(msgspec.Struct, frozen=True):
    """One check, done: its findings, or why it was left out; `note` may also tell what was seen."""

    section: str
    title: str
    findings: tuple[Finding, ...] = ()
    note: str = ""
    left_out: bool = False

    @property
    def status(self) -> Status:
        """How it ended."""
        if self.left_out:
            return Status.LEFT_OUT
        if not self.findings:
            return Status.OK
        only_unknown = all(each.severity is Severity.UNKNOWN for each in self.findings)
        return Status.UNKNOWN if only_unknown else Status.FOUND


def not_known(fact: Unknown) -> Finding:
    """What is said of a fact that may not be read."""
    return Finding(Code.NOT_KNOWN, f"{fact.name} cannot be read ({fact.why}); it needs {fact.right}", fact.fix)


def unseen(fact: object) -> Iterator[Finding]:
    """What is said where a fact that is always there could not be had; nothing where it could."""
    if isinstance(fact, Unknown):
        yield not_known(fact)
    elif isinstance(fact, Absent):
        yield Finding(Code.NOT_KNOWN, f"Google says that there is no {fact.name}", "gcloud projects list")


def command(*words: str) -> str:
    """A command line that a shell takes as it stands."""
    return shlex.join(words)


APPLY = "terraform -chdir=deploy apply"
"""What makes again all that the Terraform module made."""
