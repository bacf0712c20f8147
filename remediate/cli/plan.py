"""`plan`: what would be done about an exported log, and why; without any network."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from remediate.plan import PlannedGrant, Report
    from remediate.policy import Rules

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
    CloudEvents, mixed. Unreadable pieces are counted, and named by line on standard error.
    """
    from remediate import export
    from remediate.errors import BadInput

    if files.count("-") > 1:
        raise BadInput("-: standard input can be read once, and is named twice")
    for name in files:
        export.check(name)
    report = _report(files, policy)
    _PRINTERS[format_](report)


def _report(files: list[str], policy: str | None) -> Report:
    from remediate import export
    from remediate.cli.output import printable
    from remediate.denial import understand
    from remediate.envelope import entries_in
    from remediate.errors import Unreadable
    from remediate.logentry import read_entry
    from remediate.plan import Plan

    made = Plan(_rules(policy))

    def broken(name: str, line: int, why: str) -> None:
        made.unreadable += 1
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
                        made.add(understand(read_entry(raw)))
                    except Unreadable as error:
                        broken(name, piece.line, str(error))
    return made.report()


def _rules(policy: str | None) -> Rules:
    from remediate.policy import BUILT_IN
    from remediate.policyfile import parse_policy
    from remediate.policysource import read_policy

    return parse_policy(read_policy(policy), policy) if policy else BUILT_IN


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


def _print_json(report: Report) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


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
    from remediate.policy import Outcome
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
    unplaced = [
        each
        for each in report.entries
        if each.outcome is not Outcome.IGNORE and (each.member is None or each.repository is None)
    ]
    if unplaced:
        out.print("\nDenials that name no member, or no repository; a person has to look at the entry:")
        rows = (
            (
                each.outcome,
                each.insert_id or "",
                each.timestamp or "",
                each.member or each.repository or "",
                ", ".join(each.reasons),
            )
            for each in unplaced
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
                print(shlex.join(_command(each)))


def _command(grant: PlannedGrant) -> list[str]:
    _, project, _, location, _, name = grant.repository.split("/")
    return [
        "gcloud", "artifacts", "repositories", "add-iam-policy-binding", name, f"--project={project}",
        f"--location={location}", f"--member={grant.member}", f"--role={grant.role}",
    ]  # fmt: skip


def _print_terraform(report: Report) -> None:
    """Additive `_member` resources, which leave all other access alone, and imports of what is granted already."""
    names: set[str] = set()
    blocks = []
    for each in report.grants:
        if each.outcome == "refuse":
            continue
        _, project, _, location, _, repository = each.repository.split("/")
        name = _unique(f"{repository}_{each.member.partition(':')[2]}", names)
        address = f"google_artifact_registry_repository_iam_member.{name}"
        blocks.append(
            f"# {each.outcome}: {', '.join(each.reasons)}\n"
            f'resource "google_artifact_registry_repository_iam_member" "{name}" {{\n'
            f"  project    = {_hcl(project)}\n"
            f"  location   = {_hcl(location)}\n"
            f"  repository = {_hcl(repository)}\n"
            f"  role       = {_hcl(each.role)}\n"
            f"  member     = {_hcl(each.member)}\n"
            "}\n\n"
            "import {\n"
            f"  to = {address}\n"
            f"  id = {_hcl(f'{each.repository} {each.role} {each.member}')}\n"
            "}\n"
        )
    if blocks:
        print(
            "# Additive: nobody else's access is touched. Each import adopts a grant that was made already (approve it,"
        )
        print("# or run the gcloud command, first); drop the import of one that Terraform is to make itself.\n")
    sys.stdout.write("\n".join(blocks))


def _hcl(text: str) -> str:
    """A quoted HCL template that means exactly this text."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


def _unique(text: str, taken: set[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:80]
    stem = stem if stem[:1].isalpha() else f"r_{stem}"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    taken.add(name)
    return name


_PRINTERS: dict[PlanFormat, Callable[[Report], None]] = {
    PlanFormat.TABLE: _print_table,
    PlanFormat.JSON: _print_json,
    PlanFormat.CSV: _print_csv,
    PlanFormat.GCLOUD: _print_gcloud,
    PlanFormat.TERRAFORM: _print_terraform,
}
