"""`list` and `show`: the remediations, and the details of one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from remediate.cli.cloud_command import CloudCommand
from remediate.cli.inputs import actor_words, current_ledger, current_settings, require_record
from remediate.cli.output import FormatOption, OutputFormat, print_json, print_rows, say, warn
from remediate.cli.times import interval
from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.records.remediation import Remediation, TrailRecord
    from remediate.records.results import Check, Proposal
    from remediate.records.states import State
    from remediate.service.remediator import Remediator

_GROUPS = 20  # floods that have a line each
_SHOWN = 5  # members of a binding that are shown before the new one
_T = TypeVar("_T")
_OPEN = ("proposed", "failed", "approved")
_RETRY = "Retry the deploy in 2 minutes; IAM can take 7 or more."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("list")(list_)
    app.command(cls=CloudCommand)(show)


def list_(
    state: Annotated[list[str] | None, typer.Option(help="Only this state. Repeatable.")] = None,
    repository: Annotated[str | None, typer.Option(help="Only repositories whose name contains this.")] = None,
    member: Annotated[str | None, typer.Option(help="Only members that contain this.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only last denied at or after this time (RFC 3339, or a date).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only last denied before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many, newest first.")] = 100,
    all_: Annotated[
        bool, typer.Option("--all", help="List every remediation; do not group floods of denials.")
    ] = False,
    format_: FormatOption = OutputFormat.TABLE,
) -> None:
    """List remediations, most recently denied first."""
    from msgspec.structs import replace

    from remediate.ledger.interface import Filter
    from remediate.records.states import State
    from remediate.times import to_rfc3339

    for name in state or ():
        if name not in list(State):
            raise BadInput(f"--state {name!r}: expected one of {', '.join(State)}")
    start, end = interval(since, until)
    wanted = Filter(
        tuple(State(name) for name in state or ()),
        repository,
        member,
        since=to_rfc3339(start) if start else None,
        until=to_rfc3339(end) if end else None,
    )
    ledger = current_ledger()
    gather = format_ is OutputFormat.TABLE and not all_ and wanted == Filter(wanted.states)
    groups = _groups(ledger, wanted.states) if gather else []
    page = ledger.page(replace(wanted, gathered="") if groups else wanted, limit=limit)
    found = page.records
    if page.looked_at:
        print(
            f"searched the latest {page.looked_at} remediations only; a full name searches all",
            file=sys.stderr,
        )
    columns = ("id", "state", "member", "repository", "denials", "last_seen", "reasons")
    rows = [
        (
            each.id,
            each.state,
            each.member,
            each.repository,
            each.tally.denials,
            each.tally.last_seen,
            ", ".join(each.reasons),
        )
        for each in found
    ]
    print_rows(format_, columns, rows, [_as_json(each) for each in found])
    if format_ is OutputFormat.TABLE and not found:
        if wanted != Filter():
            print("No remediation matches.")
        elif not page.damaged and not groups:
            print("No remediations. One appears when a Cloud Run deploy fails because it cannot read its image.")
    for line in groups:
        say(line)
    for fault in page.damaged:
        warn(f"{fault}; it may match, too")
    if page.damaged:
        raise typer.Exit(1)


def _groups(ledger: Ledger, states: tuple[State, ...]) -> list[str]:
    """A line for each flood of denials that has remediations in these states."""
    from remediate.records.gathering import group_named

    lines = []
    for state in states or (None,):
        for name, count in ledger.groups(state, limit=_GROUPS, most=100_000).items():
            if group := group_named(name):
                when = f"{group.begins:%Y-%m-%d %H:%M} to {group.ends:%H:%M} UTC"
                lines.append(f"{count} more {state or 'remediations'} from {group.project}, {when}")
    if lines:
        lines.append("A flood of denials: an attack, or one cause that breaks every deploy. --all lists each.")
    return lines


def show(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The id, or its first characters.")],
    format_: Annotated[
        OutputFormat, typer.Option("--format", help="table (a text) or json", case_sensitive=False)
    ] = OutputFormat.TABLE,
) -> None:
    """Show the details and the history of one remediation."""
    from remediate.records.results import Check, Proposal

    if format_ is OutputFormat.CSV:
        raise BadInput("--format csv: expected table (a text) or json for one remediation")
    ledger = current_ledger()
    record = require_record(ledger, ident)
    steps = list(ledger.trail(record.id))
    change: Proposal | str | None = None
    check: Check | str | None = None
    if record.state in _OPEN:
        change = _ask_service(lambda remediator: remediator.proposal(record.id))
        check = _ask_service(lambda remediator: remediator.check(record.id))
    if format_ is OutputFormat.JSON:
        policy = change.policy if isinstance(change, Proposal) else change and f"not known: {change}"
        verified = check.verdict.verified if isinstance(check, Check) else None
        print_json({**_as_json(record), "verified": verified, "policy": policy, "trail": steps})
    else:
        for line in _story(ledger, record, change, check, steps):
            say(line)


def _ask_service(ask: Callable[[Remediator], _T]) -> _T | str:
    """What the service answers; or why it cannot answer now."""
    from remediate.errors import TerminalFault, TransientFault
    from remediate.wiring import remediator_from

    try:
        return ask(remediator_from(current_settings()))
    except (TerminalFault, TransientFault) as fault:
        return str(fault)


def _review_notes(check: Check | str | None, record: Remediation) -> list[str]:
    """What a reviewer must know about the log entry and the approvals before they approve."""
    from remediate.records.approval_count import approvals_text

    waiting = (
        [approvals_text(record.lifecycle.approvals)]
        if record.state == "proposed" and record.lifecycle.approvals
        else []
    )
    if check is None or isinstance(check, str):
        return [*waiting, *([f"Caution: {check}"] if check else [])]
    lines = waiting
    if record.state == "proposed":
        blocks = _ask_service(lambda remediator: remediator.blocks(record, record.reasons))
        for block, cure in () if isinstance(blocks, str) else blocks:
            lines += [f"It cannot be approved yet. {block.sentence}", f"  {cure}"]
    if check.verdict.verified is None:
        lines.append("Caution, event_unverified: could not verify this denial in Cloud Logging.")
    if check.verdict.verified is False:
        lines.append("Cloud Logging has no such denial, or a different one: it may be forged. It cannot be approved.")
    if check.needed > 1 and not record.lifecycle.approvals:
        why = "its rule requires it" if check.verdict.deployer_known else "the log does not say who deployed"
        lines.append(f"It needs {check.needed} different approvers: {why}.")
    if check.may_declare:
        lines.append("One approver is enough if they declare with --not-mine that they did not deploy.")
    return lines


def _binding(change: Proposal | str) -> list[str]:
    """The reader binding of the repository, before and after, as a diff."""
    if isinstance(change, str):
        return [f"The repository's reader binding is unknown: {change}"]
    before, after = change.policy.before, change.policy.after
    if before == after:
        return [f"The member is already in the reader binding, with {len(after) - 1} others; a grant changes nothing."]
    title = (
        "The repository's reader binding would be" if before is None else "The repository's reader binding would become"
    )
    kept = [f"    {member}" for member in (before or ())[-_SHOWN:]]
    more = len(before or ()) - len(kept)
    return [
        f"{title}:",
        *([f"    ... {more} more"] if more else []),
        *kept,
        *(f"  + {member}" for member in after[len(before or ()) :]),
    ]


def _story(
    ledger: Ledger,
    record: Remediation,
    change: Proposal | str | None,
    check: Check | str | None,
    steps: list[TrailRecord],
) -> list[str]:
    from remediate.records.steps import became
    from remediate.records.transitions import words_of_google

    who = "could not read" if record.tally.denials else "will not be able to read"
    where = [
        f"{each.kind or 'deploy'} {each.name or '?'} in {each.project or '?'} ({each.location or '?'})"
        for each in record.tally.deploys
    ]
    times = f", {record.tally.denials} time{'s' if record.tally.denials != 1 else ''}" if record.tally.denials else ""
    lines = [
        f"{record.id}  {record.state}",
        f"{record.member} {who} images in {record.repository}",
        f"while deploying {'; '.join(where) or 'an unknown service'}{times},",
        f"first {record.tally.first_seen}, last {record.tally.last_seen}.",
        "",
        f"A grant gives it {record.role} on that repository only.",
        *([f"Google Cloud refused the grant: {google}"] if (google := words_of_google(record, steps)) else []),
        "Reasons:",
        *(f"  {reason}: {reason.sentence}" for reason in record.reasons),
    ]
    if record.terms.rule_comment:
        lines.append(f"Rule {record.terms.rule!r} says: {record.terms.rule_comment}")
    if record.terms.reviewers:
        lines.append(f"Reviewers of rule {record.terms.rule!r}: {', '.join(record.terms.reviewers)}")
    if record.terms.max_duration is not None:
        lines.append(f"Rule {record.terms.rule!r} limits a grant to {_days(record.terms.max_duration)}.")
    for name, values in (("Images", record.tally.images), ("Deployed by", record.names.deployers)):
        if values:
            lines.append(f"{name}: {', '.join(values)}")
    if record.tally.troubleshooter:
        lines.append(f"Policy Troubleshooter: {record.tally.troubleshooter}")
    partners = open_partners(ledger, record)
    for other in partners:
        lines.append(f"The same deploy also needs {other.id} ({other.state}): {other.member}")
        lines.append(f"  on {other.repository} ({', '.join(other.reasons)})")
    if change is not None:
        lines += _binding(change)
    lines += _review_notes(check, record)
    lines += ["", "History:"]
    for step in steps:
        count = f"approval {step.approval}" if isinstance(step.approval, str) else ""
        declared = "declared that they did not deploy" if step.not_mine is True else ""
        notes = "; ".join(filter(None, (count, declared, step.note)))
        note = f"  ({notes})" if notes else ""
        lines.append(f"  {step.at}  {step.before or 'new'} → {became(step)}  by {step.actor}{note}")
    lines += ["", *_next(ledger, record, partners)]
    return lines


def _days(seconds: float) -> str:
    days, hours = divmod(int(seconds) // 3600, 24)
    return f"{days} days" if days and not hours else f"{int(seconds) // 3600} hours"


def open_partners(ledger: Ledger, record: Remediation) -> list[Remediation]:
    """The open remediations that the same deploy also needs; never another deployer's own grant."""
    from remediate.iam.member import Member

    others = [ledger.get(ident) for ident in record.tally.partners]
    return [
        other
        for other in others
        if other
        and other.state in ("proposed", "failed")
        and (other.tally.predicted or Member(other.member).run_agent_of)
    ]


