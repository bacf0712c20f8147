"""`approve`, `reject`, `revoke`: what a reviewer says to a proposal, and takes back."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.remediations import every, find, needed_too, retry, say, the_ledger, the_settings, warn
from remediate.errors import BadInput, LedgerFault, Refused, RemediateError

if TYPE_CHECKING:
    from remediate.records.remediation import Remediation
    from remediate.service.remediator import Remediator
    from remediate.service.testimony import Testimony
    from remediate.settings import Settings

_Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids, or beginnings of ids.")]
_Some = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="The ids, or beginnings of ids.")]
_Seen = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID...]", help="The ids, or beginnings of ids; ID@CONTENT only as `show` showed it."),
]
_As = Annotated[str | None, typer.Option("--as", help="Who you are: an address. Needed with SQLite.")]
_Why = Annotated[str, typer.Option("--reason", help="Why; it stands on the trail.")]

_Matching = Annotated[
    str | None,
    typer.Option(
        "--all-matching",
        metavar="FILTER",
        help="All proposals whose member or repository contains this; or member=, repository=, project=, with commas.",
    ),
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether all that match are meant.")]

_SENDING = 6.0  # seconds: one attempt on each channel, time-outs included
_UNVERIFIED = "Cloud Logging could not be asked whether it has the denial; the audit trail says so."
_ALL = "`remediate list --state proposed` shows all."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(approve)
    app.command()(reject)
    app.command()(revoke)


def approve(
    idents: _Seen = None,
    actor: _As = None,
    reason: _Why = "",
    matching: _Matching = None,
    yes: _Yes = False,
    lasts: Annotated[str | None, typer.Option("--for", help="Only for so long: 12h, 30d, 8w.")] = None,
    not_mine: Annotated[
        bool,
        typer.Option("--not-mine", help="Declare, in the audit trail, that you did not make these deploys."),
    ] = False,
) -> None:
    """Approve proposals: adds each member to its repository's one reader binding, and nothing else."""
    from remediate.records.approval_count import told
    from remediate.records.remediation import content_digest
    from remediate.records.transitions import google_said

    duration, partners, granted = _duration(lasts), dict[str, None](), []
    contents: dict[str, str] = {}
    seen_now: dict[str, str] = {}
    chosen: list[str] = []
    asked: list[Testimony] = []
    matched = _matching(matching, actor, asked, yes=yes, given=bool(idents), word="approve")
    for ident in [*(idents or ()), *matched]:
        name, at, content = ident.partition("@")
        if at and not re.fullmatch(r"[0-9a-f]{12}", content):
            raise BadInput(f"{ident!r}: expected ID, or ID@CONTENT with the twelve digits that `show` shows")
        found = find(the_ledger(), name)
        if at and contents.get(found.id, content) != content:
            raise BadInput(f"{found.id} is named twice, with different contents")
        if found.id not in chosen:
            chosen.append(found.id)
        if at:
            contents[found.id] = content
        seen_now[found.id] = content_digest(found)

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        if not asked:  # one look-up of the log for all of them
            asked.append(remediator.read_back(filter(None, map(the_ledger().get, chosen)), reviewer))
        partners.update({other.id: None for other in needed_too(the_ledger(), record)})
        seen = contents.get(record.id, seen_now[record.id])
        applied = remediator.approve(
            record.id, actor=reviewer, note=reason, lasts=duration, content=seen, not_mine=not_mine, asked=asked[0]
        )
        done = applied.remediation
        if waiting := done.state == "proposed" and told(done.approvals):
            say(f"{done.id}  {waiting}")
            return True
        if done.state != "granted":
            google = google_said(done, list(the_ledger().trail(done.id)))
            why = ", ".join(reason.sentence for reason in done.reasons)
            say(f"{done.id}  {done.state}: {f'Google Cloud says: {google} ' if google else ''}{why}")
            return False
        if "event_unverified" in done.reasons:
            say(f"{done.id}  event_unverified: {_UNVERIFIED}")
        if applied.written:
            granted.append(done.id)
            say(f"{done.id}  granted: {done.role} to {done.member}")
            say(f"    on {done.repository}; nothing else in its policy changed")
        else:
            say(f"{done.id}  granted: {done.member} was in the reader binding already; nothing was written")
        if done.expires:
            say(f"    until {done.expires}")
        return True

    failed = _each(chosen, actor, "approved", act)
    done = filter(None, map(the_ledger().get, granted))
    try:
        for line in dict.fromkeys(retry(the_ledger(), record) for record in done):
            say(line)
    except LedgerFault as fault:  # what was granted is granted, and told
        warn(f"whether a retry is worth it is not known: {fault}")
    for ident in partners:
        other = the_ledger().get(ident)
        if other and other.state == "proposed":
            who = f" --as {actor}" if actor else ""
            say(f"The same deploy needs {other.member} too,")
            say(f"    on {other.repository}: remediate approve {ident}@{content_digest(other)}{who}")
    _send_notices()
    if failed:
        raise typer.Exit(1)


def reject(
    reason: _Why, idents: _Some = None, actor: _As = None, matching: _Matching = None, yes: _Yes = False
) -> None:
    """Reject proposals: the same denials are then counted, and not raised again for a while."""
    _said(reason)
    found = _matching(matching, actor, None, yes=yes, given=bool(idents), word="reject")
    chosen = dict.fromkeys([*(idents or ()), *(each.partition("@")[0] for each in found)])

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        done = remediator.reject(record.id, actor=reviewer, note=reason)
        say(f"{done.id}  rejected: {done.member} does not get to read {done.repository}")
        return True

    if _each(list(chosen), actor, "rejected", act):
        raise typer.Exit(1)


