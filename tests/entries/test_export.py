"""Every document of an export comes out, in order and with its line; what is broken is told, and loses nothing else."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediate.entries.export import Broken, Document, documents, split
from remediate.errors import BadInput

ONE, TWO, THREE = ({"insertId": str(n), "protoPayload": {"status": {"message": 'a{b]\n"c'}}} for n in (1, 2, 3))


def _pretty(*items: Any) -> str:
    return json.dumps(list(items), indent=2)


def _read(text: str | bytes, chunk: int = 7) -> list[Document | Broken]:
    data = text.encode() if isinstance(text, str) else text
    return list(split(data[at : at + chunk] for at in range(0, len(data), chunk)))


def _values(pieces: list[Document | Broken]) -> list[Any]:
    return [json.loads(piece.data) for piece in pieces if isinstance(piece, Document)]


LAYOUTS = {
    "a pretty-printed array": _pretty(ONE, TWO, THREE),
    "a compact array": json.dumps([ONE, TWO, THREE]),
    "JSON Lines": "".join(json.dumps(each) + "\n" for each in (ONE, TWO, THREE)),
    "JSON Lines without a last newline": "\n".join(json.dumps(each) for each in (ONE, TWO, THREE)),
    "Windows line ends and a BOM": "\ufeff" + "\r\n".join(json.dumps(each) for each in (ONE, TWO, THREE)) + "\r\n",
    "pretty-printed documents": "\n".join(json.dumps(each, indent=4) for each in (ONE, TWO, THREE)),
    "documents without anything between": "".join(json.dumps(each) for each in (ONE, TWO, THREE)),
    "an array, then lines": _pretty(ONE, TWO) + "\n\n" + json.dumps(THREE) + "\n",
    "two arrays": _pretty(ONE) + _pretty(TWO, THREE),
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("chunk", [1, 64, 1 << 20])
def test_every_layout_gives_its_documents_in_order(text: str, chunk: int) -> None:
    pieces = _read(text, chunk)
    assert _values(pieces) == [ONE, TWO, THREE]
    assert len(pieces) == 3


def test_lines_are_the_documents_own() -> None:
    pieces = _read("\n" + json.dumps(ONE) + "\nnonsense\n\n" + json.dumps(TWO, indent=1) + "\n7\n")
    assert [(type(piece), piece.line) for piece in pieces] == [(Document, 2), (Broken, 3), (Document, 5), (Broken, 13)]


BROKEN = {
    "a broken line": ([json.dumps(ONE), '{"insertId": ', json.dumps(TWO)], [ONE, TWO], 1),
    "a line cut in a string": ([json.dumps(ONE), '{"insertId": "ab', json.dumps(TWO)], [ONE, TWO], 1),
    "a line that opens more than it closes": ([json.dumps(ONE), '{"a": [{"b": 1}', json.dumps(TWO)], [ONE, TWO], 1),
    "text between": (["hello", json.dumps(ONE), "world", json.dumps(TWO)], [ONE, TWO], 2),
    "scalars": (["1", '"text"', "null", json.dumps(ONE)], [ONE], 3),
    "a broken element": (
        _pretty(ONE, TWO, THREE).replace('"insertId": "2"', '"insertId": 2x').split("\n"),
        [ONE, THREE],
        1,
    ),
    "a cut last element": (_pretty(ONE, TWO, THREE)[:-40].split("\n"), [ONE, TWO], 1),
    "a broken element on one line": (
        [json.dumps([ONE, TWO, THREE]).replace('"insertId": "2"', '"insertId": 2x')],
        [ONE, THREE],
        1,
    ),
    "a line that opens more than it closes, before an array on one line": (
        ['{"a": [{"b": 1}', json.dumps([ONE, TWO])],
        [ONE, TWO],
        1,
    ),
    "nesting without end": (["[" + "[" * 10, '{"a":' * 100_000, json.dumps(ONE)], [ONE], 1),
    "a number without end": (['{"a": ' + "9" * 5000 + "}", json.dumps(ONE)], [ONE], 1),
    "bytes that are no UTF-8": (["\udcff", json.dumps(ONE)], [ONE], 1),
}


@pytest.mark.parametrize(("lines", "values", "broken"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_and_loses_nothing_else(lines: list[str], values: list[Any], broken: int) -> None:
    pieces = _read("\n".join(lines).encode("utf-8", "surrogateescape"), 1000)
    assert _values(pieces) == values
    assert len(pieces) - len(values) == broken


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.lists(st.integers(), max_size=3), max_size=3),
            st.sampled_from(["\n", "\n\n", "\r\n", "\nnonsense\n", "\n{\n", "\n]\n", '\n"\n']),
            st.sampled_from([None, 1, 4]),
        ),
        max_size=6,
    ),
    st.integers(1, 50),
)
def test_documents_survive_any_layout_and_any_garbage_between(parts: list[Any], chunk: int) -> None:
    text = "".join(json.dumps(value, indent=indent) + between for value, between, indent in parts)
    assert _values(_read(text, chunk)) == [value for value, _, _ in parts]


@pytest.mark.slow
@pytest.mark.timeout(20)
@pytest.mark.parametrize("between", ["junk\n", '{"insertId": 2x}\n', '{"insertId": 2x},'])
def test_a_hundred_thousand_broken_pieces_take_seconds_not_minutes(between: str) -> None:
    data = ("[" + between * 100_000 + json.dumps(ONE) + "]").encode()
    pieces = list(split(data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)))
    assert len(pieces) == 100_001
    assert _values(pieces) == [ONE]


def test_gzip_is_told_by_its_content_and_may_be_cut(tmp_path: Path) -> None:
    text = "".join(json.dumps({"insertId": str(number), "pad": "x" * 50}) + "\n" for number in range(5000)).encode()
    whole, cut, twice = (tmp_path / name for name in ("whole.json", "cut", "twice"))
    whole.write_bytes(gzip.compress(text))
    twice.write_bytes(gzip.compress(text) + gzip.compress(text))
    cut.write_bytes(gzip.compress(text)[:-500])
    assert len(list(documents(str(whole)))) == 5000
    assert len(list(documents(str(twice)))) == 10_000
    pieces = list(documents(str(cut)))
    assert 0 < len(pieces) < 5001
    assert isinstance(pieces[-1], Broken)


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(json.dumps(ONE).encode())

    monkeypatch.setattr("sys.stdin", Stdin())
    assert _values(list(documents("-"))) == [ONE]


def test_yaml_is_told_apart_with_what_to_do() -> None:
    with pytest.raises(BadInput) as told:
        _read("---\ninsertId: abc\n")
    assert "--format=json" in told.value.advice


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=str(tmp_path / name)):
        list(documents(str(tmp_path / name)))


def test_empty_input_has_no_documents() -> None:
    assert _read("") == _read(" \n[]\n") == []
