"""`policy`: is the file right, what would it decide and why, do its cases hold, and what would a change change."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.output import Format
from remediate.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediate.decisions.policy_file import FileRules, Judged
    from remediate.decisions.variables import Evidence
    from remediate.entries.denial import Denial

_File = Annotated[str, typer.Argument(metavar="FILE", help="The policy file, or gs://BUCKET/OBJECT.")]
_Formats = Annotated[Format, typer.Option("--format", help="table, json or csv")]
group = typer.Typer(help="Check, explain, test and compare policy files.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(group, name="policy")


@group.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from remediate.cli import output
    from remediate.decisions.policy_file import policy_schema

    output.print_json(policy_schema())


@group.command()
def check(file: _File) -> None:
    """Say whether a policy file is right; every problem with its line and column."""
    rules = _policy(file)
    print(f"{file}: {len(rules.rules)} rules, all right ({rules.digest})")


@group.command()
def confirm(
    sha256: Annotated[
        str | None,
        typer.Argument(metavar="[SHA256]", help="The text's whole digest; nothing: show it."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail. Needed to confirm.")] = "",
    actor: Annotated[str | None, typer.Option("--as", help="Who you are: an address. Needed with SQLite.")] = None,
) -> None:
    """Let the rules of the policy text at gs:// grant. Two reviewers confirm it, or one operator.

    Without SHA256 nothing is changed: the text's digest, its rules that grant and the next command are shown.
    """
    from remediate.cli.remediations import say, the_ledger, the_settings, warn
    from remediate.cli.reviews import reviewer
    from remediate.records.modes import OPEN_FOR, POLICY, open_request
    from remediate.wiring import clock, remediator_from, trail_log_from

    settings = the_settings()
    if settings.policy is None:
        raise BadInput("REMEDIATE_POLICY is not set: the built-in rules decide, and need no confirmation")
    rules, ledger = _policy(settings.policy), the_ledger(settings)
    text = rules.to_confirm
    if text is None or text.sha256 == settings.policy_confirmed:
        why = "it is a file, which an operator put there" if text is None else "REMEDIATE_POLICY_CONFIRMED names it"
        if not any(each.rule.then == "grant" for each in rules.rules):
            why = "no rule of it grants"
        say(f"{settings.policy}: needs no confirmation: {why}")
        return
    if sha256 is not None and sha256.lower() != text.sha256:
        raise BadInput(f"{sha256!r} is not the text at {settings.policy}: its SHA-256 is {text.sha256}")
    if sha256 is not None and not reason.strip():
        raise BadInput("say why: --reason '...'; it is recorded in the audit trail")
    if sha256 is None and (reason or actor is not None):
        raise BadInput("--reason and --as are for a confirmation: name the text's SHA-256, too")
    before = ledger.modes()
    after = before
    if sha256 is not None:
        remediator = remediator_from(settings, trail_log_from(settings, warn))
        after = remediator.switching.confirm_policy(text.sha256, actor=reviewer(settings, actor), note=reason)
    say(f"{settings.policy}  {text.sha256}")
    for each in rules.rules:
        if each.rule.then == "grant":
            say(f"    grants: {each.rule.name} when {each.expression.strip()}")
    if after.policy == text.sha256:
        say(f"Confirmed{' already' if before.policy == text.sha256 else ''}: its rules may grant.")
        return
    asked = open_request(after, POLICY, clock())
    if asked is not None and asked.wanted == text.sha256:
        until = datetime.fromisoformat(asked.at) + OPEN_FOR
        say(f"Not confirmed yet: {asked.actor} asked for it, and somebody else has to confirm it by {until:%F %R} UTC.")
    else:
        say("Not confirmed: what its rules would grant is asked. Read the text before you confirm it.")
    say(f"Another reviewer, or an operator: remediate policy confirm {text.sha256} --reason '...'")


@group.command()
def explain(
    file: _File,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="An exported log entry, or several; - is stdin.")],
    format_: _Formats = Format.TABLE,
) -> None:
    """Show for a log entry what each rule says of it, true, false or unknown, with the values that it saw.

    Nobody is asked: what only Google Cloud could tell is unknown here, and the repository is taken to exist.
    """
    from remediate.cli import output
    from remediate.decisions.policy import decide
    from remediate.decisions.policy_tests import Explained
    from remediate.decisions.variables import variables

    rules = _policy(file)
    told = []
    for denial in _denials(entry):
        evidence = _assumed(denial)
        decision, judged = decide(denial, evidence, rules), rules.explain(variables(denial, evidence))
        told.append(Explained(denial.entry.insert_id, decision.outcome, decision.rule, decision.reasons, judged))
    if not told:
        raise BadInput(f"{entry}: no entry in it is an image-read denial", advice=f"`plan {entry}` says what they are.")
    columns = ("rule", "says", "then", "when", "saw")
    match format_:
        case Format.JSON:
            output.print_json(told)
        case Format.CSV:
            rows = ((each.insert_id, *_row(rule)) for each in told for rule in each.rules)
            output.print_csv(("insert_id", *columns), rows)
        case Format.TABLE:
            for each in told:
                print(f"{output.printable(each.insert_id or 'entry')}: {each.outcome} by {each.rule!r}")
                output.table(columns, [_row(rule) for rule in each.rules])


@group.command("test")
def run_cases(
    file: _File,
    cases: Annotated[str | None, typer.Option(help="The file of cases. [FILE with .test.yaml]")] = None,
    format_: _Formats = Format.TABLE,
) -> None:
    """Run the cases beside a policy, and name the rules that no case reaches; exits 1 where one fails."""
    from remediate.cli import output
    from remediate.decisions.policy_tests import parse_cases, run

    policy, beside = _pair(file, cases)
    rules = _policy(policy)
    results, unreached = run(rules, parse_cases(_text(beside), beside))
    failed = [each for each in results if each.wrong]
    rows = [
        (each.place, each.name, each.decision.outcome, each.decision.rule, each.wrong or "as expected")
        for each in results
    ]
    columns = ("place", "case", "outcome", "rule", "verdict")
    match format_:
        case Format.JSON:
            named = [
                dict(zip(columns, row, strict=True)) | {"reasons": one.decision.reasons}
                for row, one in zip(rows, results, strict=True)
            ]
            output.print_json({"cases": named, "failed": len(failed), "unreached": unreached})
        case Format.CSV:
            output.print_csv(columns, rows)
        case Format.TABLE:
            output.table(columns, rows)
            reached = len(rules.rules) - len(unreached)
            print(f"{len(results)} cases, {len(failed)} failed; {reached} of {len(rules.rules)} rules reached")
            for name in unreached:
                print(f"no case reaches: {output.printable(name)}")
    if failed:
        raise typer.Exit(1)


@group.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The policy of now (built-in: the rules without a file).")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The policy to come.")],
    against: Annotated[list[str], typer.Option(help="Exported logs whose denials are decided by both.")],
    format_: _Formats = Format.TABLE,
) -> None:
    """Name the past denials that two policies decide differently; exits 1 where there are any."""
    from remediate.cli import output
    from remediate.decisions.policy import BUILT_IN, Rules, decide
    from remediate.reasons import Reason

    before: Rules = BUILT_IN if old == BUILT_IN.digest else _policy(old)
    after = _policy(new)
    rows, seen, unsure = [], 0, 0
    for name in against:
        for denial in _denials(name):
            seen += 1
            evidence = _assumed(denial)
            one, two = decide(denial, evidence, before), decide(denial, evidence, after)
            unsure += Reason.EVIDENCE_UNKNOWN in (*one.reasons, *two.reasons)
            if (one.outcome, one.expires_after, one.reviewers) != (two.outcome, two.expires_after, two.reviewers):
                names = (str(denial.member or ""), str(denial.repository or ""))
                rows.append((denial.entry.insert_id or "", *names, one.outcome, one.rule, two.outcome, two.rule))
    if not seen:
        files = ", ".join(against)
        raise BadInput(f"{files}: no entry is an image-read denial", advice="`plan` says of each entry what it is.")
    columns = ("insert_id", "member", "repository", "before", "rule_before", "after", "rule_after")
    match format_:
        case Format.JSON:
            changed = [dict(zip(columns, row, strict=True)) for row in rows]
            output.print_json({"denials": seen, "changed": changed, "unsure": unsure})
        case Format.CSV:
            output.print_csv(columns, rows)
        case Format.TABLE:
            if rows:
                output.table(columns, rows)
            print(f"{seen} denials, {len(rows)} decided differently")
            if unsure:
                print(f"{unsure} hang on what an export does not tell (ancestors, deploys of before): both ask there")
    if rows:
        raise typer.Exit(1)


def _assumed(denial: Denial) -> Evidence:
    """What a plan assumes about a denial: an export tells no more."""
    from remediate.decisions.organization import home_offline
    from remediate.decisions.policy import assumed
    from remediate.settings import names_from

    return assumed(denial, home_offline(names_from(os.environ)))


def _policy(file: str) -> FileRules:
    from remediate.decisions.policy_file import parse_policy

    return parse_policy(_text(file), file)


def _text(file: str) -> str:
    from remediate.cloud.storage import read_policy
    from remediate.settings import endpoint

    return read_policy(file, endpoint(os.environ, "STORAGE"))


def _pair(file: str, cases: str | None) -> tuple[str, str]:
    """The policy and its cases; either may be named where they stand beside each other."""
    stem, test, _ = file.partition(".test.")
    if test and cases is None:
        for suffix in (".yaml", ".yml"):
            if Path(stem + suffix).exists():
                return stem + suffix, file
        raise BadInput(f"{file}: the policy {stem}.yaml that these cases are for is not there")
    stem, dot, suffix = file.rpartition(".")
    return file, cases or f"{stem}.test{dot}{suffix}"


def _denials(name: str) -> Iterator[Denial]:
    """The denials of an export; what cannot be read is told on standard error."""
    from remediate.cli.output import printable
    from remediate.entries import export
    from remediate.entries.denial import Denial, understand
    from remediate.entries.envelope import entries_in
    from remediate.entries.joining import call_of
    from remediate.entries.log_entry import read_entry
    from remediate.entries.pairing import Pairing
    from remediate.errors import Unreadable

    pairing, waiting = Pairing(), list[Denial]()
    export.check(name)
    for piece in export.documents(name):
        try:
            if isinstance(piece, export.Broken):
                raise Unreadable(piece.why)
            for raw in entries_in(piece.data):
                entry = read_entry(raw)
                if call := call_of(entry):
                    pairing.note(call)
                subject = understand(entry)
                if isinstance(subject, Denial) and subject.operation:
                    pairing.want(subject.operation)
                    waiting.append(subject)
                elif isinstance(subject, Denial):
                    yield subject
        except Unreadable as error:
            print(f"{printable(name)}:{piece.line}: unreadable: {printable(error)}", file=sys.stderr)
    yield from map(pairing.joined, waiting)


def _row(judged: Judged) -> tuple[str, str, str, str, str]:
    says = "unknown" if judged.says is None else str(judged.says).lower()
    saw = ", ".join(f"{name} = {'unknown' if value is None else value}" for name, value in judged.saw.items())
    return judged.rule, says, judged.then, judged.when, saw
