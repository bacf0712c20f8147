"""Turns rows and texts into what a terminal, a pipe or a spreadsheet can take: whole values, no markup, no controls."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for a formula


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def console(*, stderr: bool = False) -> Console:
    """A console that shows whole values: a pipe gets as wide a line as it takes, and no colour."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, markup=False, soft_wrap=True, width=None if stream.isatty() else 500)


def printable(text: object) -> str:
    """The text without control or format characters, so that what a log holds can never drive a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; long values are folded, never cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(printable(value)) for value in row))
    console().print(shown)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV, header first; a value that a spreadsheet would run as a formula is led by an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_safe("" if value is None else str(value)) for value in row])
    sys.stdout.write(buffer.getvalue())


def print_json(value: object) -> None:
    """Print JSON, indented."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
