"""Turns values into safe text: no terminal control characters, no spreadsheet formulas."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

_ODD = re.compile(r"[^\n -~]")  # everything except visible ASCII and line feeds
_SEPARATORS = ",;\t\r\n"  # field separators of some spreadsheets: many locales use a semicolon
# The start of a field that begins with the first character of a formula (full-width forms too).
_FORMULA = re.compile(rf"(^|[{_SEPARATORS}])(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def printable(text: object) -> str:
    """The text without control or format characters: log content cannot control a terminal."""
    return "".join(char if _is_visible(char) else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def _is_visible(char: str) -> bool:
    """Whether the character is visible. `isprintable` rejects all spaces except U+0020; Japanese notes use U+3000."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


def json_text(value: object, *, indent: int = 0) -> str:
    """JSON that cannot control a terminal: invisible characters are escaped as `\\uXXXX`, and decode to themselves.

    >>> print(json_text(["web\\u202e"]))
    ["web\\u202e"]
    """
    try:
        data = msgspec.json.encode(value)
        return escape_json((msgspec.json.format(data, indent=indent) if indent else data).decode())
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot encode
        separators = (",", ": ") if indent else (",", ":")
        return escape_json(json.dumps(msgspec.to_builtins(value), indent=indent or None, separators=separators))


def escape_json(text: str) -> str:
    """The same JSON with invisible characters escaped. Outside of strings, JSON is ASCII."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _ODD.sub(lambda found: found[0] if _is_visible(found[0]) else _escape(found[0]), text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a header. No field is a formula, even if a spreadsheet splits it at semicolons or tabs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_safe("" if value is None else printable(value)) for value in row])
    return buffer.getvalue()


def _safe(text: str) -> str:
    """The text with an apostrophe before a possible formula, and before a leading separator."""
    text = _FORMULA.sub(r"\1'", text)
    return f"'{text}" if text[:1] and text[0] in _SEPARATORS else text
