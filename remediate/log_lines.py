"""Turns decisions, transitions and deliveries into JSON lines on standard output, which Cloud Logging reads.

Source: "Structured logging" (Cloud Logging). A line never contains text of a log entry, only parsed and validated
values.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import structlog

from remediate.decisions.policy import Outcome
from remediate.entries.denial import Denial
from remediate.presentation.plaintext import json_text
from remediate.reasons import BRAKES, Reason
from remediate.records.delivery import DeliveryResult
from remediate.records.modes import ModeChange, describe_change
from remediate.records.remediation import TrailRecord
from remediate.records.results import Applied, Handled
from remediate.records.steps import became

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_CLOUD_TRACE = re.compile(r"([0-9a-f]{32})(?:/.*)?\Z")
_SEVERITIES = {
    Outcome.GRANT: "NOTICE",
    Outcome.ASK: "NOTICE",
    Outcome.REFUSE: "WARNING",
    Outcome.IGNORE: "INFO",
}


TRAIL = "trail"
"""The field of a line that holds the transition or the switch, with its hash."""

COMMAND_LOG = "remediate"
"""The id of the log to which commands write the same lines."""

TRAIL_FILTER = f"""jsonPayload.{TRAIL}.hash:*
(((log_id("run.googleapis.com/stdout") OR log_id("run.googleapis.com/stderr")) AND (
(resource.type="cloud_run_revision"
AND resource.labels.service_name=("${{receiver}}" OR "${{review}}" OR "${{writer}}"))
OR (resource.type="cloud_run_job" AND resource.labels.job_name=("${{sweep}}" OR "${{due}}"))))
OR log_id("{COMMAND_LOG}"))
"""
"""What the trail's sink selects in its project: every line with a link of a hash chain, by the services and the jobs of
an installation or by a command. A template for Terraform and install.sh: they put in the names."""


def configure() -> structlog.typing.FilteringBoundLogger:
    """The logger: JSON lines on standard output, `severity` and `message` first."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _as_cloud_logging_wants_it],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


class LogEvents:
    """Writes events as log lines: one per transition, one per post to a channel, one per policy error."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        message, fields = trail_line(step)
        self._log.info(message, **fields)

    def on_delivery(self, result: DeliveryResult) -> None:
        severity, message, fields = result.line()
        self._log.info(message, severity=severity, **fields)

    def on_policy_error(self, error: str) -> None:
        self._log.critical(error)

    def on_no_wake_up(self, error: str) -> None:
        self._log.error(error)


def trace_of(headers: Mapping[str, str], project: str | None) -> dict[str, str]:
    """The field that links a line to the trace of its request; empty if the headers have no trace."""
    found = {name.lower(): value for name, value in headers.items()}
    match = _TRACEPARENT.match(found.get("traceparent", "")) or _CLOUD_TRACE.match(
        found.get("x-cloud-trace-context", "")
    )
    if not match:
        return {}
    trace = f"projects/{project}/traces/{match[1]}" if project else match[1]
    return {"logging.googleapis.com/trace": trace}


def decision_line(handled: Handled, seconds: float) -> tuple[str, dict[str, object]]:
    """Message and fields of the line for one handled log entry; `seconds` is how long it took."""
    subject, record = handled.subject, handled.remediation
    fields: dict[str, object] = {
        "severity": _SEVERITIES[handled.decision.outcome],
        "outcome": handled.decision.outcome,
        "reasons": handled.decision.reasons,
        "why": " ".join(reason.sentence for reason in handled.decision.reasons),
        "rule": handled.decision.rule,
        "insert_id": subject.entry.insert_id,
        "log_name": subject.entry.log_name,
        "entry_time": subject.entry.timestamp,
        "deploy": subject.deploy,
        "milliseconds": round(seconds * 1000, 1),
    }
    if not isinstance(subject, Denial):
        return f"ignored: {handled.decision.reasons[0].sentence}", fields
    fields |= {
        "reader": subject.reader,
        "member": str(subject.member) if subject.member else None,
        "repository": str(subject.repository) if subject.repository else None,
        "remediation": record.id if record else None,
        "state": record.state if record else None,
        "partners": handled.partners,
        "written": handled.written,
        "duplicate": handled.duplicate,
    }
    if {Reason.INHERITED, Reason.BARRED} & set(handled.decision.reasons):
        fields["severity"] = "WARNING"  # the deploy fails for a cause that a grant does not fix
    if {*BRAKES} & {*handled.decision.reasons}:
        fields["severity"] = "ALERT"
    if handled.decision.outcome is Outcome.ASK and record is None:
        fields["severity"] = "WARNING"  # the ledger has no record of this one
    who = subject.member or "an unknown member"
    what = subject.repository or "an unknown repository"
    return f"{handled.decision.outcome}: {who} could not read {what}", fields


def wake_up_line(done: Applied | None) -> tuple[str, dict[str, object]]:
    """Message and fields of the line for a wake-up of the writer; None: there is no such remediation."""
    if done is None:
        return "woken for a remediation that does not exist", {"severity": "WARNING"}
    state = done.remediation.state
    return f"woken: the remediation is now {state}", {"state": state, "written": done.written}


def trail_line(step: TrailRecord | ModeChange) -> tuple[str, dict[str, object]]:
    """Message and fields of the line for a transition: the ledger and the log both record it."""
    if isinstance(step, ModeChange):
        message = f"mode: {step.scope}: {describe_change(step)} by {step.actor}"
        return message, {"severity": "NOTICE", TRAIL: step}
    message = f"{step.remediation}: {step.before or 'new'} -> {became(step)} by {step.actor}"
    return message, {"severity": "NOTICE", TRAIL: step}


def where(error: BaseException) -> str:
    """The type of an unexpected error and the line of code that raised it. Its text may quote a log entry: omitted."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _as_cloud_logging_wants_it(_: object, method: str, event: MutableMapping[str, object]) -> bytes:
    severity = event.pop("severity", None) or method.upper()
    line = {"severity": severity, "message": event.pop("event", ""), **event}
    return json_text(line).encode()
