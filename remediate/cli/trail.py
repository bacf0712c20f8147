"""`trail`: shows and verifies the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from remediate.cli.inputs import current_ledger, require_record
from remediate.cli.output import FormatOption, OutputFormat, print_rows, say
from remediate.cli.times import interval
from remediate.errors import BadInput, LedgerFault
from remediate.times import parse_time

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.records.modes import ModeChange
    from remediate.records.remediation import TrailRecord

_COLUMNS = ("at", "remediation", "change", "actor", "member", "repository", "reasons", "note")
_MODE = "mode"
"""In place of a remediation's id: a switch of the mode."""
_STORE = "ledger"
"""In place of an id: damage of the ledger itself."""
_T = TypeVar("_T")


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(trail)


def trail(
    ident: Annotated[
        str | None,
        typer.Argument(metavar="[ID|mode|verify]", help="Only this remediation; only mode switches; or verify all."),
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only transitions whose actor contains this.")] = None,
    repository: Annotated[str | None, typer.Option(help="Only repositories whose name contains this.")] = None,
    member: Annotated[str | None, typer.Option(help="Only members that contain this.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project: it deploys, or holds the image.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only this decision: grant, ask or refuse.")] = None,
    state: Annotated[str | None, typer.Option(help="Only transitions into this state.")] = None,
    since: Annotated[str | None, typer.Option(help="Only at or after this time (RFC 3339, or a date).")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this time (RFC 3339, or a date).")] = None,
    format_: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the audit trail: who did what, when and why, oldest first. `trail verify` detects tampering."""
    from remediate.decisions.policy import Outcome
    from remediate.records.states import State

    ledger = current_ledger()
    about = (actor, repository, member, project, outcome, state, since, until)
    if ident == "verify":
        if any(each is not None for each in about) or format_ is not OutputFormat.TABLE:
            raise BadInput("trail verify takes no filter and no --format: it checks everything")
        _verify(ledger)
        return
    if ident == _MODE and any(each is not None for each in (repository, member, project, outcome, state)):
        raise BadInput("trail mode takes only --actor, --since and --until")
    for option, value, accepted in (("--state", state, list(State)), ("--outcome", outcome, list(Outcome))):
        if value is not None and value not in accepted:
            raise BadInput(f"{option} {value!r}: expected one of {', '.join(accepted)}")
    start, end = interval(since, until)

    def is_in_time(step: TrailRecord | ModeChange) -> bool:
        at = parse_time(step.at)
        return (start is None or at >= start) and (end is None or at < end) and _contains(step.actor, actor)

    def is_of_interest(step: TrailRecord) -> bool:
        projects = (step.project, step.repository.split("/")[1])
        return (
            is_in_time(step)
            and _contains(step.repository, repository)
            and _contains(step.member, member)
            and (project is None or project in projects)
            and outcome in (None, step.outcome)
            and state in (None, step.after)
        )

    steps: list[TrailRecord | ModeChange] = []
    if ident != _MODE:
        recorded = ledger.trail(require_record(ledger, ident).id if ident else None)
        steps += [step for step in recorded if is_of_interest(step)]
    if ident == _MODE or (ident is None and (repository, member, project, outcome, state) == (None,) * 5):
        steps += [step for step in ledger.mode_changes() if is_in_time(step)]
        steps.sort(key=lambda step: step.at)
    print_rows(format_, _COLUMNS, list(_rows(steps)), steps)
    if format_ is OutputFormat.TABLE and not steps:
        filtered = ident or any(each is not None for each in about)
        print("Nothing in the audit trail matches." if filtered else "The audit trail is empty.")


def _rows(steps: list[TrailRecord | ModeChange]) -> Iterator[tuple[str, ...]]:
    from remediate.records.modes import ModeChange, describe_change
    from remediate.records.steps import became

    for step in steps:
        if isinstance(step, ModeChange):
            by = f" (asked for by {step.asked_by})" if isinstance(step.asked_by, str) else ""
            yield step.at, _MODE, describe_change(step) + by, step.actor, "", step.scope, "", step.note
        else:
            change, reasons = f"{step.before or 'new'} → {became(step)}", ", ".join(step.reasons)
            yield step.at, step.remediation, change, step.actor, step.member, step.repository, reasons, step.note


def _verify(ledger: Ledger) -> None:
    """Check the ledger and every chain; print the first broken link of each. Exits 1 if any is broken."""
    from remediate.ledger.checked import checked_switches, checked_trail

    faults: list[str] = []

    def report(what: str, why: str) -> None:
        faults.append(what)
        say(f"{what}  broken: {why}")

    def read_all(found: Iterator[_T]) -> Iterator[_T]:
        """What can be read, up to a damage of the ledger, which is reported once."""
        try:
            yield from found
        except LedgerFault as fault:
            if _STORE not in faults:
                report(_STORE, str(fault))

    for why in read_all(ledger.damage()):
        report(_STORE, why)
    known = list(read_all(ledger.ids()))
    for ident in known:
        _, link = checked_trail(ledger, ident)
        if link:
            report(ident, link)
    for ident in read_all(ledger.index_mismatches()):
        report(ident, "indexed under another state, name or time than its record has; searches miss it")
    now = list(read_all(ledger.ids()))
    orphans = {step.remediation for step in _trail_so_far(ledger)} - set(known) - set(now)
    for ident in sorted(orphans):
        report(ident, "the remediation of this trail is missing")
    modes, _, link = checked_switches(ledger)
    if link:
        report(_MODE, link)
    checked = len(known) + len(orphans) + bool(modes.version)
    say(f"{checked} hash chains checked, {len(faults)} broken")
    if faults:
        raise typer.Exit(1)


def _trail_so_far(ledger: Ledger) -> Iterator[TrailRecord]:
    """Every trail record up to one that cannot be read, which its own chain reports."""
    with suppress(LedgerFault):
        yield from ledger.trail()


def _contains(text: str, part: str | None) -> bool:
    return part is None or part.casefold() in text.casefold()
