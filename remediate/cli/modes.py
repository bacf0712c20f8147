"""`mode`: what is in force where, since when and by whom; and the switch."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.output import Format
from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.settings import Settings


class Wanted(StrEnum):
    """What a scope can be switched to; `clear` takes its switch away."""

    DRY_RUN = "dry-run"
    ENFORCE = "enforce"
    CLEAR = "clear"


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(mode)


def mode(
    wanted: Annotated[
        Wanted | None, typer.Argument(metavar="[dry-run|enforce|clear]", help="What to switch to; nothing: show.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="organizations/N, folders/N or projects/ID; everywhere where not given.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it stands on the trail. Needed to switch.")] = None,
    actor: Annotated[str | None, typer.Option("--as", help="Who you are: an address (embedded ledger only).")] = None,
    format_: Annotated[Format, typer.Option("--format", help="table, json or csv")] = Format.TABLE,
) -> None:
    """Show or switch the mode, without a redeploy. The strictest wins: one dry-run above a project is enough."""
    from remediate.cli.remediations import say, the_ledger, the_settings, warn
    from remediate.cli.reviews import reviewer
    from remediate.modes import CLEAR, EVERYWHERE, open_request, scope_of
    from remediate.policy import Mode
    from remediate.wiring import clock, remediator_from, trail_log_from

    settings = the_settings()
    where = scope_of(scope) if scope is not None else EVERYWHERE
    if wanted is None:
        if reason is not None or actor is not None:
            raise BadInput("--reason and --as are for a switch: say dry-run, enforce or clear")
        _show(settings, the_ledger(settings), where if scope is not None else None, format_)
        return
    if reason is None or not reason.strip():
        raise BadInput(f"say why: mode {wanted} --reason '...'; it stands on the trail")
    to = None if wanted is Wanted.CLEAR else Mode(wanted)
    before = the_ledger(settings).modes()
    remediator = remediator_from(settings, trail_log_from(settings, warn))
    after = remediator.switch(where, to, actor=reviewer(settings, actor), note=reason)
    open_ = open_request(after, where, clock())
    if after.version == before.version or (open_ and after.switches == before.switches):
        if open_ is None or open_.wanted != (to or CLEAR):
            say(f"{where}: {to or 'no switch'}, as before; nothing was recorded")
            return
        what = "asked already" if after.version == before.version else "asked"
        say(f"{where}: {what} for {open_.wanted} by {open_.actor}; in force once a second person confirms it.")
        say(f"    Within a day, another reviewer or an operator runs: {_same(wanted, scope)}")
        return
    say(f"{where}: {'no switch any more' if to is None else to}")
    for line in _strictest(settings, the_ledger(settings), where, to):
        say(line)


def _same(wanted: Wanted, scope: str | None) -> str:
    return f"python -m remediate mode {wanted}{f' --scope {scope}' if scope else ''} --reason '...'"


def _strictest(settings: Settings, ledger: Ledger, where: str, to: str | None) -> list[str]:
    """What else has a say about this scope, so that nobody thinks they switched what something stricter holds."""
    from remediate.modes import EVERYWHERE
    from remediate.policy import Mode

    if to is None and settings.mode is Mode.ENFORCE and Mode.DRY_RUN not in ledger.modes().switches.values():
        return ["    REMEDIATE_MODE=enforce decides now: what the rules grant is granted without a reviewer."]
    if to != Mode.ENFORCE:
        return []
    if settings.mode is Mode.DRY_RUN:
        return ["    REMEDIATE_MODE=dry-run outranks it: nothing is granted without a reviewer."]
    held = [scope for scope, mode in ledger.modes().switches.items() if mode is Mode.DRY_RUN and scope != where]
    if EVERYWHERE in held:
        return ["    `everywhere` is switched to dry-run, which is stricter: `mode clear` takes that away."]
    return [f"    Stays in dry-run where it overlaps: {', '.join(sorted(held))}"] if held else []


def _show(settings: Settings, ledger: Ledger, only: str | None, format_: Format) -> None:
    from remediate.cli import output
    from remediate.modes import open_request
    from remediate.wiring import clock

    last = {change.scope: change for change in ledger.mode_changes()}
    columns = ("scope", "mode", "since", "by", "why")
    rows: list[tuple[str, str, str, str, str]] = []
    if only is None:
        word = settings.mode or "not set: the switches decide, dry-run where there is none"
        rows.append(("REMEDIATE_MODE", str(word), "", "", "the environment; dry-run outranks every switch"))
    for scope, each in sorted(ledger.modes().switches.items()):
        if only in (None, scope):
            change = last.get(scope)
            by = (change.at, change.actor, change.note) if change else ("", "", "")
            rows.append((scope, str(each), *by))
    modes = ledger.modes()
    for scope in sorted(modes.asked):
        if only in (None, scope) and (asked := open_request(modes, scope, clock())):
            rows.append((scope, f"asked: {asked.wanted}", asked.at, asked.actor, asked.note))
    match format_:
        case Format.JSON:
            output.print_json([dict(zip(columns, row, strict=True)) for row in rows])
        case Format.CSV:
            output.print_csv(columns, rows)
        case Format.TABLE if rows:
            output.table(columns, rows)
        case Format.TABLE:
            print(f"There is no switch for {only}; what lies above it decides.")
