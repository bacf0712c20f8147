"""`trail`: who did what, why and when; and the proof that none of it was changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from remediate.cli.output import Format
from remediate.cli.remediations import find, say, the_ledger
from remediate.errors import BadInput, LedgerFault

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.records.modes import ModeChange
    from remediate.records.remediation import TrailRecord

_COLUMNS = ("at", "remediation", "change", "actor", "member", "repository", "reasons", "note")
_MODE = "mode"
"""What stands in place of a remediation's id where the mode was switched."""
_STORE = "ledger"
"""What stands there where the file itself is damaged."""
_T = TypeVar("_T")


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(trail)


def trail(
    ident: Annotated[
        str | None,
        typer.Argument(metavar="[ID|mode|verify]", help="Only this remediation, only switches; or check every chain."),
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only transitions whose actor contains this.")] = None,
    repository: Annotated[str | None, typer.Option(help="Only repositories whose name contains this.")] = None,
    member: Annotated[str | None, typer.Option(help="Only members that contain this.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project's: it deployed, or holds the image.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only what was decided so: grant, ask or refuse.")] = None,
    state: Annotated[str | None, typer.Option(help="Only transitions into this state.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this moment on (RFC 3339, or a date).")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this moment (RFC 3339, or a date).")] = None,
    format_: Annotated[Format, typer.Option("--format", help="table, json or csv")] = Format.TABLE,
) -> None:
    """Show who did what, why and when: every transition, oldest first. `trail verify` checks that none was changed."""
    from remediate.cli import output
    from remediate.cli.times import moment
    from remediate.decisions.policy import Outcome
    from remediate.records.remediation import State

    ledger = the_ledger()
    about = (actor, repository, member, project, outcome, state, since, until)
    if ident == "verify":
        if any(each is not None for each in about) or format_ is not Format.TABLE:
            raise BadInput("trail verify checks every chain, whole: it takes no filter and no --format")
        _verify(ledger)
        return
    if ident == _MODE and any(each is not None for each in (repository, member, project, outcome, state)):
        raise BadInput("trail mode takes --actor, --since and --until; a switch has no repository, member or state")
    for option, value, accepted in (("--state", state, list(State)), ("--outcome", outcome, list(Outcome))):
        if value is not None and value not in accepted:
            raise BadInput(f"{option} {value!r}: expected one of {', '.join(accepted)}")
    start = moment("--since", since) if since is not None else None
    end = moment("--until", until) if until is not None else None

    def wanted(step: TrailRecord | ModeChange) -> bool:
        at = datetime.fromisoformat(step.at)
        return (start is None or at >= start) and (end is None or at < end) and _contains(step.actor, actor)

    def of_interest(step: TrailRecord) -> bool:
        projects = (step.project, step.repository.split("/")[1])
        return (
            wanted(step)
            and _contains(step.repository, repository)
            and _contains(step.member, member)
            and (project is None or project in projects)
            and outcome in (None, step.outcome)
            and state in (None, step.after)
        )

    steps: list[TrailRecord | ModeChange] = []
    if ident != _MODE:
        told = ledger.trail(find(ledger, ident).id if ident else None)
        steps += [step for step in told if of_interest(step)]
    if ident == _MODE or (ident is None and (repository, member, project, outcome, state) == (None,) * 5):
        steps += [step for step in ledger.mode_changes() if wanted(step)]
        steps.sort(key=lambda step: step.at)
    match format_:
        case Format.JSON:
            output.print_json(steps)
        case Format.CSV:
            output.print_csv(_COLUMNS, _rows(steps))
        case Format.TABLE if steps:
            output.table(_COLUMNS, _rows(steps))
        case Format.TABLE if ident or any(each is not None for each in about):
            print("Nothing on the trail matches.")
        case Format.TABLE:
            print("The trail is empty.")


def _rows(steps: list[TrailRecord | ModeChange]) -> Iterator[tuple[str, ...]]:
    from remediate.records.modes import ModeChange, change_told
    from remediate.records.steps import became

    for step in steps:
        if isinstance(step, ModeChange):
            by = f" (asked for by {step.asked_by})" if isinstance(step.asked_by, str) else ""
            yield step.at, _MODE, change_told(step) + by, step.actor, "", step.scope, "", step.note
        else:
            change, reasons = f"{step.before or 'new'} → {became(step)}", ", ".join(step.reasons)
            yield step.at, step.remediation, change, step.actor, step.member, step.repository, reasons, step.note


def _verify(ledger: Ledger) -> None:
    """Check the store and every chain; names what is broken, the first link of each chain, and exits 1 for any."""
    from remediate.ledger.checked import checked_switches, checked_trail

    said: list[str] = []

    def broken(what: str, why: str) -> None:
        said.append(what)
        say(f"{what}  broken: {why}")

    def gone_through(found: Iterator[_T]) -> Iterator[_T]:
        """What can be read; a store that is damaged beneath its records ends it, and is named once."""
        try:
            yield from found
        except LedgerFault as fault:
            if _STORE not in said:
                broken(_STORE, str(fault))

    for why in gone_through(ledger.damage()):
        broken(_STORE, why)
    known = list(gone_through(ledger.ids()))
    for ident in known:
        _, link = checked_trail(ledger, ident)
        if link:
            broken(ident, link)
    for ident in gone_through(ledger.index_mismatches()):
        broken(ident, "it is filed under another state, name or time than it says, so that nothing finds it")
    now = list(gone_through(ledger.ids()))
    orphans = {step.remediation for step in _readable(ledger)} - set(known) - set(now)
    for ident in sorted(orphans):
        broken(ident, "the remediation that the trail belongs to is missing")
    modes, _, link = checked_switches(ledger)
    if link:
        broken(_MODE, link)
    checked = len(known) + len(orphans) + bool(modes.version)
    say(f"{checked} hash chains checked, {len(said)} broken")
    if said:
        raise typer.Exit(1)


def _readable(ledger: Ledger) -> Iterator[TrailRecord]:
    """Every trail record up to one that cannot be read, which its own chain tells of."""
    with suppress(LedgerFault):
        yield from ledger.trail()


def _contains(text: str, part: str | None) -> bool:
    return part is None or part.casefold() in text.casefold()
