"""`mode`: shows and switches the mode of every scope."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.inputs import (
    ActorOption,
    actor_words,
    current_ledger,
    current_settings,
    require_reason,
    reviewer_address,
)
from remediate.cli.output import FormatOption, OutputFormat, print_rows, say, warn
from remediate.cli.times import deadline
from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.records.modes import Modes
    from remediate.settings import Settings


class SwitchTo(StrEnum):
    """What a scope can be switched to; `clear` removes its switch."""

    DRY_RUN = "dry-run"
    ENFORCE = "enforce"
    CLEAR = "clear"


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(mode)


def mode(
    wanted: Annotated[
        SwitchTo | None,
        typer.Argument(metavar="[dry-run|enforce|clear]", help="The new mode. Without it, shows the current modes."),
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="organizations/N, folders/N or projects/ID. Without it, everywhere.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="The reason, for the audit trail. Required to switch.")] = None,
    actor: ActorOption = None,
    format_: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show or switch the mode, without a redeploy. Dry-run always wins over enforce.

    dry-run applies at once. To set enforce, or to clear a dry-run, two reviewers must ask for the same within a day;
    one operator can do it alone.
    """
    from remediate.decisions.policy import Mode
    from remediate.records.modes import CLEAR, EVERYWHERE, open_request, scope_of
    from remediate.wiring import clock, remediator_from, trail_log_from

    settings = current_settings()
    where = scope_of(scope) if scope is not None else EVERYWHERE
    if wanted is None:
        if reason is not None or actor is not None:
            raise BadInput("--reason and --as require a mode: dry-run, enforce or clear")
        _show(settings, current_ledger(settings), where if scope is not None else None, format_)
        return
    reason = require_reason(reason, f"--reason is required: mode {wanted} --reason '...'; the audit trail records it")
    to = None if wanted is SwitchTo.CLEAR else Mode(wanted)
    ledger = current_ledger(settings)
    before = ledger.modes()
    remediator = remediator_from(settings, trail_log_from(settings, warn))
    after = remediator.switch(where, to, actor=reviewer_address(settings, actor), note=reason)
    asked = open_request(after, where, clock())
    if asked is not None and after.switches.get(where) != to:
        say(f"{where}: not switched yet. {asked.actor} asked for {asked.wanted}; a second person must confirm.")
        say(f"    Until {deadline(asked)} another reviewer or an operator can run: {_command(wanted, scope, settings)}")
        return
    if after.version == before.version:
        say(f"{where}: already {to or 'without a switch'}; nothing changed")
        return
    say(f"{where}: {'no switch any more' if to is None else to}")
    say_switched_alone(ledger, after)
    if (waited := open_request(before, where, clock())) and waited.wanted != (to or CLEAR):
        say(f"    The request of {waited.actor} for {waited.wanted} is withdrawn.")
    for line in _outranked_by(settings, ledger, where, to):
        say(line)


def say_switched_alone(ledger: Ledger, after: Modes) -> None:
    """Say that the change which led to these switches needed no second person, if an operator made it alone."""
    for change in ledger.mode_changes():
        if change.seq == after.trail and change.operator is True and not isinstance(change.asked_by, str):
            say(f"    switched alone: {change.actor} is an operator here")


def _command(wanted: SwitchTo, scope: str | None, settings: Settings) -> str:
    return f"remediate mode {wanted}{f' --scope {scope}' if scope else ''} --reason '...'{actor_words(settings)}"


def _outranked_by(settings: Settings, ledger: Ledger, where: str, to: str | None) -> list[str]:
    """What overrides this switch, or decides in its place."""
    from remediate.decisions.policy import Mode
    from remediate.records.modes import EVERYWHERE

    if to is None and settings.mode is Mode.ENFORCE and Mode.DRY_RUN not in ledger.modes().switches.values():
        return ["    REMEDIATE_MODE=enforce applies now: rules grant without a reviewer."]
    if to != Mode.ENFORCE:
        return []
    if settings.mode is Mode.DRY_RUN:
        return ["    REMEDIATE_MODE=dry-run overrides it: every grant needs a reviewer."]
    held = [scope for scope, mode in ledger.modes().switches.items() if mode is Mode.DRY_RUN and scope != where]
    if EVERYWHERE in held:
        return ["    `everywhere` is in dry-run, which wins: `mode clear` removes it."]
    return [f"    Still in dry-run, where these overlap: {', '.join(sorted(held))}"] if held else []


def _show(settings: Settings, ledger: Ledger, only: str | None, format_: OutputFormat) -> None:
    from remediate.records.modes import POLICY, is_switch, open_request
    from remediate.wiring import clock

    last = {change.scope: change for change in ledger.mode_changes() if is_switch(change)}
    columns = ("scope", "mode", "since", "by", "why")
    rows: list[tuple[str, str, str, str, str]] = []
    if only is None:
        word = settings.mode or "not set: the switches decide; without one, dry-run"
        rows.append(("REMEDIATE_MODE", str(word), "", "", "environment; dry-run overrides every switch"))
    for scope, each in sorted(ledger.modes().switches.items()):
        if only in (None, scope):
            change = last.get(scope)
            by = (change.at, change.actor, change.note) if change else ("", "", "")
            rows.append((scope, str(each), *by))
    modes = ledger.modes()
    for scope in sorted(modes.asked):
        if only in (None, scope) and (asked := open_request(modes, scope, clock())):
            wanted = f"text {asked.wanted[:12]}" if scope == POLICY else asked.wanted
            rows.append((scope, f"asked: {wanted}", asked.at, asked.actor, asked.note))
    if format_ is OutputFormat.TABLE and only is None:
        say(f"Mode: {_in_words(settings, modes)}\n")
    print_rows(format_, columns, rows)
    if format_ is OutputFormat.TABLE and not rows:
        print(f"{only} has no switch; the levels above it decide.")


def _in_words(settings: Settings, modes: Modes) -> str:
    """The mode where no narrower switch applies, why it is that, and where another one applies."""
    from remediate.decisions.policy import Mode
    from remediate.records.modes import EVERYWHERE, Place, effective

    if settings.mode is Mode.DRY_RUN:
        return "dry-run (REMEDIATE_MODE overrides every switch)"
    mode = effective(modes, settings.mode, [Place(frozenset())])
    if EVERYWHERE in modes.switches and modes.switches[EVERYWHERE] is mode:
        why = "the switch of `everywhere`"
    elif settings.mode is Mode.ENFORCE:
        why = "REMEDIATE_MODE"
    else:
        why = "`everywhere` has no switch" if modes.switches else "no switch is set"
    others = sorted(scope for scope, each in modes.switches.items() if each is not mode and scope != EVERYWHERE)
    if not others or modes.switches.get(EVERYWHERE) is Mode.DRY_RUN:
        return f"{mode} ({why})"
    return f"{mode} ({why}); {Mode.ENFORCE if mode is Mode.DRY_RUN else Mode.DRY_RUN} in {', '.join(others)}"
