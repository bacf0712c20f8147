"""Writes the log line of each transition to Cloud Logging when a person decides from the command line.

The ledger and the log both record every transition; the service itself logs to standard output. Source:
`entries.write` (Cloud Logging API v2). The insert id is the hash, so that a line sent twice becomes one entry.
"""

from __future__ import annotations

from collections.abc import Callable

from remediate.cloud.rest import post
from remediate.errors import TerminalFault, TransientFault
from remediate.log_lines import COMMAND_LOG, trail_line
from remediate.records.events import NoEvents
from remediate.records.modes import ModeChange
from remediate.records.remediation import TrailRecord

_GOOGLE = "https://logging.googleapis.com"


class TrailLog(NoEvents):
    """Writes a line for each transition; `failed` gets the reason if a line could not be written."""

    def __init__(self, project: str, endpoint: str | None, timeout: float, failed: Callable[[str], None]) -> None:
        self._project = project
        self._address = endpoint or _GOOGLE
        self._timeout = timeout
        self._failed = failed

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        message, fields = trail_line(step)
        entry = {
            "logName": f"projects/{self._project}/logs/{COMMAND_LOG}",
            "resource": {"type": "global", "labels": {"project_id": self._project}},
            "severity": fields.pop("severity"),
            "insertId": step.hash[:32],
            "timestamp": step.at,
            "jsonPayload": {"message": message, **fields},
        }
        try:
            post(f"{self._address}/v2/entries:write", {"entries": [entry]}, self._timeout, "write the trail's line")
        except (TransientFault, TerminalFault) as fault:
            self._failed(f"the ledger has this transition, but writing it to Cloud Logging failed: {fault}")

    def on_no_wake_up(self, error: str) -> None:
        self._failed(error)
