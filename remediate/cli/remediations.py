"""`list`, `show`, `trail`: what waits for a reviewer, the whole story of one, and who did what, why and when."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.output import Format
from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.remediation import Remediation, TrailRecord
    from remediate.settings import Settings

_Formats = Annotated[Format, typer.Option("--format", help="table, json or csv")]
RETRY = "A retry of the deploy is worth it from two minutes on; IAM may take seven or more."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("list")(list_)
    app.command()(show)
    app.command()(trail)


def list_(
    state: Annotated[list[str] | None, typer.Option(help="Only these states (again for more).")] = None,
    repository: Annotated[str | None, typer.Option(help="Only repositories whose name contains this.")] = None,
    member: Annotated[str | None, typer.Option(help="Only members that contain this.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 100,
    format_: _Formats = Format.TABLE,
) -> None:
    """List remediations, most recently denied first."""
    from remediate.cli import output
    from remediate.ledger.interface import Filter
    from remediate.remediation import State

    for name in state or ():
        if name not in list(State):
            raise BadInput(f"--state {name!r}: expected one of {', '.join(State)}")
    wanted = Filter(tuple(State(name) for name in state or ()), repository, member)
    found = the_ledger().find(wanted, limit=limit)
    columns = ("id", "state", "member", "repository", "denials", "last_seen", "reasons")
    rows = (
        (each.id, each.state, each.member, each.repository, each.denials, each.last_seen, ", ".join(each.reasons))
        for each in found
    )
    match format_:
        case Format.JSON:
            output.print_json([_as_json(each) for each in found])
        case Format.CSV:
            output.print_csv(columns, rows)
        case Format.TABLE if found:
            output.table(columns, rows)
        case Format.TABLE if state or repository or member:
            print("No remediation matches.")
        case Format.TABLE:
            print("No remediations. They appear here when a deploy to Cloud Run fails because an image cannot be read.")


def show(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The id, or the beginning of one.")],
    format_: Annotated[Format, typer.Option("--format", help="table (a text) or json")] = Format.TABLE,
) -> None:
    """Tell the whole story of one remediation."""
    from remediate.cli import output

    if format_ is Format.CSV:
        raise BadInput("--format csv: expected table (a text) or json for one remediation")
    ledger = the_ledger()
    record = find(ledger, ident)
    steps = list(ledger.trail(record.id))
    if format_ is Format.JSON:
        output.print_json({**_as_json(record), "trail": steps})
    else:
        output.console().print("\n".join(output.printable(line) for line in _story(record, steps)))


def trail(
    ident: Annotated[
        str | None, typer.Argument(metavar="[ID|verify]", help="Only this remediation; or check every hash chain.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only transitions whose actor contains this.")] = None,
    repository: Annotated[str | None, typer.Option(help="Only repositories whose name contains this.")] = None,
    member: Annotated[str | None, typer.Option(help="Only members that contain this.")] = None,
    state: Annotated[str | None, typer.Option(help="Only transitions into this state.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this moment on (RFC 3339, or a date).")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this moment (RFC 3339, or a date).")] = None,
    format_: _Formats = Format.TABLE,
) -> None:
    """Show who did what, why and when: every transition, oldest first. `trail verify` checks that none was changed."""
    from remediate.cli import output
    from remediate.remediation import State

    ledger = the_ledger()
    if ident == "verify":
        _verify(ledger)
        return
    if state is not None and state not in list(State):
        raise BadInput(f"--state {state!r}: expected one of {', '.join(State)}")
    start, end = _moment("--since", since), _moment("--until", until)
    steps = [
        each
        for each in ledger.trail(find(ledger, ident).id if ident else None)
        if _contains(each.actor, actor)
        and _contains(each.repository, repository)
        and _contains(each.member, member)
        and state in (None, each.after)
        and (start is None or each.at >= start)
        and (end is None or each.at < end)
    ]
    columns = ("at", "remediation", "change", "actor", "member", "repository", "reasons", "note")
    rows = (
        (
            each.at,
            each.remediation,
            f"{each.before or 'new'} → {each.after}",
            each.actor,
            each.member,
            each.repository,
            ", ".join(each.reasons),
            each.note,
        )
        for each in steps
    )
    match format_:
        case Format.JSON:
            output.print_json(steps)
        case Format.CSV:
            output.print_csv(columns, rows)
        case Format.TABLE if steps:
            output.table(columns, rows)
        case Format.TABLE:
            print("The trail is empty.")


def _verify(ledger: Ledger) -> None:
    """Check every chain; names the first broken link of each that is broken, and exits 1 where there is one."""
    from remediate.remediation import broken_link

    chains: dict[str, list[TrailRecord]] = {ident: [] for ident in ledger.ids()}
    for step in ledger.trail():
        chains.setdefault(step.remediation, []).append(step)
    broken = 0
    for ident, steps in chains.items():
        if link := broken_link(ledger.get(ident), steps):
            broken += 1
            say(f"{ident}  broken: {link}")
    say(f"{len(chains)} hash chains checked, {broken} broken")
    if broken:
        raise typer.Exit(1)


def _story(record: Remediation, steps: list[TrailRecord]) -> list[str]:
    who = "could not read" if record.denials else "will not be able to read"
    where = [
        f"{each.kind or 'deploy'} {each.name or '?'} in {each.project or '?'} ({each.location or '?'})"
        for each in record.deploys
    ]
    times = f", {record.denials} time{'s' if record.denials != 1 else ''}" if record.denials else ""
    lines = [
        f"{record.id}  {record.state}",
        f"{record.member} {who} images in {record.repository}",
        f"while deploying {'; '.join(where) or 'something unknown'}{times},",
        f"first {record.first_seen}, last {record.last_seen}.",
        "",
        f"What it would get: {record.role} on that repository, and nothing else.",
        "Why it was decided so:",
        *(f"  {reason}: {reason.sentence}" for reason in record.reasons),
    ]
    for name, values in (("Images", record.images), ("Deployed by", record.deployers), ("Partner", record.partners)):
        if values:
            lines.append(f"{name}: {', '.join(values)}")
    lines += ["", "Trail:"]
    for step in steps:
        note = f"  ({step.note})" if step.note else ""
        lines.append(f"  {step.at}  {step.before or 'new'} → {step.after}  by {step.actor}{note}")
    lines += ["", *_next(record)]
    return lines


def _next(record: Remediation) -> list[str]:
    who = " --as you@example.com" if the_settings().ledger.startswith("sqlite:") else ""
    revoke = [f"To take it away: python -m remediate revoke {record.id}{who} --reason '...'"] if record.ours else []
    match record.state:
        case "proposed" | "failed":
            both = " ".join((record.id, *record.partners))
            return [
                "What to type next:",
                f"  python -m remediate approve {both}{who}",
                f"  python -m remediate reject {record.id}{who} --reason '...'",
            ]
        case "approved":
            return ["The write is due: `python -m remediate sweep` carries it out."]
        case "granted":
            until = [f"It ends by itself at {record.expires}."] if record.expires else []
            return [RETRY, *until, *revoke]
        case "refused":
            return ["Nobody can approve this; it is looked at again when it is denied again."]
        case "rejected":
            return ["The same denial is counted, and raised again only when REMEDIATE_HOLD_DAYS are over."]
        case _:
            return ["The next denial raises it again."]


def _as_json(record: Remediation) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(record)
    hidden = ("version", "trail", "trail_hash")
    return {name: value for name, value in fields.items() if name not in hidden} | {
        "reader": next(iter(record.readers), None)
    }


def the_settings() -> Settings:
    """The settings of this shell's environment."""
    from remediate.settings import load_settings

    return load_settings(os.environ)


