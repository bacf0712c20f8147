"""The corpus of published error texts and log entries. It is a folder next to the checkout, and may be missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.audit_entries import activity, system_event

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
MESSAGES = (
    [json.loads(line) for line in (CORPUS / "messages.jsonl").read_text().splitlines()] if CORPUS.is_dir() else []
)
ENTRIES = sorted((CORPUS / "entries").glob("*.json")) if CORPUS.is_dir() else []
NUMBER = "444555666777"


def published(message: dict[str, Any]) -> dict[str, Any]:
    """A log entry with the text: from the service that wrote it, with the project number of its agent."""
    number = message["agent_number"]
    if message["denied"] == "service_agent":
        entry = system_event(message["text"], images=(), number=number or NUMBER)
    else:
        entry = activity(message["text"], images=(), number=number or NUMBER)
    if not message["context"].startswith("run.googleapis.com"):
        entry["protoPayload"]["serviceName"] = "other.googleapis.com"
    return entry
