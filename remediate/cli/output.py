"""Turns rows and texts into what a terminal, a pipe or a spreadsheet can take: whole values, no markup, no controls."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from remediate.presentation.plaintext import csv_text, json_text
from remediate.presentation.plaintext import printable as printable

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def console(width: int | None = None) -> Console:
    """A console that shows whole values: no markup is read in them, and no line is cut."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True, width=width)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with whole values; where that is wider than the terminal, a block of lines for each row."""
    texts = [[printable(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    wide = sum(widths) + 3 * len(widths)
    room = shutil.get_terminal_size((wide, 0)).columns  # COLUMNS, or the terminal's; a pipe has all the room it needs
    if wide > room:
        _blocks(columns, texts)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for column, width in zip(columns, widths, strict=True):
        shown.add_column(column, no_wrap=True, min_width=width)
    for row in texts:
        shown.add_row(*map(Text, row))
    console(wide).print(shown)


def _blocks(columns: Sequence[str], rows: list[list[str]]) -> None:
    """A block a row: the first two values lead, every other one has a line of its own, whole and copyable."""
    out = console()
    margin = max(map(len, columns))
    for row in rows:
        out.print(f"{row[0]}  {row[1]}")
        for column, value in list(zip(columns, row, strict=True))[2:]:
            if value:
                out.print(f"  {column:<{margin}}  {value}")


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV, header first, in which no field is a formula."""
    sys.stdout.write(csv_text(columns, rows))


def print_json(value: object) -> None:
    """Print JSON, indented, in which nothing drives a terminal."""
    write_utf8(json_text(value, indent=2) + "\n")


def write_utf8(text: str) -> None:
    """Print text as UTF-8, as JSON has to be, whatever the terminal is set to."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
