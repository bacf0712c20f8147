"""`doctor --first-apply`: runs the checklist of a first apply, and writes its report."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.doctor.names import ResourceNames
    from remediate.doctor.snapshot import LocalFacts

DEFAULT = "first-apply-report.json"
_NO_FILE = "-"


def write_report(
    local: LocalFacts, names: ResourceNames | None, *, canary: bool, place: str | None, show_names: bool
) -> None:
    """Run the checklist and write the report to a new file, or print it for `-`. Never replaces a file.

    Exits 1 where an item is not as expected or could not be read.
    """
    from remediate.cli.output import print_json, progress_bar, say
    from remediate.doctor.first_apply.items import Verdict
    from remediate.doctor.first_apply.run import run_checklist
    from remediate.presentation.plaintext import json_text
    from remediate.wiring import clock

    if names is None:
        raise BadInput("--first-apply needs an installation: expected --project and --region")
    if local.settings is None:
        raise BadInput("\n".join(local.problems))
    path = None if place == _NO_FILE else Path(place or DEFAULT)
    if path is not None:
        _check_free(path)
    with progress_bar("reading from Google Cloud") as update:
        found = run_checklist(
            local,
            local.settings,
            names,
            canary=canary,
            clock=clock,
            advance=lambda done, total: update(completed=done, total=total),
            waiting=lambda: update(description="waiting for the synthetic denials", total=None),
            asking=lambda done, total: update(description="settling the checklist", completed=done, total=total),
        )
    report = found.to_json(names=show_names)
    if path is None:
        print_json(report)
    else:
        try:
            _write_new(path, json_text(report, indent=2) + "\n")
        except OSError as error:
            print_json(report)  # a minute of work is not lost
            why = "exists now" if isinstance(error, FileExistsError) else error.strerror
            raise BadInput(f"--report {str(path)!r}: {why}; the report is printed instead") from error
        counts = ", ".join(f"{number} {verdict.value.replace('_', ' ')}" for verdict, number in found.counts.items())
        say(f"{path}: {counts}")
        if not show_names:
            say("It holds no names, numbers or addresses of yours, and can be sent as it is.")
    if found.counts[Verdict.OTHERWISE] or found.counts[Verdict.NOT_KNOWN]:
        raise typer.Exit(1)


def _check_free(path: Path) -> None:
    """Raise BadInput, before any work, where the report could not be written."""
    if os.path.lexists(path):
        raise BadInput(f"--report {str(path)!r}: this file exists and is not replaced: name another one, or - to print")
    if not path.parent.is_dir():
        raise BadInput(f"--report {str(path)!r}: there is no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise BadInput(f"--report {str(path)!r}: the folder {str(path.parent)!r} cannot be written")


def _write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet; a half-written one is removed. Raises OSError."""
    with path.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
