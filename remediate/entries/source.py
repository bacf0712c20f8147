"""Turns a log's whole name into the source of its entries: which of Google's audit logs it is, and of which project.

Users write entries with an audit log's payload into logs of their own, and choose the ids of these logs. Only the
whole name proves that Google wrote the entry. Source: `LogEntry.logName`, "Cloud Audit Logs overview".
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from remediate.iam.repository import is_project, is_project_number


class Log(Enum):
    """The two logs that show a denied image read. Its value is the log's id, as `log_id()` in a filter takes it."""

    ACTIVITY = "cloudaudit.googleapis.com/activity"
    """Admin Activity: the calls, with who made them."""
    SYSTEM_EVENT = "cloudaudit.googleapis.com/system_event"
    """System Event: what Cloud Run itself did afterwards; it has no caller."""

    @property
    def encoded(self) -> str:
        """The id as it stands in a log name, where the slash is `%2F`."""
        return self.value.replace("/", "%2F")


class Source(msgspec.Struct, frozen=True):
    """Where an entry comes from: one of Google's own audit logs of one project (its id, or its number)."""

    log: Log
    project: str

    @property
    def name(self) -> str:
        """The log's whole name, exactly as Google writes it."""
        return f"projects/{self.project}/logs/{self.log.encoded}"

    def contradicts(self, project: str | None, number: str | None) -> bool:
        """Whether the log's project is another than this one, as far as two spellings of one kind can tell."""
        other = number if is_project_number(self.project) else project
        return other is not None and other != self.project


_ENCODED = "|".join(re.escape(log.encoded) for log in Log)
_NAME = re.compile(rf"projects/([^/]+)/logs/({_ENCODED})")


def source_of(log_name: str | None) -> Source | None:
    """The source of the entries of a log; None for every name that is not, to the letter, one of Google's two.

    `projects/P/logs/cloudaudit.googleapis.com%2Factivity` or `...%2Fsystem_event`: no other prefix, case, encoding or
    blank, and no log of a folder or organization, which hold nothing of Cloud Run's deploys.
    """
    match = _NAME.fullmatch(log_name) if log_name else None
    if match is None or not is_project(match[1]):
        return None
    return next(Source(log, match[1]) for log in Log if log.encoded == match[2])
