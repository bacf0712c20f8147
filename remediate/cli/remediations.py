"""`list` and `show`: what waits for a reviewer, and the whole story of one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.output import Format
from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger
    from remediate.records.remediation import Remediation, State, TrailRecord
    from remediate.records.results import Check, Proposal
    from remediate.settings import Settings

_Formats = Annotated[Format, typer.Option("--format", help="table, json or csv")]
_GROUPS = 20  # floods that have a line each
_SHOWN = 5  # members of a binding that are shown before the new one
_OPEN = ("proposed", "failed", "approved")
_RETRY = "A retry of the deploy is worth it from two minutes on; IAM may take seven or more."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command("list")(list_)
    app.command()(show)


def list_(
    state: Annotated[list[str] | None, typer.Option(help="Only these states (again for more).")] = None,
    repository: Annotated[str | None, typer.Option(help="Only repositories whose name contains this.")] = None,
    member: Annotated[str | None, typer.Option(help="Only members that contain this.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only last denied from this moment on (RFC 3339, or a date).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only last denied before this moment.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 100,
    all_: Annotated[bool, typer.Option("--all", help="A table of all: no line stands for a flood of denials.")] = False,
    format_: _Formats = Format.TABLE,
) -> None:
    """List remediations, most recently denied first."""
    from msgspec.structs import replace

    from remediate.cli import output
    from remediate.cli.times import moment
    from remediate.ledger.interface import Filter
    from remediate.records.remediation import State
    from remediate.times import instant

    for name in state or ():
        if name not in list(State):
            raise BadInput(f"--state {name!r}: expected one of {', '.join(State)}")
    wanted = Filter(
        tuple(State(name) for name in state or ()),
        repository,
        member,
        since=instant(moment("--since", since)) if since is not None else None,
        until=instant(moment("--until", until)) if until is not None else None,
    )
    ledger = the_ledger()
    gather = format_ is Format.TABLE and not all_ and wanted == Filter(wanted.states)
    groups = _groups(ledger, wanted.states) if gather else []
    page = ledger.look(replace(wanted, gathered="") if groups else wanted, limit=limit)
    found = page.records
    if page.looked_at:
        print(
            f"only the last {page.looked_at} remediations were looked at; a whole name is found by an index",
            file=sys.stderr,
        )
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
        case Format.TABLE if wanted != Filter():
            print("No remediation matches.")
        case Format.TABLE if not page.damaged and not groups:
            print("No remediations. They appear here when a deploy to Cloud Run fails because an image cannot be read.")
        case _:
            pass
    for line in groups:
        say(line)
    for fault in page.damaged:
        warn(f"{fault}; whether it matches is not known")
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
        lines.append("A flood of denials: an attack, or one fault that fails every deploy. --all lists each.")
    return lines


def show(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The id, or the beginning of one.")],
    format_: Annotated[Format, typer.Option("--format", help="table (a text) or json")] = Format.TABLE,
) -> None:
    """Tell the whole story of one remediation."""
    from remediate.cli import output
    from remediate.records.results import Check, Proposal

    if format_ is Format.CSV:
        raise BadInput("--format csv: expected table (a text) or json for one remediation")
    ledger = the_ledger()
    record = find(ledger, ident)
    steps = list(ledger.trail(record.id))
    change = _change(record) if record.state in _OPEN else None
    check = _check(record) if record.state in _OPEN else None
    if format_ is Format.JSON:
        policy = change.policy if isinstance(change, Proposal) else change
        verified = check.verdict.verified if isinstance(check, Check) else None
        output.print_json({**_as_json(record), "verified": verified, "policy": policy, "trail": steps})
    else:
        lines = _story(record, change, check, steps)
        output.console().print("\n".join(output.printable(line) for line in lines))


def _check(record: Remediation) -> Check | str:
    """What Cloud Logging says of the denial; or why it cannot be told."""
    from remediate.errors import TerminalFault, TransientFault
    from remediate.wiring import remediator_from

    try:
        return remediator_from(the_settings()).check(record.id)
    except (TerminalFault, TransientFault) as fault:
        return str(fault)


def _checked(check: Check | str | None, record: Remediation) -> list[str]:
    """What a reviewer has to know of the log and of the count of approvals before they approve."""
    from remediate.records.approval_count import told

    waiting = [told(record.approvals)] if record.state == "proposed" and record.approvals else []
    if check is None or isinstance(check, str):
        return [*waiting, *([f"Caution: {check}"] if check else [])]
    lines = waiting
    if check.verdict.verified is None:
        lines.append("Caution, event_unverified: Cloud Logging could not be asked whether it has this denial.")
    if check.verdict.verified is False:
        lines.append("Cloud Logging has no such denial, or a different one: it may be forged. An approval is refused.")
    if check.needed > 1 and not record.approvals:
        why = "its rule says so" if check.verdict.deployer_known else "the log does not say who deployed"
        lines.append(f"It takes {check.needed} different approvers: {why}.")
    if check.may_declare:
        lines.append("One approver is enough who declares with --not-mine that the deploy was not theirs.")
    return lines


def _change(record: Remediation) -> Proposal | str:
    """The one binding that a grant changes, as it is now; or why it cannot be told."""
    from remediate.errors import TerminalFault, TransientFault
    from remediate.wiring import remediator_from

    try:
        return remediator_from(the_settings()).proposal(record.id)
    except (TerminalFault, TransientFault) as fault:
        return f"not known: {fault}"


def _binding(change: Proposal | str) -> list[str]:
    """The reader binding of the repository, before and after, as a diff."""
    if isinstance(change, str):
        return [f"The repository's reader binding is {change}"]
    before, after = change.policy.before, change.policy.after
    if before == after:
        return [f"In the reader binding already, with {len(after) - 1} others; a grant would write nothing."]
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
    record: Remediation, change: Proposal | str | None, check: Check | str | None, steps: list[TrailRecord]
) -> list[str]:
    from remediate.records.steps import became
    from remediate.records.transitions import google_said

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
        *([f"Google Cloud refused it for good: {google}"] if (google := google_said(record, steps)) else []),
        "Why it was decided so:",
        *(f"  {reason}: {reason.sentence}" for reason in record.reasons),
    ]
    if record.because:
        lines.append(f"Rule {record.rule!r} says: {record.because}")
    if record.reviewers:
        lines.append(f"Rule {record.rule!r} leaves it to: {', '.join(record.reviewers)}")
    if record.lasts is not None:
        lines.append(f"Rule {record.rule!r} lets a grant last {_days(record.lasts)}.")
    for name, values in (("Images", record.images), ("Deployed by", record.deployers)):
        if values:
            lines.append(f"{name}: {', '.join(values)}")
    if record.troubleshooter:
        lines.append(f"Policy Troubleshooter: {record.troubleshooter}")
    following = needed_too(the_ledger(), record)
    for other in following:
        lines.append(f"The same deploy needs {other.id} too, {other.state}: {other.member}")
        lines.append(f"  on {other.repository} ({', '.join(other.reasons)})")
    if change is not None:
        lines += _binding(change)
    lines += _checked(check, record)
    lines += ["", "Trail:"]
    for step in steps:
        count = f"approval {step.approval}" if isinstance(step.approval, str) else ""
        declared = "declared not to be theirs" if step.not_mine is True else ""
        said = "; ".join(filter(None, (count, declared, step.note)))
        note = f"  ({said})" if said else ""
        lines.append(f"  {step.at}  {step.before or 'new'} → {became(step)}  by {step.actor}{note}")
    lines += ["", *_next(record, following)]
    return lines


def _days(seconds: float) -> str:
    days, hours = divmod(int(seconds) // 3600, 24)
    return f"{days} days" if days and not hours else f"{int(seconds) // 3600} hours"


def needed_too(ledger: Ledger, record: Remediation) -> list[Remediation]:
    """What the deploy behind this record needs besides, and is still open: never another deployer's own grant."""
    from remediate.iam.member import Member

    others = [ledger.get(ident) for ident in record.partners]
    return [
        other
        for other in others
        if other and other.state in ("proposed", "failed") and (other.predicted or Member(other.member).run_agent_of)
    ]


