"""The functions: `on_denial` turns an audit log entry in a CloudEvent into a grant, a proposal or a log line; `review`
serves the pages where people decide; `carry_out` changes the policy that an approval or a revocation is about.

Only wiring. A 2xx ends an event; after any other answer it is redelivered. So an unreadable event gets a 2xx, and a
temporary fault a 5xx.
"""

from __future__ import annotations

import os
import time

import flask
import functions_framework
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent

from remediate import log_lines as logs
from remediate.cloud.wake_up import woken_for
from remediate.entries.denial import understand
from remediate.entries.envelope import entry_of
from remediate.entries.log_entry import read_entry
from remediate.errors import BadInput, LedgerFault, RemediateError, TerminalFault, TransientFault, Unreadable
from remediate.review.body import withhold
from remediate.settings import load_settings
from remediate.wiring import notifier_from, remediator_from, review_from, rules_from

log = logs.configure()
events = logs.LogEvents(log)


try:
    settings = load_settings(os.environ)
    notifier = notifier_from(settings, events, background=True)
    rules = rules_from(settings, events)  # an invalid policy stops the start
    remediator = remediator_from(settings, events, notifier=notifier, rules=rules)
    pages = review_from(settings, remediator) if os.environ.get("FUNCTION_TARGET") == "review" else None
except (BadInput, LedgerFault, TransientFault) as error:
    raise SystemExit(f"remediate cannot start:\n{error}\n{error.advice}") from None


def unreadable(error: Exception) -> tuple[str, int]:
    """The answer to a body that functions-framework cannot parse, for example because it is nested too deep."""
    log.warning("unreadable event", why=f"not a CloudEvent: {type(error).__name__}")
    return "", 204


if flask.has_app_context():  # functions-framework imports this module inside its own application
    if pages is None:
        for kind in (RecursionError, GenericException):
            flask.current_app.register_error_handler(kind, unreadable)
    else:
        flask.current_app.before_request(lambda: withhold(flask.request))


@functions_framework.cloud_event
def on_denial(event: CloudEvent) -> None:
    """Handle one delivery of one audit log entry: from a sink's topic, an audit log trigger, or a raw Pub/Sub push."""
    try:
        handle(event)
    finally:
        if notifier is not None:
            notifier.wait_until_sent()  # Cloud Run may take the CPU away with the answer


def handle(event: CloudEvent) -> None:
    """Decide about one log entry. Aborts with a 5xx where the event is to be redelivered."""
    started = time.perf_counter()
    trace = logs.trace_of(dict(flask.request.headers), os.environ.get("GOOGLE_CLOUD_PROJECT"))
    line = log.bind(event_id=event["id"], **trace)
    try:
        subject = understand(read_entry(entry_of(event.data)))
    except Unreadable as error:
        line.warning("unreadable event", why=str(error))
        return
    try:
        handled = remediator.handle(subject)
    except TransientFault as fault:
        line.error("temporary fault; the event is redelivered", why=str(fault), insert_id=subject.entry.insert_id)
        flask.abort(503)
    except TerminalFault as fault:
        line.error("Google Cloud refused permanently", why=str(fault), insert_id=subject.entry.insert_id)
        return
    except LedgerFault as fault:
        line.critical(
            "the ledger is damaged; the event is redelivered", why=str(fault), insert_id=subject.entry.insert_id
        )
        flask.abort(500)
    except Exception as error:  # the event is redelivered, and no traceback shows its content
        line.critical(
            "unexpected error; the event is redelivered", why=logs.where(error), insert_id=subject.entry.insert_id
        )
        flask.abort(500)
    message, fields = logs.decision_line(handled, time.perf_counter() - started)
    line.info(message, **fields)


@functions_framework.http
def review(request: flask.Request) -> flask.Response:
    """Serve the review pages."""
    if pages is None:
        flask.abort(404)
    try:
        response = pages.answer(request)
    except Exception as error:  # no traceback shows the content of a page
        log.critical("unexpected error", why=logs.where(error), path=request.path)
        response = pages.failed(request)
    if notifier is not None and request.method == "POST":
        notifier.wait_until_sent()
    return response


@functions_framework.http
def carry_out(request: flask.Request) -> tuple[str, int]:
    """Carry out what is due for the remediation that a push names. After a 5xx the message is redelivered.

    The message proves nothing and decides nothing: see `Remediator.carry_out`.
    """
    ident = woken_for(request.get_data())
    if ident is None:
        log.warning("unreadable wake-up", why="expected a Pub/Sub push with the id of a remediation")
        return "", 204
    trace = logs.trace_of(dict(request.headers), os.environ.get("GOOGLE_CLOUD_PROJECT"))
    line = log.bind(remediation=ident, **trace)
    try:
        done = remediator.carry_out(ident)
    except TransientFault as fault:
        line.error("temporary fault; the message is redelivered", why=str(fault))
        return "", 503
    except RemediateError as fault:
        line.error("not carried out", why=str(fault))
        return "", 500 if isinstance(fault, LedgerFault) else 204
    except Exception as error:
        line.critical("unexpected error; the message is redelivered", why=logs.where(error))
        return "", 500
    finally:
        if notifier is not None:
            notifier.wait_until_sent()
    message, fields = logs.wake_up_line(done)
    line.info(message, **fields)
    return "", 204