def the_ledger(settings: Settings | None = None) -> Ledger:
    """The ledger that the settings name."""
    from remediate.wiring import ledger_from

    return ledger_from(settings or the_settings())


def _contains(text: str, part: str | None) -> bool:
    return part is None or part.casefold() in text.casefold()


def _moment(option: str, text: str | None) -> str | None:
    """A moment as the trail writes it, so that both compare as text; without a zone it is UTC."""
    from remediate.remediation import instant

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise BadInput(f"{option} {text!r}: expected RFC 3339, as in 2026-11-23T08:00:00Z or 2026-11-23") from None
    try:
        return instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except OverflowError:
        raise BadInput(f"{option} {text!r}: expected a moment of this era") from None


def find(ledger: Ledger, ident: str) -> Remediation:
    """The one remediation whose id begins so, with or without its `r-`."""
    text = ident if ident.startswith("r-") else f"r-{ident}"
    found = ledger.named(text) if len(text) > 2 else []
    if not found:
        raise BadInput(f"there is no remediation {ident!r}", advice="`python -m remediate list` shows all.")
    if len(found) > 1:
        raise BadInput(f"{ident!r} is the beginning of several ids: {', '.join(each.id for each in found)}")
    return found[0]


def say(text: str) -> None:
    """Print a line, whole and without anything that drives a terminal."""
    from remediate.cli import output

    for line in text.split("\n"):
        output.console().print(output.printable(line))