def retry(ledger: Ledger, record: Remediation) -> str:
    """From when on a retry of the deploy is worth it, once this was granted."""
    from remediate.records.transitions import unmet_partners

    absent = unmet_partners(record, filter(None, map(ledger.get, record.partners)))
    if not absent:
        return _RETRY
    named = ", ".join(f"{each.id} ({each.state})" for each in absent)
    return f"A retry fails until {named} is granted: the same deploy needs it too."


def _next(record: Remediation, following: list[Remediation]) -> list[str]:
    who = " --as you@example.com" if the_settings().ledger.startswith("sqlite:") else ""
    revoke = [f"To take it away: python -m remediate revoke {record.id}{who} --reason '...'"] if record.ours else []
    match record.state:
        case "proposed" | "failed":
            from remediate.records.remediation import content_digest

            seen = " ".join(f"{each.id}@{content_digest(each)}" for each in (record, *following))
            return [
                "What to type next (the digits behind @ say: only as it is shown here):",
                f"  python -m remediate approve {seen}{who}",
                f"  python -m remediate reject {record.id}{who} --reason '...'",
            ]
        case "approved":
            return ["The write is due: `python -m remediate sweep` carries it out."]
        case "granted":
            until = [f"It ends by itself at {record.expires}."] if record.expires else []
            return [retry(the_ledger(), record), *until, *revoke]
        case "refused":
            return ["Nobody can approve this; it is looked at again when it is denied again."]
        case "rejected":
            return ["The same denial is counted, and raised again only when REMEDIATE_HOLD_DAYS are over."]
        case _:
            return ["The next denial raises it again."]


