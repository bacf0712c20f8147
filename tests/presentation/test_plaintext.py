"""What is printed drives no terminal and is no spreadsheet's formula, and is read back as what it was."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediate.presentation.plaintext import csv_text, json_text

OBEYED = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    *"\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u061c",
    "\u00ad", "\ud800", "\udfff", "\U000e0001", "\U000e0041", "\ufff9", "\ue000",
]  # fmt: skip
SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
TEXTS = st.text(st.one_of(st.sampled_from(";,\t \"'\r\n=+-@|\uff1dx"), st.characters()), max_size=12)


@pytest.mark.parametrize("char", OBEYED, ids=lambda char: f"{ord(char):04x}")
@pytest.mark.parametrize("indent", [0, 2])
def test_json_escapes_what_a_terminal_would_obey_and_keeps_the_value(char: str, indent: int) -> None:
    value = {"a": [f"x{char}y", char * 3], f"k{char}": "ü 日本 \N{FACE WITH TEARS OF JOY}"}
    text = json_text(value, indent=indent)
    assert json.loads(text) == value
    assert all(each.isprintable() or each == "\n" for each in text)
    if char != "\ud800" and char != "\udfff":
        assert "日本" in text


@pytest.mark.slow
@given(
    st.recursive(
        st.text(st.characters(codec=None)) | st.none() | st.booleans() | st.integers(-9, 9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_is_ever_the_same_value_without_controls(value: object) -> None:
    for indent in (0, 2):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
        assert not any(unicodedata.category(char) in ("Cf", "Zl", "Zp", "Cs") for char in text)


def _fields(text: str, delimiter: str) -> list[str]:
    """Every field of a file, as readers split it that heed quotes, and as those that do not."""
    careful = [field for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for field in row]
    return careful + [field for line in text.splitlines() for field in line.split(delimiter)]


@pytest.mark.slow
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3))
@example([("x;=cmd|' /C calc'!A0", ";=1", '";"=1')])
@example([("x,=1", "x\t=1", " =1")])
@example([("x; \xa0@SUM(A1)", "a\r=1", "a\n=1")])
def test_no_field_of_any_split_is_a_formula(rows: list[tuple[str, str, str]]) -> None:
    text = csv_text(("one", "two", "three"), rows)
    for delimiter in ",;\t":
        for field in _fields(text, delimiter):
            bare = field.lstrip(' "' + "".join(filter(str.isspace, map(chr, range(0x3001)))))
            assert not bare.startswith(tuple(SIGNS)), (delimiter, field)
    assert not any(field.startswith((";", "\t", "\r")) for field in _fields(text, ",")[: 3 * (len(rows) + 1)])


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("no; it reads prod", "no; it reads prod"),
        ("ana@example.com; bo@example.com", "ana@example.com; bo@example.com"),
        ("cross_project, shared_identity", "cross_project, shared_identity"),
        ("a-b=c+d", "a-b=c+d"),
        ("x;=1", "x;'=1"),
        ("=1", "'=1"),
        ("; late", "'; late"),
    ],
)
def test_a_cell_stays_readable(cell: str, written: str) -> None:
    assert list(csv.reader(io.StringIO(csv_text(("a",), [(cell,)]))))[1] == [written]
