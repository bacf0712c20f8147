"""`approve`, `reject`, `revoke`: what a reviewer says to a proposal, and takes back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.remediations import RETRY, find, say, the_ledger, the_settings
from remediate.errors import BadInput, RemediateError

if TYPE_CHECKING:
    from remediate.remediation import Remediation
    from remediate.remediator import Remediator
    from remediate.settings import Settings

_Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids, or beginnings of ids.")]
_As = Annotated[str | None, typer.Option("--as", help="Who you are: an address (embedded ledger only).")]
_Why = Annotated[str, typer.Option("--reason", help="Why; it stands on the trail.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(approve)
    app.command()(reject)
    app.command()(revoke)


def approve(
    idents: _Ids,
    actor: _As = None,
    reason: _Why = "",
    lasts: Annotated[str | None, typer.Option("--for", help="Only for so long: 12h, 30d, 8w.")] = None,
) -> None:
    """Approve proposals: adds each member to its repository's one reader binding, and nothing else."""
    duration, partners, granted = _duration(lasts), dict[str, None](), []

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        partners.update(dict.fromkeys(record.partners))
        applied = remediator.approve(record.id, actor=reviewer, note=reason, lasts=duration)
        done = applied.remediation
        if done.state != "granted":
            say(f"{done.id}  {done.state}: {', '.join(reason.sentence for reason in done.reasons)}")
            return False
        if applied.written:
            granted.append(done.id)
            say(f"{done.id}  granted: {done.role} to {done.member}")
            say(f"    on {done.repository}; nothing else in its policy changed")
        else:
            say(f"{done.id}  granted: {done.member} was in the reader binding already; nothing was written")
        if done.expires:
            say(f"    until {done.expires}")
        return True

    failed = _each(idents, actor, "approved", act)
    if granted:
        say(RETRY)
    for ident in partners:
        other = the_ledger().get(ident)
        if other and other.state == "proposed":
            who = f" --as {actor}" if actor else ""
            say(f"Its partner is still proposed ({other.member}): python -m remediate approve {ident}{who}")
    if failed:
        raise typer.Exit(1)


def reject(idents: _Ids, reason: _Why, actor: _As = None) -> None:
    """Reject proposals: the same denials are then counted, and not raised again for a while."""

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        done = remediator.reject(record.id, actor=reviewer, note=reason)
        say(f"{done.id}  rejected: {done.member} does not get to read {done.repository}")
        return True

    if _each(idents, actor, "rejected", act):
        raise typer.Exit(1)


def revoke(idents: _Ids, reason: _Why, actor: _As = None) -> None:
    """Revoke grants: takes away the members that we added, and nothing else."""

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        done = remediator.revoke(record.id, actor=reviewer, note=reason)
        say(f"{done.id}  revoked: {done.member} is no reader of {done.repository} any more")
        say("    Serving revisions go on; the next deploy or rollback would fail.")
        return True

    if _each(idents, actor, "revoked", act):
        raise typer.Exit(1)


def _each(idents: list[str], actor: str | None, word: str, act: Callable[[Remediator, Remediation, str], bool]) -> bool:
    """Act on each remediation in turn, telling what is refused; True where one was."""
    from remediate.wiring import remediator_from

    settings = the_settings()
    reviewer = _reviewer(settings, actor)
    records = [find(the_ledger(settings), ident) for ident in idents]
    remediator = remediator_from(settings)
    failed = False
    for record in records:
        try:
            failed |= not act(remediator, record, reviewer)
        except RemediateError as error:
            failed = True
            say(f"{record.id}  not {word}: {error}")
    return failed


def _duration(text: str | None) -> timedelta | None:
    """`12h`, `30d` or `8w` as a duration."""
    if text is None:
        return None
    match = re.match(r"([1-9][0-9]{0,4})([hdw])\Z", text)
    if not match:
        raise BadInput(f"--for {text!r}: expected hours, days or weeks, as in 12h, 30d or 8w")
    return int(match[1]) * timedelta(hours={"h": 1, "d": 24, "w": 168}[match[2]])


def _reviewer(settings: Settings, actor: str | None) -> str:
    """Who reviews: by the caller's own credentials. With the embedded ledger the caller says so; nothing else could."""
    from remediate.principal import Member, parse_member

    if not settings.ledger.startswith("sqlite:"):
        from remediate.cloud.identity import caller_address

        if actor is not None:
            raise BadInput("--as is for the embedded ledger only; with this one you are who your credentials say")
        return caller_address()
    if actor is None:
        raise BadInput("say who you are", advice="With the embedded ledger: --as you@example.com")
    if not isinstance(parse_member(actor), Member):
        raise BadInput(f"--as {actor!r}: expected the address of a user or service account")
    return actor
