"""`plan`: what enforce mode would do with an exported log, and why. Uses no network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

from remediate.cli.inputs import log_entries, own_names, read_rules
from remediate.cli.output import console, print_csv, printable, progress_bar, table
from remediate.cli.wrong_file import UnreadPieces

if TYPE_CHECKING:
    from remediate.decisions.plan import PlannedEntry, Report

_LONG = 4 << 20  # bytes of input that get a progress bar
_EMPTY = "no entries: are the log and the time range right?"


class PlanFormat(StrEnum):
    """How the plan is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    GCLOUD = "gcloud"
    TERRAFORM = "terraform"


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(plan)


def plan(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Exported logs, plain or gzip; - is standard input.")
    ],
    format_: Annotated[
        PlanFormat,
        typer.Option(
            "--format",
            help="table, json, csv, gcloud (commands) or terraform (resources and imports)",
            case_sensitive=False,
        ),
    ] = PlanFormat.TABLE,
    policy: Annotated[
        str | None,
        typer.Option(envvar="REMEDIATE_POLICY", help="Use this policy file in place of the built-in rules."),
    ] = None,
) -> None:
    """Show what enforce mode would do with each entry of exported logs, and why.

    Reads `gcloud logging read --format=json` output, JSON Lines, single entries, Pub/Sub push bodies and CloudEvents,
    mixed. Names unreadable pieces by line on standard error, or what a file is that holds no log; then exits with 1.
    """
    import msgspec

    from remediate.entries import export
    from remediate.errors import BadInput

    if files.count("-") > 1:
        raise BadInput("-: standard input can be read only once")
    for name in files:
        export.check(name)
    if format_ is PlanFormat.JSON:
        _exit(_plan_json(files, policy))
    # A table lists entries that belong to no grant; the other formats list grants only.
    named: list[PlannedEntry] = []
    in_words = format_ is PlanFormat.TABLE
    report, late = _report(
        files, policy, lambda each: named.append(each) if in_words and each and _is_incomplete(each) else None
    )
    named += [each for each in late if in_words and _is_incomplete(each)]
    _PRINTERS[format_](msgspec.structs.replace(report, entries=named))
    _exit(report)


def _exit(report: Report) -> Never:
    """Exit with 1 if a piece could not be read: the plan is incomplete."""
    raise typer.Exit(1 if report.summary.unreadable else 0)


def _report(
    files: list[str], policy: str | None, keep: Callable[[PlannedEntry | None], None]
) -> tuple[Report, list[PlannedEntry]]:
    """The plan of these files, and its late entries; each other one goes to `keep`, None in place of a late one."""
    from remediate.decisions.plan import Plan
    from remediate.decisions.policy import BUILT_IN
    from remediate.entries.denial import understand
    from remediate.entries.export import Broken
    from remediate.entries.joining import call_of

    made = Plan(read_rules(policy) if policy else BUILT_IN, own_names(), keep)
    size = sum(Path(name).stat().st_size for name in files if name != "-")
    with progress_bar("reading", size=size, is_long=size >= _LONG) as update:
        for name in files:
            unread, entries = UnreadPieces(name), 0
            for entry in log_entries(name, lambda taken: update(advance=taken)):
                if isinstance(entry, Broken):
                    unread.add(entry)
                else:
                    made.add(understand(entry), call_of(entry))
                    entries += 1
            if name != "-" and Path(name).stat().st_size == 0:
                unread.add(Broken(1, "the file is empty; expected exported log entries"))
            unread.report(entries=entries)
            made.unreadable += unread.count
    report = made.report()
    return report, [made.late[place] for place in sorted(made.late)]


def _is_incomplete(entry: PlannedEntry) -> bool:
    """Whether it is a denial that names no member, or no repository."""
    from remediate.decisions.policy import Outcome

    return entry.outcome is not Outcome.IGNORE and (entry.member is None or entry.repository is None)


def _plan_json(files: list[str], policy: str | None) -> Report:
    """Print the Report as JSON; its entries wait in a file until the last was read, as a bad file prints nothing."""
    from remediate.cli.spool import Spool
    from remediate.presentation.plaintext import json_text

    with Spool() as entries:
        made, late = _report(files, policy, lambda each: entries.add(json_text(each) if each else None))
        report = json_text(made)
        before, brackets, after = report.partition('"entries":[]')
        out = sys.stdout.buffer
        out.write(f"{before}{brackets[:-1]}".encode())
        out.writelines(entries.join(map(json_text, late)))
        out.write(f"]{after}\n".encode())
        out.flush()
    return made


