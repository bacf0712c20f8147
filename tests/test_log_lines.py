"""One JSON line a decision, in the shape that Cloud Logging reads."""

from __future__ import annotations

import pytest

from remediate.decisions.policy import decide
from remediate.log_lines import decision_line, trace_of, where
from remediate.records.results import Handled
from tests.audit_entries import DEPLOYER, activity, denial, understood

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "project", "trace"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, "ops", f"projects/ops/traces/{TRACE}"),
        ({"X-Cloud-Trace-Context": f"{TRACE}/123;o=1"}, "ops", f"projects/ops/traces/{TRACE}"),
        ({"Traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, None, TRACE),
        ({"traceparent": "hunter2"}, "ops", None),
        ({}, "ops", None),
    ],
)
def test_a_line_is_joined_to_its_trace(headers: dict[str, str], project: str | None, trace: str | None) -> None:
    assert trace_of(headers, project) == ({"logging.googleapis.com/trace": trace} if trace else {})


def test_a_denial_without_a_record_is_a_warning() -> None:
    subject = denial(activity(email=None))
    _, fields = decision_line(Handled(decide(subject), subject), 0.01)
    assert fields["severity"] == "WARNING"


def test_a_decision_is_told_with_what_was_parsed() -> None:
    subject = denial(activity())
    message, fields = decision_line(Handled(decide(subject), subject), 0.0123)
    assert DEPLOYER in message
    assert (fields["outcome"], fields["member"], fields["milliseconds"]) == ("ask", f"serviceAccount:{DEPLOYER}", 12.3)


def test_what_is_ignored_is_told_by_its_sentence() -> None:
    subject = understood(activity("Something else."))
    message, fields = decision_line(Handled(decide(subject), subject), 0)
    assert message.startswith("ignored: ")
    assert fields["severity"] == "INFO"


def test_an_unexpected_error_is_told_without_its_text() -> None:
    try:
        raise ValueError("hunter2")
    except ValueError as error:
        told = where(error)
    assert told.startswith("ValueError at test_log_lines.py:")
    assert "hunter2" not in told
