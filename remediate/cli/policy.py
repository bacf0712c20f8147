"""`policy`: checks, explains, tests, compares and confirms policy files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.cli.inputs import (
    ActorOption,
    actor_words,
    current_ledger,
    current_settings,
    log_entries,
    own_names,
    read_rules,
    read_text,
    require_reason,
    reviewer_address,
)
from remediate.cli.modes import say_switched_alone
from remediate.cli.output import FormatOption, OutputFormat, print_json, print_rows, printable, say, table, warn
from remediate.cli.times import deadline
from remediate.cli.wrong_file import UnreadPieces
from remediate.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remediate.decisions.policy_file import Judged
    from remediate.decisions.variables import Evidence
    from remediate.entries.denial import Denial

_File = Annotated[str, typer.Argument(metavar="FILE", help="The policy file, or gs://BUCKET/OBJECT.")]
group = typer.Typer(help="Check, explain, test and compare policy files.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(group, name="policy")


@group.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from remediate.decisions.policy_file import policy_schema

    print_json(policy_schema())


@group.command()
def check(file: _File) -> None:
    """Check a policy file, and name every problem with its line and column."""
    rules = read_rules(file)
    print(f"{file}: {len(rules.rules)} rules, valid ({rules.digest})")


@group.command()
def confirm(
    sha256: Annotated[
        str | None,
        typer.Argument(metavar="[SHA256]", help="The full SHA-256 of the text. Without it, shows the text's digest."),
    ] = None,
    reason: Annotated[str, typer.Option(help="The reason, for the audit trail. Required to confirm.")] = "",
    actor: ActorOption = None,
) -> None:
    """Confirm the policy text at gs://, so that its rules can grant. Takes two reviewers, or one operator.

    Without SHA256, changes nothing: shows the text's digest, its rules that grant, and the next command.
    """
    from remediate.records.modes import POLICY, open_request
    from remediate.wiring import clock, remediator_from, trail_log_from

    settings = current_settings()
    if settings.policy is None:
        raise BadInput("REMEDIATE_POLICY is not set: the built-in rules apply, and need no confirmation")
    rules, ledger = read_rules(settings.policy), current_ledger(settings)
    text = rules.to_confirm
    if text is None or text.sha256 == settings.policy_confirmed:
        why = "it is a file that an operator deployed" if text is None else "REMEDIATE_POLICY_CONFIRMED names it"
        if not any(each.rule.then == "grant" for each in rules.rules):
            why = "none of its rules grants"
        say(f"{settings.policy}: needs no confirmation: {why}")
        return
    if sha256 is not None and sha256.lower() != text.sha256:
        raise BadInput(f"{sha256!r} is not the SHA-256 of {settings.policy}: that is {text.sha256}")
    if sha256 is not None:
        require_reason(reason, "--reason is required; the audit trail records it")
    if sha256 is None and (reason or actor is not None):
        raise BadInput("--reason and --as require the SHA-256 to confirm")
    before = ledger.modes()
    after = before
    if sha256 is not None:
        remediator = remediator_from(settings, trail_log_from(settings, warn))
        after = remediator.switching.confirm_policy(text.sha256, actor=reviewer_address(settings, actor), note=reason)
    say(f"{settings.policy}  {text.sha256}")
    for each in rules.rules:
        if each.rule.then == "grant":
            say(f"    grants: {each.rule.name} when {each.expression.strip()}")
    if after.policy == text.sha256:
        say(f"Confirmed{' already' if before.policy == text.sha256 else ''}: its rules can grant.")
        if after.version != before.version:
            say_switched_alone(ledger, after)
        return
    asked = open_request(after, POLICY, clock())
    if asked is not None and asked.wanted == text.sha256:
        say(f"Not confirmed yet: {asked.actor} asked for it. A second person must confirm by {deadline(asked)}.")
    else:
        say("Not confirmed: a reviewer decides what its rules would grant. Read the text before you confirm it.")
    command = f"remediate policy confirm {text.sha256} --reason '...'{actor_words(settings)}"
    say(f"Another reviewer or an operator can run: {command}")


@group.command()
def explain(
    file: _File,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="An exported log; - is standard input.")],
    format_: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show how each rule evaluates for each denial in a log: true, false or unknown, with the values it used.

    Uses the log only: values that only Google Cloud knows are unknown, and every repository is assumed to exist.
    """
    from remediate.decisions.policy import decide
    from remediate.decisions.policy_tests import Explained
    from remediate.decisions.variables import variables

    rules = read_rules(file)
    explained = []
    for denial in _denials(entry):
        evidence = _evidence_of(denial)
        decision, judged = decide(denial, evidence, rules), rules.explain(variables(denial, evidence))
        explained.append(Explained(denial.entry.insert_id, decision.outcome, decision.rule, decision.reasons, judged))
    if not explained:
        raise BadInput(f"{entry}: contains no image-read denial", advice=f"`plan {entry}` explains each entry.")
    columns = ("rule", "says", "then", "when", "saw")
    if format_ is OutputFormat.TABLE:
        for each in explained:
            print(f"{printable(each.insert_id or 'entry')}: {each.outcome} by {each.rule!r}")
            table(columns, [_row(rule) for rule in each.rules])
    else:
        rows = [(each.insert_id, *_row(rule)) for each in explained for rule in each.rules]
        print_rows(format_, ("insert_id", *columns), rows, explained)


