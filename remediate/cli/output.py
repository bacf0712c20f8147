"""Turns rows and texts into what a terminal, a pipe or a spreadsheet can take: whole values, no markup, no controls."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import unicodedata
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


def console(width: int | None = None) -> Console:
    """A console that shows whole values: no markup is read in them, and no line is cut."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True, width=width)


def printable(text: object) -> str:
    """The text without control or format characters, so that what a log holds can never drive a terminal."""
    return "".join(char if _shows(char) else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def _shows(char: str) -> bool:
    """Python calls no space but the common one printable; the ideographic one is in every Japanese note."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


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
    """Print CSV, header first; a value that a spreadsheet would run as a formula is led by an apostrophe."""
    sys.stdout.write(csv_text(columns, rows))


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV as `print_csv` prints it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_safe("" if value is None else printable(value)) for value in row])
    return buffer.getvalue()


def print_json(value: object) -> None:
    """Print JSON, indented."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
