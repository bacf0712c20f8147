"""`doctor`: checks an installation, and prints a command to fix each finding."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.cloud_command import CloudCommand
from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.doctor.finding import Finding
    from remediate.doctor.names import ResourceNames
    from remediate.doctor.run import DoctorReport
    from remediate.doctor.snapshot import LocalFacts


class ReportFormat(StrEnum):
    """How the report is printed."""

    TABLE = "table"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command(cls=CloudCommand)(doctor)


def doctor(
    project: Annotated[
        str | None,
        typer.Option(
            help="Where the service is deployed. [GOOGLE_CLOUD_PROJECT, CLOUDSDK_CORE_PROJECT, a firestore:// ledger's]"
        ),
    ] = None,
    region: Annotated[str | None, typer.Option(help="Its region. [CLOUDSDK_RUN_REGION]")] = None,
    name: Annotated[str | None, typer.Option(help="The prefix of its names. (default: remediate)")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it watches: organizations/N, folders/N (repeatable), projects/ID. (default: as deployed)"
        ),
    ] = None,
    canary: Annotated[
        bool | None,
        typer.Option("--canary/--no-canary", help="Send a synthetic denial. (default: yes, except inside the service)"),
    ] = None,
    format_: Annotated[
        ReportFormat, typer.Option("--format", help="table or json", case_sensitive=False)
    ] = ReportFormat.TABLE,
    first_apply: Annotated[
        bool, typer.Option("--first-apply", help="Run the checklist of docs/first-apply.md and write a report.")
    ] = False,
    report_file: Annotated[
        str | None,
        typer.Option(
            "--report", metavar="FILE", help="Where that report goes; - prints it. (default: first-apply-report.json)"
        ),
    ] = None,
    show_names: Annotated[
        bool, typer.Option("--names", help="That report also has names, addresses and Google's own words.")
    ] = False,
) -> None:
    """Check configuration, policy, ledger, APIs, routing, services and identities; then send a synthetic denial.

    Changes nothing, except that the synthetic denial leaves one refused record (see docs/doctor.md).
    Exits 1 with any finding, including what could not be read.
    """
    from remediate.cli import first_apply as checklist
    from remediate.cli.output import progress_bar
    from remediate.doctor.run import local_facts, run_doctor
    from remediate.wiring import clock

    environ = dict(os.environ)
    local = local_facts(environ)
    names = _names(local, project, region, name, tuple(scope or ()))
    if canary and names is None:
        raise BadInput("--canary needs an installation to send a synthetic denial to: set --project")
    inside = "K_SERVICE" in environ or "CLOUD_RUN_JOB" in environ
    send = not inside if canary is None else canary
    if first_apply:
        if format_ is not ReportFormat.TABLE:
            raise BadInput("--format: the report of --first-apply is always JSON: leave --format out")
        checklist.write_report(local, names, canary=send, place=report_file, show_names=show_names)
        return
    if report_file is not None or show_names:
        raise BadInput(f"{'--names' if report_file is None else '--report'}: expected with --first-apply only")
    with progress_bar("reading from Google Cloud") as update:
        report = run_doctor(
            local,
            names,
            canary=send,
            clock=clock,
            advance=lambda done, total: update(completed=done, total=total),
            waiting=lambda: update(description="waiting for the synthetic denial", total=None),
        )
    if format_ is ReportFormat.JSON:
        _print_json(report)
    else:
        _print(report)
    if report.findings:
        raise typer.Exit(1)


def _names(
    local: LocalFacts, project: str | None, region: str | None, name: str | None, scopes: tuple[str, ...]
) -> ResourceNames | None:
    """The installation that options or environment name; None where neither does."""
    from remediate.doctor.environment import firestore_path
    from remediate.doctor.names import resource_names

    environ, asked = local.environ, project
    part = environ.get("K_SERVICE") or environ.get("CLOUD_RUN_JOB") or ""
    if part:
        from remediate.doctor.metadata import project_and_region

        own_project, own_region = project_and_region()
        project, region = project or own_project, region or own_region
        name = name or part.rpartition("-")[0] or None
    ledger = firestore_path(local.settings.ledger) if local.settings else None
    known = (environ.get("GOOGLE_CLOUD_PROJECT"), environ.get("CLOUDSDK_CORE_PROJECT"), ledger and ledger.split("/")[1])
    project = project or next((each for each in known if each), None)
    region = region or environ.get("CLOUDSDK_RUN_REGION")
    if project is None or (region is None and asked is None):
        if name or scopes or (region and part == "" and "CLOUDSDK_RUN_REGION" not in environ):
            raise BadInput("no installation named: expected --project and --region")
        return None
    if region is None:
        raise BadInput(f"--project {project!r}: no region named: expected --region, as in europe-west1")
    return resource_names(project, region, name or "remediate", scopes)


def _print(report: DoctorReport) -> None:
    from rich.text import Text

    from remediate.cli.output import console, printable
    from remediate.doctor.finding import CheckStatus

    marks = {CheckStatus.OK: ("✓", "green"), CheckStatus.FOUND: ("✗", "red"), CheckStatus.UNKNOWN: ("?", "yellow")}
    out = console()
    section = ""
    for check in report.checks:
        if check.section != section:
            out.print(Text(f"\n{check.section}" if section else check.section, style="bold"))
            section = check.section
        mark, style = marks.get(check.status, ("–", "dim"))
        note = f"  ({check.note})" if check.note else ""
        out.print(Text.assemble((f"  {mark} ", style), printable(check.title + note)))
        for finding in check.findings:
            _print_finding(finding)
    counts = _counts(report)
    found = [f"{counts[kind]} {kind}" for kind in ("problem", "warning", "unknown")]
    out.print(f"\n{counts['ok']} passed, {counts['left_out']} skipped; {', '.join(found)}")


def _print_finding(finding: Finding) -> None:
    from rich.text import Text

    from remediate.cli.output import console, printable

    out = console()
    out.print(Text.assemble(("      " + finding.code, "bold"), f" ({finding.severity})"))
    for name, value in (("what", finding.what), ("why", finding.why), ("fix", finding.fix)):
        lines = value.split("\n")  # a filter has several lines, which a shell accepts in quotes
        out.print(Text("\n".join([f"        {name:<5}{printable(lines[0])}", *map(printable, lines[1:])])))


def _print_json(report: DoctorReport) -> None:
    import msgspec

    from remediate.cli.output import print_json

    def encode(finding: Finding) -> dict[str, str]:
        about = {"code": str(finding.code), "severity": str(finding.severity)}
        return about | {"what": finding.what, "why": finding.why, "fix": finding.fix}

    site = msgspec.to_builtins(report.names) if report.names else None
    canary = msgspec.to_builtins(report.canary) if report.canary else None
    checks = [
        {
            "section": check.section,
            "check": check.title,
            "status": str(check.status),
            "note": check.note,
            "findings": [encode(each) for each in check.findings],
        }
        for check in report.checks
    ]
    findings = [encode(each) for each in report.findings]
    print_json({"site": site, "checks": checks, "findings": findings, "canary": canary, "summary": _counts(report)})


def _counts(report: DoctorReport) -> dict[str, int]:
    """The numbers of findings by severity, and of checks that passed or were skipped."""
    from collections import Counter

    severities = Counter(str(each.severity) for each in report.findings)
    statuses = Counter(str(each.status) for each in report.checks)
    found = {kind: severities[kind] for kind in ("problem", "warning", "unknown")}
    return found | {kind: statuses[kind] for kind in ("ok", "left_out")}
