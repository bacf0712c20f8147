"""Determines from a log's full name which of Google's audit logs it is, and of which project.

Users can write entries with an audit log payload into their own logs, and choose these logs' ids. Only the full name
proves that Google wrote the entry. Source: `LogEntry.logName`, "Cloud Audit Logs overview".
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from remediate.iam.repository import is_project, is_project_number


class Log(Enum):
    """The two logs that show a denied image read. The value is the log id for `log_id()` in a filter."""

    ACTIVITY = "cloudaudit.googleapis.com/activity"
    """Admin Activity: the calls, with their callers."""
    SYSTEM_EVENT = "cloudaudit.googleapis.com/system_event"
    """System Event: what Cloud Run itself did after the call; without a caller."""

    @property
    def encoded(self) -> str:
        """The id in a log name, with `%2F` for the slash."""
        return self.value.replace("/", "%2F")


class Source(msgspec.Struct, frozen=True):
    """The origin of an entry: one of Google's audit logs, and its project (id or number)."""

    log: Log
    project: str

    @property
    def name(self) -> str:
        """The log's full name, exactly as Google writes it."""
        return f"projects/{self.project}/logs/{self.log.encoded}"

    def contradicts(self, project: str | None, number: str | None) -> bool:
        """Whether the log belongs to another project. Compares an id with the id, or a number with the number."""
        other = number if is_project_number(self.project) else project
        return other is not None and other != self.project


_ENCODED = "|".join(re.escape(log.encoded) for log in Log)
_NAME = re.compile(rf"projects/([^/]+)/logs/({_ENCODED})")


def source_of(log_name: str | None) -> Source | None:
    """The source of a log's entries; None unless the name is exactly one of Google's two.

    `projects/P/logs/cloudaudit.googleapis.com%2Factivity` or `...%2Fsystem_event`: no other prefix, case, encoding or
    white space. Logs of folders and organizations have no Cloud Run deploys.
    """
    match = _NAME.fullmatch(log_name) if log_name else None
    if match is None or not is_project(match[1]):
        return None
    return next(Source(log, match[1]) for log in Log if log.encoded == match[2])
