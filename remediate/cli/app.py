"""The command line: every command group is registered here, and every error becomes a sentence and an exit code.

Exit codes: 0 done, 1 found something that the caller has to look at (a refusal, a fault), 2 usage or bad input.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from remediate.cli import plan, remediations, sweep
from remediate.errors import BadInput, RemediateError

app = typer.Typer(
    name="remediate",
    help="Un-break Cloud Run deploys: from an audit log entry to one reader grant on one repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plan.register(app)
remediations.register(app)
sweep.register(app)


@app.callback()
def options(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Un-break Cloud Run deploys: from an audit log entry to one reader grant on one repository."""
    if show_version:
        print(f"remediate {_version()}")
        raise typer.Exit


def main() -> None:
    """Run the command line; no traceback ever reaches the person who typed."""
    try:
        app(prog_name="python -m remediate")
    except RemediateError as error:
        print(f"remediate: {error}", file=sys.stderr)
        if error.advice:
            print(error.advice, file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInput) else 1)
    except BrokenPipeError:
        # The reader of our output went away (`... | head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("PYTHONDEVMODE"):
            raise
        print(f"remediate: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a defect of remediate; PYTHONDEVMODE=1 shows where.", file=sys.stderr)
        sys.exit(1)


def _version() -> str:
    try:
        return version("remediate")
    except PackageNotFoundError:
        import tomllib

        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
        return str(project["version"])
