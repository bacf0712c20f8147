"""Turns values into text that only says something: nothing drives a terminal, nothing is a spreadsheet's formula."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for a formula


def printable(text: object) -> str:
    """The text without control or format characters, so that what a log holds can never drive a terminal."""
    return "".join(char if _shows(char) else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def _shows(char: str) -> bool:
    """Python calls no space but the common one printable; the ideographic one is in every Japanese note."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV, header first; a value that a spreadsheet would run as a formula is led by an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_safe("" if value is None else printable(value)) for value in row])
    return buffer.getvalue()


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