@group.command("test")
def run_cases(
    file: _File,
    cases: Annotated[str | None, typer.Option(help="The file of test cases. [FILE with .test.yaml]")] = None,
    format_: FormatOption = OutputFormat.TABLE,
) -> None:
    """Run the test cases of a policy, and list the rules that no case reaches. Exits 1 if a case fails."""
    from remediate.decisions.policy_tests import parse_cases, run

    policy, beside = _pair(file, cases)
    rules = read_rules(policy)
    results, unreached = run(rules, parse_cases(read_text(beside), beside))
    failed = [each for each in results if each.wrong]
    rows = [
        (each.place, each.name, each.decision.outcome, each.decision.rule, each.wrong or "as expected")
        for each in results
    ]
    columns = ("place", "case", "outcome", "rule", "verdict")
    named = [
        dict(zip(columns, row, strict=True)) | {"reasons": one.decision.reasons}
        for row, one in zip(rows, results, strict=True)
    ]
    print_rows(format_, columns, rows, {"cases": named, "failed": len(failed), "unreached": unreached})
    if format_ is OutputFormat.TABLE:
        reached = len(rules.rules) - len(unreached)
        print(f"{len(results)} cases, {len(failed)} failed; {reached} of {len(rules.rules)} rules reached")
        for name in unreached:
            print(f"no case reaches: {printable(name)}")
    if failed:
        raise typer.Exit(1)


@group.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The current policy file, or built-in.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new policy file.")],
    against: Annotated[list[str], typer.Option(help="An exported log to compare both policies on. Repeatable.")],
    format_: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the denials that two policies decide differently. Exits 1 if there are any."""
    from remediate.decisions.policy import BUILT_IN, Rules, decide
    from remediate.reasons import Reason

    before: Rules = BUILT_IN if old == BUILT_IN.digest else read_rules(old)
    after = read_rules(new)
    rows, seen, unsure = [], 0, 0
    for name in against:
        for denial in _denials(name):
            seen += 1
            evidence = _evidence_of(denial)
            one, two = decide(denial, evidence, before), decide(denial, evidence, after)
            unsure += Reason.EVIDENCE_UNKNOWN in (*one.reasons, *two.reasons)
            if (one.outcome, one.expires_after, one.reviewers) != (two.outcome, two.expires_after, two.reviewers):
                names = (str(denial.member or ""), str(denial.repository or ""))
                rows.append((denial.entry.insert_id or "", *names, one.outcome, one.rule, two.outcome, two.rule))
    if not seen:
        files = ", ".join(against)
        raise BadInput(f"{files}: contains no image-read denial", advice="`plan` explains each entry.")
    columns = ("insert_id", "member", "repository", "before", "rule_before", "after", "rule_after")
    changed = [dict(zip(columns, row, strict=True)) for row in rows]
    print_rows(format_, columns, rows, {"denials": seen, "changed": changed, "unsure": unsure})
    if format_ is OutputFormat.TABLE:
        print(f"{seen} denials, {len(rows)} decided differently")
        if unsure:
            print(f"{unsure} of them need data that exports lack (ancestors, earlier deploys): there both policies ask")
    if rows:
        raise typer.Exit(1)


def _evidence_of(denial: Denial) -> Evidence:
    """What a plan assumes about a denial: the evidence that an export contains."""
    from remediate.decisions.organization import home_offline
    from remediate.decisions.policy import assumed_evidence

    return assumed_evidence(denial, home_offline(own_names()))


def _pair(file: str, cases: str | None) -> tuple[str, str]:
    """The policy and its cases, from the name of either."""
    stem, test, _ = file.partition(".test.")
    if test and cases is None:
        for suffix in (".yaml", ".yml"):
            if Path(stem + suffix).exists():
                return stem + suffix, file
        raise BadInput(f"{file}: there is no policy {stem}.yaml for these cases")
    stem, dot, suffix = file.rpartition(".")
    return file, cases or f"{stem}.test{dot}{suffix}"


def _denials(name: str) -> Iterator[Denial]:
    """The denials of an export; what cannot be read is named on standard error."""
    from remediate.entries.denial import Denial, understand
    from remediate.entries.export import Broken
    from remediate.entries.joining import call_of
    from remediate.entries.pairing import Pairing

    pairing, waiting = Pairing(), list[Denial]()
    unread, entries = UnreadPieces(name), 0
    for entry in log_entries(name):
        if isinstance(entry, Broken):
            unread.add(entry)
            continue
        entries += 1
        if call := call_of(entry):
            pairing.note(call)
        subject = understand(entry)
        if isinstance(subject, Denial) and subject.operation:
            pairing.want(subject.operation)
            waiting.append(subject)
        elif isinstance(subject, Denial):
            yield subject
    unread.report(entries=entries)
    yield from map(pairing.join, waiting)


def _row(judged: Judged) -> tuple[str, str, str, str, str]:
    says = "unknown" if judged.says is None else str(judged.says).lower()
    saw = ", ".join(f"{name} = {'unknown' if value is None else value}" for name, value in judged.saw.items())
    return judged.rule, says, judged.then, judged.when, saw
