"""Converts a service's standard output into log entries, as Cloud Run's logging does.

Source: "Logging and viewing logs in Cloud Run": a line of JSON becomes the payload; `severity` sets the severity.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from sandbox.auditlog import now

_SPECIAL = "logging.googleapis.com/"


def log_entry(line: str, project: str, region: str, service: str) -> dict[str, Any]:
    """The log entry of one line."""
    moment = now()
    labels = {"project_id": project, "location": region, "service_name": service, "revision_name": f"{service}-00001"}
    entry: dict[str, Any] = {
        "insertId": secrets.token_hex(10),
        "timestamp": moment,
        "receiveTimestamp": moment,
        "logName": f"projects/{project}/logs/run.googleapis.com%2Fstdout",
        "resource": {"type": "cloud_run_revision", "labels": labels},
    }
    try:
        payload = json.loads(line)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        return {**entry, "textPayload": line}
    entry["severity"] = payload.pop("severity", "DEFAULT")
    return {**entry, "jsonPayload": {name: value for name, value in payload.items() if not name.startswith(_SPECIAL)}}