def revoke(idents: _Ids, reason: _Why, actor: _As = None) -> None:
    """Revoke grants: takes away the members that we added, and nothing else."""
    _said(reason)

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        done = remediator.revoke(record.id, actor=reviewer, note=reason)
        say(f"{done.id}  revoked: {done.member} is no reader of {done.repository} any more")
        say("    Serving revisions go on; the next deploy or rollback would fail.")
        return True

    if _each(idents, actor, "revoked", act):
        raise typer.Exit(1)


def _said(reason: str) -> None:
    if not reason.strip():
        raise BadInput("--reason '': say why; it stands on the trail")


def _each(idents: list[str], actor: str | None, word: str, act: Callable[[Remediator, Remediation, str], bool]) -> bool:
    """Act on each remediation in turn, telling what is refused; True where one was."""
    from remediate.wiring import notifier_from, remediator_from, trail_log_from

    settings = the_settings()
    person = reviewer(settings, actor)
    records = [find(the_ledger(settings), ident) for ident in idents]
    remediator = remediator_from(settings, trail_log_from(settings, warn), notifier=notifier_from(settings))
    failed = False
    for record in records:
        try:
            failed |= not act(remediator, record, person)
        except RemediateError as error:
            failed = True
            say(f"{record.id}  not {word}: {error}")
            if error.advice:
                say(f"    {error.advice}")
    return failed


def _send_notices() -> None:
    """Tell those who wait, once the reviewer has read what was done; what does not go out now is sent by a sweep."""
    from remediate.wiring import notifier_from

    notifier = notifier_from(the_settings())
    for sending in notifier.deliver(_SENDING) if notifier else ():
        if sending.fault:
            say(sending.line()[1])


def _matching(
    text: str | None, actor: str | None, asked: list[Testimony] | None, *, yes: bool, given: bool, word: str
) -> list[str]:
    """The proposals that a filter matches, as ID@CONTENT, once the caller has seen them listed and said yes.

    What the log was asked for that list is left in `asked`, so that it is not asked again; None: it is not asked.
    """
    if text is None:
        if not given:
            raise BadInput("which ones? Name ids, or --all-matching FILTER", advice=_ALL)
        return []
    from remediate.ledger.interface import projects
    from remediate.records.remediation import State, content_digest

    person = reviewer(the_settings(), actor)  # who may not review is told before being asked
    parts = [part.partition("=") for part in text.split(",")]
    accepted = ("member", "repository", "project")
    named = all(name.strip() in accepted and value.strip() for name, sign, value in parts if sign)
    if not named or not all(name.strip() for name, _, _ in parts):
        what = "a part of a member or repository, member=..., repository=... or project=..."
        raise BadInput(f"--all-matching {text!r}: expected {what}")

    def matches(record: Remediation) -> bool:
        fields = {"member": record.member, "repository": record.repository}
        all_fields = fields | {"project": " ".join(projects(record))}
        return all(
            value.strip().casefold() in all_fields[name.strip()].casefold()
            if sign
            else any(name.strip().casefold() in each.casefold() for each in fields.values())
            for name, sign, value in parts
        )

    found = [each for each in every(the_ledger(), (State.PROPOSED,)) if matches(each)]
    if not found:
        raise BadInput(f"--all-matching {text!r}: no proposal matches", advice=_ALL)
    if asked is not None and not given:
        asked.append(_read_back(found, person))
    for each in found:
        unverified = ["event_unverified"] if asked and asked[0].unanswered(each) else []
        say(f"{each.id}  {each.member}\n    on {each.repository} ({', '.join([*each.reasons, *unverified])})")
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"{len(found)} proposals match; say --yes to {word} them without being asked")
        typer.confirm(f"{word.capitalize()} all {len(found)}?", abort=True)
    return [f"{each.id}@{content_digest(each)}" for each in found]


def _read_back(found: list[Remediation], person: str) -> Testimony:
    from remediate.wiring import remediator_from

    return remediator_from(the_settings()).read_back(found, person)


def _duration(text: str | None) -> timedelta | None:
    from remediate.cli.times import duration

    found = duration(text) if text else None
    if text is not None and found is None:
        raise BadInput(f"--for {text!r}: expected hours, days or weeks, as in 12h, 30d or 8w")
    return found


def _key(address: str) -> str:
    from remediate.iam.member import Member, parse_member

    person = parse_member(address)
    return person.key if isinstance(person, Member) else address


def reviewer(settings: Settings, actor: str | None) -> str:
    """Who reviews: by the caller's own credentials. With the embedded ledger the caller says so; nothing else could."""
    from remediate.iam.member import Member, parse_member

    if not settings.ledger.startswith("sqlite:"):
        from remediate.cloud.caller import caller_address

        if os.environ.get("K_SERVICE") or os.environ.get("CLOUD_RUN_JOB"):
            raise Refused("this runs as the service itself, and what it does may not be approved by it")
        own = caller_address()
        if actor is not None and _key(actor) != _key(own):
            raise BadInput(f"--as {actor!r}: with this ledger you are who your credentials say, {own}")
        return own
    if actor is None:
        raise BadInput("say who you are", advice="With the embedded ledger: --as you@example.com")
    if not isinstance(parse_member(actor), Member):
        raise BadInput(f"--as {actor!r}: expected the address of a user or service account")
    return actor
