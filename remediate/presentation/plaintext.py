"""Turns values into text that only says something: nothing drives a terminal, nothing is a spreadsheet's formula."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

_ODD = re.compile(r"[^\n -~]")  # what is not plainly something that shows
_SEPARATORS = ",;\t\r\n"  # between the fields of some reader: many locales read CSV with a semicolon
# Where a field may begin, in front of what a spreadsheet takes for a formula's first sign (its wide forms too).
_FORMULA = re.compile(rf"(^|[{_SEPARATORS}])(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def printable(text: object) -> str:
    """The text without control or format characters, so that what a log holds can never drive a terminal."""
    return "".join(char if _shows(char) else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def _shows(char: str) -> bool:
    """Python calls no space but the common one printable; the ideographic one is in every Japanese note."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


def json_text(value: object, *, indent: int = 0) -> str:
    """JSON in which nothing drives a terminal: what does not show is written as `\\uXXXX`, and is read as it was.

    >>> print(json_text(["web\\u202e"]))
    ["web\\u202e"]
    """
    try:
        data = msgspec.json.encode(value)
        return json_escaped((msgspec.json.format(data, indent=indent) if indent else data).decode())
    except UnicodeEncodeError:  # half a character, which no UTF-8 can hold
        separators = (",", ": ") if indent else (",", ":")
        return json_escaped(json.dumps(msgspec.to_builtins(value), indent=indent or None, separators=separators))


def json_escaped(text: str) -> str:
    """The same JSON, with what does not show escaped: outside of strings JSON holds nothing but ASCII."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _ODD.sub(lambda found: found[0] if _shows(found[0]) else _escape(found[0]), text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV, header first. No field is a formula, also where a spreadsheet reads it with a semicolon, or a tab."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_safe("" if value is None else printable(value)) for value in row])
    return buffer.getvalue()


def _safe(text: str) -> str:
    """The text with an apostrophe in front of everything that some reader would run, or take for a field's end."""
    text = _FORMULA.sub(r"\1'", text)
    return f"'{text}" if text[:1] and text[0] in _SEPARATORS else text
