"""`sweep`: does what is due; for a scheduler, or for an operator after an outage."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.cloud_command import CloudCommand
from remediate.cli.inputs import current_settings, is_embedded
from remediate.cli.output import progress_bar, say, write_utf8
from remediate.cli.times import option_moment
from remediate.errors import BadInput, LedgerFault, PartlyUnreadable, TerminalFault, TransientFault
from remediate.records.events import NO_EVENTS, Events
from remediate.times import LOG_VIEW_LASTS, duration, to_rfc3339

if TYPE_CHECKING:
    from remediate.records.delivery import DeliveryResult
    from remediate.records.modes import ModeChange
    from remediate.records.remediation import TrailRecord
    from remediate.records.results import Swept
    from remediate.service.remediator import Remediator
    from remediate.settings import Settings

_Clock = Callable[[], datetime]

_REFUSED = 3  # the exit code where Google Cloud refused permanently, and nothing else failed
_SENDING = 30.0  # seconds that channels may take; what is not sent by then is sent by the next sweep
LEASES = {"sweep": timedelta(minutes=30), "due": timedelta(minutes=10)}
"""How long each kind of sweep keeps others of its kind away if it dies; as long as its job in deploy/ may take."""


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command(cls=CloudCommand)(sweep)


def sweep(
    since: Annotated[
        str | None,
        typer.Option(help="First read missed denials from the log: of the last 12h, 3d, or since a time (RFC 3339)."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose logs --since reads: projects/ID, folders/N, ... Repeatable. [REMEDIATE_ORGANIZATION] With"
            " REMEDIATE_LOG_VIEW the whole view is read, unless a project is named."
        ),
    ] = None,
    due: Annotated[
        bool,
        typer.Option(
            "--due", help="Only what is due by now: cheap enough for every few minutes, as it looks at no other grant."
        ),
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(help="Act as if it were this time. For trials, with a SQLite ledger only."),
    ] = None,
) -> None:
    """Make approved grants, expire or renew grants, expire unanswered proposals, record grants removed elsewhere.

    Then send waiting notices; one that fails is a WARNING, and does not fail the sweep. At a terminal prints a line for
    each change, or that nothing was due; elsewhere prints a line of JSON for each change. Exits 1 after a fault
    that may pass or that an operator must repair, 3 if Google Cloud refused permanently and nothing else failed: its
    answer names the project whose owner can change that. Safe to repeat, and to run beside the function. While another
    sweep of its kind (with or without --due) runs, it does nothing, and exits 0.

    With --due, grants that were removed elsewhere or may be renewed, and blocked proposals, wait for the next sweep
    without it.
    """
    from remediate.wiring import clock

    if due and (since is not None or scope):
        raise BadInput("--due reads no log: leave out --since and --scope, or leave out --due")
    settings = current_settings()
    now = _as_of(settings, as_of) if as_of is not None else clock()
    at = (lambda: now) if as_of is not None else clock
    with _lease(settings, "due" if due else "sweep", at) as is_ours:
        if is_ours:
            _sweep(settings, at, since, scope, only_due=due)
        else:
            _line("INFO", f"another sweep{' --due' if due else ''} is running; this one did nothing", {})


@contextmanager
def _lease(settings: Settings, name: str, at: _Clock) -> Iterator[bool]:
    """Whether no other sweep of this kind runs; keeps others away until the end of the block.

    On Cloud Run the holder is the execution, so that a retry of a task that died goes on at once.
    """
    from remediate.wiring import ledger_from

    ledger, now = ledger_from(settings), at()
    holder = os.environ.get("CLOUD_RUN_EXECUTION") or uuid.uuid4().hex
    is_ours = ledger.acquire_lease(name, holder, to_rfc3339(now), to_rfc3339(now + LEASES[name]))
    try:
        yield is_ours
    finally:
        if is_ours:
            with suppress(TransientFault, LedgerFault):  # it runs out by itself
                ledger.release_lease(name, holder)


def _sweep(settings: Settings, at: _Clock, since: str | None, scope: list[str] | None, *, only_due: bool) -> None:
    from remediate.wiring import clock, notifier_from, remediator_from, rules_when_needed

    events = _SweepLines(_log(settings))
    notifier = notifier_from(settings, clock=at)
    rules = rules_when_needed(settings, events)
    remediator = remediator_from(settings, events, at, notifier=notifier, rules=rules)
    tally = _Tally()
    try:
        if not only_due:  # it decides about no new denial
            rules()
    except (BadInput, TransientFault) as fault:  # the rest needs no decision, and is done
        tally.faults += 1
        _warn(f"cannot decide denials: {fault}")
    with progress_bar("sweeping") as update:
        if since is not None:
            began = clock()  # before the time that --since counts from, so that seven days are not longer than that
            _pick_up(settings, remediator, tally, _since(since, at()), scope, began)
        elif scope:
            raise BadInput("--scope requires --since: it names whose logs --since reads")
        for done in remediator.sweep(lambda done, total: update(completed=done, total=total), only_due=only_due):
            tally.add(done)
    sent = notifier.deliver(_SENDING) if notifier else []
    for sending in sent:
        _line(*sending.line())
    if not tally.changed and not tally.failed and not sent:
        if sys.stdout.isatty():
            say("nothing was due")
    elif sys.stderr.isatty():
        print(f"{tally.changed} remediations changed, {tally.failed} failed", file=sys.stderr)
    if tally.failed:
        raise typer.Exit(1 if tally.faults else _REFUSED)


def _pick_up(
    settings: Settings,
    remediator: Remediator,
    tally: _Tally,
    first: datetime,
    scope: list[str] | None,
    began: datetime,
) -> None:
    """Handle the denials in the log since `first` that were never delivered."""
    from remediate.wiring import logs_from

    logs = logs_from(settings)
    if logs is None:
        raise BadInput("--since reads Cloud Logging: set CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING")
    scopes = _scopes(settings, scope)
    try:
        entries = logs.denials(_places(settings, scopes, began - first), first)
        for done in remediator.pick_up(entries):
            tally.add(done)
    except PartlyUnreadable as fault:  # their owners can change that, and no repetition
        _line("WARNING", f"cannot read missed denials of some projects: {fault}", {"scope": scope})
    except (TransientFault, TerminalFault) as fault:  # what is due is done nevertheless
        tally.faults += 1
        _line("ERROR", f"cannot read missed denials: {fault}", {"scope": scope})


def _log(settings: Settings) -> Events:
    """Writes the trail's lines to Cloud Logging, except on Cloud Run, which collects the standard output of a job."""
    from remediate.wiring import trail_log_from

    return (
        NO_EVENTS
        if "CLOUD_RUN_JOB" in os.environ
        else trail_log_from(settings, lambda text: _line("WARNING", text, {}))
    )


