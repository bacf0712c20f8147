"""`plan`: what would be done about an exported log, and why; without any network."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from remediate.decisions.organization import HomeNames
    from remediate.decisions.plan import PlannedEntry, Report
    from remediate.decisions.policy import Rules

_TOLD = 10  # unreadable pieces of one file that are told by their line; the others are counted
_LONG = 4 << 20  # bytes of input from which a progress bar is worth looking at


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
        typer.Option("--format", help="table, json, csv, gcloud (commands) or terraform (resources and imports)"),
    ] = PlanFormat.TABLE,
    policy: Annotated[
        str | None,
        typer.Option(envvar="REMEDIATE_POLICY", help="Decide by this file, not by the built-in rules."),
    ] = None,
) -> None:
    """Say for every entry of exported logs what enforce mode would do, and why.

    Takes what `gcloud logging read --format=json` prints, JSON Lines, single entries, Pub/Sub push bodies and
    CloudEvents, mixed. Unreadable pieces are counted, named by line on standard error, and end the command with 1.
    """
    import msgspec

    from remediate.entries import export
    from remediate.errors import BadInput

    if files.count("-") > 1:
        raise BadInput("-: standard input can be read once, and is named twice")
    for name in files:
        export.check(name)
    if format_ is PlanFormat.JSON:
        _end(_plan_json(files, policy))
    # A table names the entries that no grant tells of; the other formats have grants alone.
    named: list[PlannedEntry] = []
    table = format_ is PlanFormat.TABLE
    report, late = _report(
        files, policy, lambda each: named.append(each) if table and each and _unplaced(each) else None
    )
    named += [each for each in late if table and _unplaced(each)]
    _PRINTERS[format_](msgspec.structs.replace(report, entries=named))
    _end(report)


def _end(report: Report) -> Never:
    """End with 1 where a piece could not be read, so that nobody takes the plan for the whole."""
    raise typer.Exit(1 if report.summary.unreadable else 0)


def _report(
    files: list[str], policy: str | None, keep: Callable[[PlannedEntry | None], None]
) -> tuple[Report, list[PlannedEntry]]:
    """The plan of these files, and its late entries; each other one goes to `keep`, None in place of a late one."""
    from remediate.cli.output import printable
    from remediate.decisions.plan import Plan
    from remediate.entries import export
    from remediate.entries.denial import understand
    from remediate.entries.envelope import entries_in
    from remediate.entries.joining import call_of
    from remediate.entries.log_entry import read_entry
    from remediate.errors import Unreadable

    made = Plan(_rules(policy), _ours(), keep)
    told = 0  # of the file that is being read

    def broken(name: str, line: int, why: str) -> None:
        nonlocal told
        made.unreadable += 1
        told += 1
        if told <= _TOLD:
            print(f"{printable(name)}:{line}: unreadable: {printable(why)}", file=sys.stderr)

    with _progress(files) as advance:
        for name in files:
            for piece in export.documents(name, advance):
                if isinstance(piece, export.Broken):
                    broken(name, piece.line, piece.why)
                    continue
                try:
                    entries = entries_in(piece.data)
                except Unreadable as error:
                    broken(name, piece.line, str(error))
                    continue
                for raw in entries:
                    try:
                        entry = read_entry(raw)
                        made.add(understand(entry), call_of(entry))
                    except Unreadable as error:
                        broken(name, piece.line, str(error))
            if name != "-" and Path(name).stat().st_size == 0:
                broken(name, 1, "the file is empty; expected exported log entries")
            if told > _TOLD:
                print(f"{printable(name)}: and {told - _TOLD} more unreadable", file=sys.stderr)
            told = 0
    report = made.report()
    return report, [made.late[place] for place in sorted(made.late)]


def _rules(policy: str | None) -> Rules:
    from remediate.cloud.storage import read_policy
    from remediate.decisions.policy import BUILT_IN
    from remediate.decisions.policy_file import parse_policy
    from remediate.settings import endpoint

    return parse_policy(read_policy(policy, endpoint(os.environ, "STORAGE")), policy) if policy else BUILT_IN


def _ours() -> HomeNames:
    """The domains and workforce pools that the environment names as ours."""
    from remediate.settings import names_from

    return names_from(os.environ)


@contextmanager
def _progress(files: list[str]) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes read, on a terminal and for long input alone."""
    size = sum(Path(name).stat().st_size for name in files if name != "-")
    if size < _LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=size)
        yield lambda taken: bar.advance(task, taken)


def _unplaced(entry: PlannedEntry) -> bool:
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
        out.writelines(entries.joined(map(json_text, late)))
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
    from remediate.cli.output import print_csv

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
    from remediate.cli.output import console, printable, table
    from remediate.reasons import Reason

    out, summary = console(), report.summary
    out.print(f"{summary.entries} entries, {summary.denials} image-read denials, {summary.unreadable} unreadable")
    if report.grants:
        out.print("\nWhat enforce mode would do (each: roles/artifactregistry.reader on that one repository):")
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
        out.print("\nDenials that name no member, or no repository; a person has to look at the entry:")
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
        table(("outcome", "insert id", "timestamp", "what is known", "why"), rows)
    if summary.ignored:
        out.print("\nIgnored:")
        table(("entries", "reason", ""), ((n, code, Reason(code).sentence) for code, n in summary.ignored.items()))
    used = sorted({reason for each in report.grants for reason in each.reasons})
    if used:
        out.print("\n" + "\n".join(printable(f"{code}: {Reason(code).sentence}") for code in used))


def _print_gcloud(report: Report) -> None:
    """The exact commands. What is refused is never printed as a command."""
    from remediate.presentation.equivalents import gcloud_command

    headings = {
        "grant": "# Enforce mode grants these by itself.",
        "ask": "# A person decides each of these; run only what you have looked at.",
        "refuse": "# Refused: no command is given.",
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
    """Additive `_member` resources, and imports of what is granted already."""
    from remediate.presentation.equivalents import terraform_resource

    names: set[str] = set()
    blocks = [
        f"# {each.outcome}: {', '.join(each.reasons)}\n"
        + terraform_resource(each.repository, each.role, each.member, names)
        for each in report.grants
        if each.outcome != "refuse"
    ]
    if blocks:
        print(
            "# Additive: nobody else's access is touched. Each import adopts a grant that was made already (approve it,"
        )
        print("# or run the gcloud command, first); drop the import of one that Terraform is to make itself.\n")
    sys.stdout.write("\n".join(blocks))


_PRINTERS: dict[PlanFormat, Callable[[Report], None]] = {
    PlanFormat.TABLE: _print_table,
    PlanFormat.CSV: _print_csv,
    PlanFormat.GCLOUD: _print_gcloud,
    PlanFormat.TERRAFORM: _print_terraform,
}
