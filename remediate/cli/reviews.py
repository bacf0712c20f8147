"""`approve`, `reject`, `revoke`: what a reviewer decides."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.cloud_command import CloudCommand
from remediate.cli.inputs import (
    ActorOption,
    all_records,
    current_ledger,
    current_settings,
    require_reason,
    require_record,
    reviewer_address,
)
from remediate.cli.output import say, warn
from remediate.cli.remediations import open_partners, retry_advice
from remediate.errors import BadInput, LedgerFault, RemediateError
from remediate.times import duration

if TYPE_CHECKING:
    from remediate.records.remediation import Remediation
    from remediate.service.remediator import Remediator
    from remediate.service.testimony import Testimony

_Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids, or their first characters.")]
_Some = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="The ids, or their first characters.")]
_Seen = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID...]", help="The ids, or their first characters; ID@CONTENT approves only what `show` showed."
    ),
]
_Why = Annotated[str, typer.Option("--reason", help="The reason, for the audit trail.")]

_Matching = Annotated[
    str | None,
    typer.Option(
        "--all-matching",
        metavar="FILTER",
        help="All proposals whose member or repository contains this; or member=, repository=, project=, with commas.",
    ),
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]

_SENDING = 6.0  # seconds: one attempt on each channel, time-outs included
_UNVERIFIED = "could not verify the denial in Cloud Logging; the audit trail records this."
_ALL = "`remediate list --state proposed` shows all proposals."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command(cls=CloudCommand)(approve)
    app.command()(reject)
    app.command(cls=CloudCommand)(revoke)


def approve(
    idents: _Seen = None,
    actor: ActorOption = None,
    reason: _Why = "",
    matching: _Matching = None,
    yes: _Yes = False,
    max_duration: Annotated[str | None, typer.Option("--for", help="Revoke after this time: 12h, 30d, 8w.")] = None,
    not_mine: Annotated[
        bool,
        typer.Option("--not-mine", help="Declare that you did not make these deploys; the audit trail records it."),
    ] = False,
) -> None:
    """Approve proposals: grant each member reader access to its repository, and nothing else."""
    from remediate.records.approval_count import approvals_text
    from remediate.records.digests import content_digest
    from remediate.records.transitions import words_of_google

    limit, partners, granted = _duration(max_duration), dict[str, None](), []
    ledger = current_ledger()
    contents: dict[str, str] = {}
    seen_now: dict[str, str] = {}
    chosen: list[str] = []
    asked: list[Testimony] = []
    matched = _select_matching(matching, actor, asked, yes=yes, given=bool(idents), word="approve")
    for ident in [*(idents or ()), *matched]:
        name, at, content = ident.partition("@")
        if at and not re.fullmatch(r"[0-9a-f]{12}", content):
            raise BadInput(f"{ident!r}: expected ID, or ID@CONTENT with the 12 digits that `show` prints")
        found = require_record(ledger, name)
        if at and contents.get(found.id, content) != content:
            raise BadInput(f"{found.id} is given twice, with different contents")
        if found.id not in chosen:
            chosen.append(found.id)
        if at:
            contents[found.id] = content
        seen_now[found.id] = content_digest(found)

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        if not asked:  # one look-up of the log for all of them
            asked.append(remediator.read_back(filter(None, map(ledger.get, chosen)), reviewer))
        needed = open_partners(ledger, record)
        seen = contents.get(record.id, seen_now[record.id])
        applied = remediator.approve(
            record.id, actor=reviewer, note=reason, max_duration=limit, content=seen, not_mine=not_mine, asked=asked[0]
        )
        [done] = remediator.outcome([applied.remediation])
        if done.state in ("proposed", "granted"):
            partners.update({other.id: None for other in needed if other.id not in chosen})
        if waiting := done.state == "proposed" and approvals_text(done.lifecycle.approvals):
            say(f"{done.id}  {waiting}")
            return True
        if done.state == "approved" and remediator.hands_over:
            say(f"{done.id}  approved; the writer makes the grant within minutes: remediate show {done.id}")
            return True
        if done.state != "granted":
            google = words_of_google(done, list(ledger.trail(done.id)))
            why = ", ".join(reason.sentence for reason in done.reasons)
            say(f"{done.id}  {done.state}: {f'Google Cloud says: {google} ' if google else ''}{why}")
            return False
        if "event_unverified" in done.reasons:
            say(f"{done.id}  event_unverified: {_UNVERIFIED}")
        if applied.written or remediator.hands_over:
            granted.append(done.id)
            say(f"{done.id}  granted: {done.role} to {done.member}")
            say(f"    on {done.repository}; nothing else in its policy changed")
        else:
            say(f"{done.id}  granted: {done.member} was already in the reader binding; nothing changed")
        if done.lifecycle.expires:
            say(f"    until {done.lifecycle.expires}")
        return True

    failed = _act_on_each(chosen, actor, "approved", act)
    done = filter(None, map(ledger.get, granted))
    try:
        for line in dict.fromkeys(retry_advice(ledger, record) for record in done):
            say(line)
    except LedgerFault as fault:  # the grants are made and printed
        warn(f"cannot tell when to retry the deploy: {fault}")
    for ident in partners:
        other = ledger.get(ident)
        if other and other.state == "proposed":
            who = f" --as {actor}" if actor else ""
            say(f"The same deploy also needs {other.member}")
            say(f"    on {other.repository}: remediate approve {ident}@{content_digest(other)}{who}")
    _send_notices()
    if failed:
        raise typer.Exit(1)


def reject(
    reason: _Why, idents: _Some = None, actor: ActorOption = None, matching: _Matching = None, yes: _Yes = False
) -> None:
    """Reject proposals: further denials are counted, and not proposed again for REMEDIATE_HOLD_DAYS."""
    require_reason(reason)
    found = _select_matching(matching, actor, None, yes=yes, given=bool(idents), word="reject")
    chosen = dict.fromkeys([*(idents or ()), *(each.partition("@")[0] for each in found)])

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        done = remediator.reject(record.id, actor=reviewer, note=reason)
        say(f"{done.id}  rejected: {done.member} gets no access to {done.repository}")
        return True

    if _act_on_each(list(chosen), actor, "rejected", act):
        raise typer.Exit(1)


def revoke(idents: _Ids, reason: _Why, actor: ActorOption = None) -> None:
    """Revoke grants: remove the members that remediate added, and nothing else."""
    require_reason(reason)

    def act(remediator: Remediator, record: Remediation, reviewer: str) -> bool:
        [done] = remediator.outcome([remediator.revoke(record.id, actor=reviewer, note=reason)])
        if done.lifecycle.ending is not None:
            say(f"{done.id}  the revocation is recorded; the writer removes the member within minutes")
            return True
        if done.state == "granted":
            say(f"{done.id}  not revoked: the writer could not remove the member, or the revocation was not due")
            return False
        say(f"{done.id}  revoked: {done.member} no longer has access to {done.repository}")
        say("    Running revisions keep serving; the next deploy or rollback fails.")
        return True

    if _act_on_each(idents, actor, "revoked", act):
        raise typer.Exit(1)


def _act_on_each(
    idents: list[str], actor: str | None, word: str, act: Callable[[Remediator, Remediation, str], bool]
) -> bool:
    """Act on each remediation in turn, and print why one is refused; True if one was."""
    from remediate.wiring import notifier_from, remediator_from, trail_log_from

    settings = current_settings()
    person = reviewer_address(settings, actor)
    ledger = current_ledger(settings)
    records = [require_record(ledger, ident) for ident in idents]
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
    """Send the notices of these decisions; a sweep sends those that fail now."""
    from remediate.wiring import notifier_from

    notifier = notifier_from(current_settings())
    for sending in notifier.deliver(_SENDING) if notifier else ():
        if sending.fault:
            say(sending.line()[1])


def _select_matching(
    text: str | None, actor: str | None, asked: list[Testimony] | None, *, yes: bool, given: bool, word: str
) -> list[str]:
    """The proposals that a filter matches, as ID@CONTENT, once the caller confirmed the list.

    The log's answers about that list go to `asked`, for the approval; None: the log is not asked.
    """
    if text is None:
        if not given:
            raise BadInput("expected ids, or --all-matching FILTER", advice=_ALL)
        return []
    from remediate.ledger.interface import projects
    from remediate.records.digests import content_digest
    from remediate.records.states import State

    person = reviewer_address(current_settings(), actor)  # refuses other people before it asks for confirmation
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

    found = [each for each in all_records(current_ledger(), (State.PROPOSED,)) if matches(each)]
    if not found:
        raise BadInput(f"--all-matching {text!r}: no proposal matches", advice=_ALL)
    if asked is not None and not given:
        from remediate.wiring import remediator_from

        asked.append(remediator_from(current_settings()).read_back(found, person))
    for each in found:
        unverified = ["event_unverified"] if asked and asked[0].unanswered(each) else []
        say(f"{each.id}  {each.member}\n    on {each.repository} ({', '.join([*each.reasons, *unverified])})")
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"{len(found)} proposals match; add --yes to {word} them")
        typer.confirm(f"{word.capitalize()} all {len(found)}?", abort=True)
    return [f"{each.id}@{content_digest(each)}" for each in found]


def _duration(text: str | None) -> timedelta | None:
    found = duration(text) if text else None
    if text is not None and found is None:
        raise BadInput(f"--for {text!r}: expected hours, days or weeks, as in 12h, 30d or 8w")
    return found