_COLUMNS = (
    "outcome",
    "member",
    "repository",
    "readers",
    "predicted",
    "denials",
    "first_seen",
    "last_seen",
    "rule",
    "reasons",
)


def _print_csv(report: Report) -> None:
    print_csv(
        ("repository", "member", "role", *(name for name in _COLUMNS if name not in ("repository", "member"))),
        (
            (
                each.repository, each.member, each.role, each.outcome, " ".join(each.readers),
                str(each.predicted).lower(), each.denials, each.first_seen, each.last_seen, each.rule,
                " ".join(each.reasons),
            )
            for each in report.grants
        ),
    )  # fmt: skip


def _print_table(report: Report) -> None:
    from remediate.reasons import Reason

    out, summary = console(), report.summary
    twice = summary.ignored.get(Reason.DUPLICATE, 0)
    out.print(
        f"{summary.entries} entries, {summary.denials} image-read denials, {summary.unreadable} unreadable"
        + (f", {twice} seen twice" if twice else "")
    )
    if _is_empty(report):
        out.print(_EMPTY)
    if report.grants:
        out.print("\nWhat enforce mode would do (each grant: roles/artifactregistry.reader on that one repository):")
        table(
            ("outcome", "member", "repository", "readers", "denials", "first seen", "last seen", "why"),
            (
                (
                    each.outcome, each.member, each.repository, ", ".join(each.readers),
                    "next" if each.predicted else each.denials,
                    each.first_seen or "", each.last_seen or "", ", ".join(each.reasons),
                )
                for each in report.grants
            ),
        )  # fmt: skip
    if report.entries:
        out.print("\nDenials without a member or a repository; a reviewer must look at the entry:")
        rows = (
            (
                each.outcome,
                each.insert_id or "",
                each.timestamp or "",
                each.member or each.repository or "",
                ", ".join(each.reasons),
            )
            for each in report.entries
        )
        table(("outcome", "insert id", "timestamp", "known", "why"), rows)
    if summary.ignored:
        out.print("\nIgnored:")
        table(("entries", "reason", ""), ((n, code, Reason(code).sentence) for code, n in summary.ignored.items()))
    used = sorted({reason for each in report.grants for reason in each.reasons})
    if used:
        out.print("\n" + "\n".join(printable(f"{code}: {Reason(code).sentence}") for code in used))


def _is_empty(report: Report) -> bool:
    return not report.summary.entries and not report.summary.unreadable


def _print_gcloud(report: Report) -> None:
    """The exact commands; a refused grant gets none."""
    from remediate.presentation.equivalents import gcloud_command

    if _is_empty(report):
        print(f"# {_EMPTY}")
    headings = {
        "grant": "# Enforce mode grants these automatically.",
        "ask": "# A reviewer decides each of these; run only what you have checked.",
        "refuse": "# Refused: there is no command for these.",
    }
    for outcome, heading in headings.items():
        grants = [each for each in report.grants if each.outcome == outcome]
        if grants:
            print(heading)
        for each in grants:
            print(f"# {', '.join(each.reasons)}; denials: {each.denials}")
            if outcome == "refuse":
                print(f"# {each.member} on {each.repository}")
            else:
                print(gcloud_command(each.repository, each.role, each.member))


def _print_terraform(report: Report) -> None:
    """Additive `_member` resources, and imports of existing grants."""
    from remediate.presentation.equivalents import terraform_resource

    if _is_empty(report):
        print(f"# {_EMPTY}")
    names: set[str] = set()
    blocks = [
        f"# {each.outcome}: {', '.join(each.reasons)}\n"
        + terraform_resource(each.repository, each.role, each.member, names)
        for each in report.grants
        if each.outcome != "refuse"
    ]
    if blocks:
        print(
            "# Additive: other members keep their access. Each import adopts an existing grant: approve it, or run its"
        )
        print("# gcloud command, first. To let Terraform make the grant, delete its import block.\n")
    sys.stdout.write("\n".join(blocks))


_PRINTERS: dict[PlanFormat, Callable[[Report], None]] = {
    PlanFormat.TABLE: _print_table,
    PlanFormat.CSV: _print_csv,
    PlanFormat.GCLOUD: _print_gcloud,
    PlanFormat.TERRAFORM: _print_terraform,
}