def retry_advice(ledger: Ledger, record: Remediation) -> str:
    """When to retry the deploy, once this is granted."""
    from remediate.records.transitions import unmet_partners

    absent = unmet_partners(record, filter(None, map(ledger.get, record.tally.partners)))
    if not absent:
        return _RETRY
    named = ", ".join(f"{each.id} ({each.state})" for each in absent)
    return f"A retry fails until {named} is granted: the same deploy also needs it."


def _next(ledger: Ledger, record: Remediation, partners: list[Remediation]) -> list[str]:
    who = actor_words(current_settings())
    revoke = [f"To revoke: remediate revoke {record.id}{who} --reason '...'"] if record.lifecycle.added_by_us else []
    match record.state:
        case "proposed" | "failed":
            from remediate.records.digests import content_digest

            one, *others = (f"{each.id}@{content_digest(each)}" for each in (record, *partners))
            approve = [f"  remediate approve {one}{who}"]
            if others:
                every = "both" if len(others) == 1 else f"all {len(others) + 1}"
                approve[0] += "  # this one alone"
                approve.append(f"  remediate approve {' '.join((one, *others))}{who}  # {every} that the deploy needs")
            return [
                "Next commands (@... pins what you just read; if it changed, the approval is refused):",
                *approve,
                f"  remediate reject {record.id}{who} --reason '...'",
            ]
        case "approved":
            return ["Approved, not yet granted: `remediate sweep` makes the grant."]
        case "granted":
            until = [f"It expires at {record.lifecycle.expires}."] if record.lifecycle.expires else []
            return [retry_advice(ledger, record), *until, *revoke]
        case "refused":
            return ["It cannot be approved. The next denial is decided again."]
        case "rejected":
            return ["Further denials are counted; a new proposal comes only after REMEDIATE_HOLD_DAYS."]
        case _:
            return ["The next denial proposes it again."]


_INTERNAL = frozenset("version trail trail_hash gathered named_by entries proven image_confirmed ended shown".split())
"""What only the service reads of a record."""


def _as_json(record: Remediation) -> dict[str, object]:
    from remediate.records import stored_form
    from remediate.records.digests import content_digest

    fields = stored_form.to_builtins(record)
    return {name: value for name, value in fields.items() if name not in _INTERNAL} | {
        "reader": next(iter(record.tally.readers), None),
        "content": content_digest(record),
    }
