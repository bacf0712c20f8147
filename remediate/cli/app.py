"""The command line: registers every command group, and turns every error into a sentence and an exit code.

Exit codes: 0 done, 1 something needs attention (a refusal, a fault), 2 usage or bad input, 3 (`sweep` alone)
Google Cloud refused permanently.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from remediate import __version__
from remediate.cli import doctor, modes, notices, plan, policy, remediations, reviews, roles, sweep, trail
from remediate.cli.output import printable
from remediate.errors import BadInput, RemediateError

app = typer.Typer(
    name="remediate",
    help="Repair Cloud Run deploys that cannot read their image, with one reader grant on one repository.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)
plan.register(app)
policy.register(app)
remediations.register(app)
reviews.register(app)
trail.register(app)
sweep.register(app)
modes.register(app)
notices.register(app)
roles.register(app)
doctor.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"remediate {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Repair Cloud Run deploys that cannot read their image, with one reader grant on one repository."""


def main() -> None:
    """Run the command line; the user never sees a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character gets its escape
    try:
        app(prog_name=app.info.name)
    except RemediateError as error:
        _print_error(f"remediate: {error}")
        if error.advice:
            _print_error(error.advice)
        sys.exit(2 if isinstance(error, BadInput) else 1)
    except BrokenPipeError:
        # The reader of our output closed it (`... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except UnicodeEncodeError as error:
        _print_error(f"remediate: {error.object!a} contains bytes that are not UTF-8 text")
        sys.exit(2)
    except Exception as error:
        if os.environ.get("PYTHONDEVMODE"):
            raise
        _print_error(f"remediate: unexpected {type(error).__name__}: {error}")
        _print_error("This is a bug in remediate. PYTHONDEVMODE=1 shows the traceback.")
        sys.exit(1)


def _print_error(text: str) -> None:
    """Print to standard error, without control characters."""
    for line in text.split("\n"):
        print(printable(line), file=sys.stderr)