@dataclass
class _Tally:
    """What became of the remediations and of the missed denials."""

    changed: int = 0
    faults: int = 0
    """Faults that may pass, or that an operator of the service must repair."""
    refused: int = 0
    """Final answers of Google Cloud."""

    @property
    def failed(self) -> int:
        return self.faults + self.refused

    def add(self, done: Swept) -> None:
        """Count one; prints a failure."""
        if not done.fault:
            self.changed += 1
            return
        ident = done.remediation.id if done.remediation else done.ident or None
        _line("ERROR", f"{ident or 'a missed denial'}: {done.fault}", {"remediation": ident})
        if done.is_refused:
            self.refused += 1
        else:
            self.faults += 1


class _SweepLines:
    """Events of a sweep as lines, as they happen; `log` gets the transitions too."""

    def __init__(self, log: Events) -> None:
        self._log = log

    def on_transition(self, step: TrailRecord | ModeChange) -> None:
        from remediate.log_lines import trail_line
        from remediate.records.modes import ModeChange
        from remediate.records.steps import became

        self._log.on_transition(step)
        if isinstance(step, ModeChange):
            message, fields = trail_line(step)
            _line(str(fields.pop("severity")), message, fields)
            return
        change = f"{step.before or 'new'} -> {became(step)}"
        about: dict[str, object] = {"remediation": step.remediation, "before": step.before, "state": step.after}
        about |= {"member": step.member, "repository": step.repository}
        _line("NOTICE", f"{step.remediation}: {change}", {**about, "trail": step})

    def on_delivery(self, result: DeliveryResult) -> None:
        """`deliver` gives the results too; they are printed together at the end."""

    def on_policy_error(self, error: str) -> None:
        _warn(error)

    def on_no_wake_up(self, error: str) -> None:
        """A sweep changes policies itself, and wakes nobody."""


def _warn(text: str) -> None:
    _line("CRITICAL", text, {})


def _line(severity: str, message: str, fields: dict[str, object]) -> None:
    from remediate.presentation.plaintext import json_text

    if sys.stdout.isatty():
        named = f"  ({fields['member']} on {fields['repository']})" if "member" in fields else ""
        say(message + named)
        return
    write_utf8(json_text({"severity": severity, "message": message, **fields}) + "\n")


def _scopes(settings: Settings, scopes: list[str] | None) -> list[str]:
    from remediate.records.modes import EVERYWHERE, scope_of

    named = [scope_of(each) for each in scopes or [] if each != EVERYWHERE]
    if named:
        return named
    if settings.organization is None:
        advice = "Set REMEDIATE_ORGANIZATION, or add --scope projects/ID."
        raise BadInput("--since needs a scope", advice=advice)
    return [f"organizations/{settings.organization}"]


def _places(settings: Settings, scopes: list[str], ago: timedelta) -> list[str]:
    """The log view; or the projects in these scopes, where one is a project, or where no view reaches back that far."""
    from remediate.wiring import projects_within

    if settings.log_view and not any(each.startswith("projects/") for each in scopes):
        if ago <= LOG_VIEW_LASTS:
            return [settings.log_view]
        text = f"--since reaches further back than the {LOG_VIEW_LASTS.days} days of the log view"
        _line("NOTICE", f"{text}: reading the projects' own logs", {"scope": scopes})
    return projects_within(settings, scopes)


def _since(text: str, now: datetime) -> datetime:
    ago = duration(text)
    if ago is not None:
        try:
            return now - ago
        except OverflowError:
            raise BadInput(f"--since {text!r}: that is before the year 1") from None
    found = option_moment("--since", text, "12h, 3d, or RFC 3339, as in 2026-11-23T08:00:00Z")
    if found > now + timedelta(minutes=1):
        raise BadInput(f"--since {text!r}: that time is in the future")
    return found


def _as_of(settings: Settings, text: str) -> datetime:
    if not is_embedded(settings):
        raise BadInput("--as-of works with a SQLite ledger only")
    return option_moment("--as-of", text)
