"""`sweep`: what is due is done; for a scheduler, or for a person after an outage."""

from __future__ import annotations

import os
import sys

import typer


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(sweep)


def sweep() -> None:
    """Carry out approvals, end grants, let lapse what nobody answered, note what somebody removed.

    Idempotent, resumable, and safe beside running functions. One JSON line for each remediation that changed; exits 1
    where Google Cloud refused something for good.
    """
    import msgspec

    from remediate.settings import load_settings
    from remediate.wiring import remediator_from

    changed = refused = 0
    for done in remediator_from(load_settings(os.environ)).sweep():
        record = done.remediation
        line = {
            "severity": "ERROR" if done.fault else "NOTICE",
            "message": f"{record.id}: {done.fault}" if done.fault else f"{record.id}: {done.before} -> {record.state}",
            "remediation": record.id,
            "before": done.before,
            "state": record.state,
            "member": record.member,
            "repository": record.repository,
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()
        changed += not done.fault
        refused += bool(done.fault)
    if sys.stderr.isatty():
        print(f"{changed} remediations changed, {refused} refused by Google Cloud", file=sys.stderr)
    if refused:
        raise typer.Exit(1)