_INTERNAL = frozenset("version trail trail_hash gathered named_by entries proven image_confirmed ended shown".split())
"""What only the service reads of a record."""


def _as_json(record: Remediation) -> dict[str, object]:
    import msgspec

    from remediate.records.remediation import content_digest

    fields: dict[str, object] = msgspec.to_builtins(record)
    return {name: value for name, value in fields.items() if name not in _INTERNAL} | {
        "reader": next(iter(record.readers), None),
        "content": content_digest(record),
    }


def the_settings() -> Settings:
    """The settings of this shell's environment."""
    from remediate.settings import load_settings

    return load_settings(os.environ)


def the_ledger(settings: Settings | None = None) -> Ledger:
    """The ledger that the settings name. Raises BadInput where the variable names a file that is not there."""
    from remediate.wiring import ledger_from

    settings = settings or the_settings()
    scheme, _, path = settings.ledger.partition(":///")
    if scheme == "sqlite" and "REMEDIATE_LEDGER" in os.environ and not Path(path).exists():
        advice = "The function makes it when it starts; REMEDIATE_LEDGER says where."
        raise BadInput(f"there is no ledger at {path}", advice=advice)
    return ledger_from(settings)


def find(ledger: Ledger, ident: str) -> Remediation:
    """The one remediation whose id begins so, with or without its `r-`."""
    text = ident if ident.startswith("r-") else f"r-{ident}"
    if not re.fullmatch(r"r-[0-9a-f]{1,12}", text):
        raise BadInput(
            f"{ident!r} is no id: expected r- and up to twelve of 0-9 and a-f",
            advice="`python -m remediate list` shows all.",
        )
    found = ledger.named(text)
    if not found:
        raise BadInput(f"there is no remediation {ident!r}", advice="`python -m remediate list` shows all.")
    if len(found) > 1:
        raise BadInput(f"{ident!r} is the beginning of several ids: {', '.join(each.id for each in found)}")
    return found[0]


def every(ledger: Ledger, states: tuple[State, ...]) -> Iterator[Remediation]:
    """Every remediation in these states, page by page."""
    from remediate.ledger.interface import Filter

    page = ledger.find(Filter(states), limit=500)
    while page:
        yield from page
        page = ledger.find(Filter(states), limit=500, after=page[-1])


def warn(text: str) -> None:
    """Print what did not stop anything, and somebody should know, to standard error."""
    from remediate.cli import output

    print(output.printable(f"warning: {text}"), file=sys.stderr)


def say(text: str) -> None:
    """Print a line, whole and without anything that drives a terminal."""
    from remediate.cli import output

    for line in text.split("\n"):
        output.console().print(output.printable(line))
