"""Turns rows and texts into what a terminal, a pipe or a spreadsheet can take: whole values, no markup, no controls."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.presentation.plaintext import csv_text, json_text
from remediate.presentation.plaintext import printable as printable

if TYPE_CHECKING:
    from rich.console import Console


class OutputFormat(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="table, json or csv", case_sensitive=False)]


def console(width: int | None = None) -> Console:
    """A console that prints values in full, without markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True, width=width)


def say(text: str) -> None:
    """Print lines in full, without control characters."""
    for line in text.split("\n"):
        console().print(printable(line))


def warn(text: str) -> None:
    """Print to standard error what did not stop the command."""
    print(printable(f"warning: {text}"), file=sys.stderr)


def print_rows(
    format_: OutputFormat, columns: Sequence[str], rows: Sequence[Sequence[object]], value: object = None
) -> None:
    """Print rows in this format. JSON prints `value`, or an object for each row; a table without rows is nothing."""
    match format_:
        case OutputFormat.JSON:
            print_json([dict(zip(columns, row, strict=True)) for row in rows] if value is None else value)
        case OutputFormat.CSV:
            print_csv(columns, rows)
        case OutputFormat.TABLE if rows:
            table(columns, rows)
        case _:
            pass


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
    """Print CSV, header first, without formulas."""
    sys.stdout.write(csv_text(columns, rows))


def print_json(value: object) -> None:
    """Print JSON, indented, without control characters."""
    write_utf8(json_text(value, indent=2) + "\n")


def write_utf8(text: str) -> None:
    """Print text as UTF-8, which JSON requires, in every locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


@contextmanager
def progress_bar(label: str, *, size: int | None = None, is_long: bool = True) -> Iterator[Callable[..., None]]:
    """A bar for long work at a terminal, over `size` bytes or a number of items; gives what updates it (see rich)."""
    if not is_long or not sys.stderr.isatty():
        yield lambda **_: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    count = MofNCompleteColumn() if size is None else DownloadColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=size)
        yield lambda **change: bar.update(task, **change)
