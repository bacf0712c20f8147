"""Splits exported logs (files of JSON in any layout, plain or gzip) into JSON documents, each with its line number.

A layout is an array as `gcloud logging read --format=json` prints it, JSON Lines, single documents, or a mix. An
unreadable part becomes a `Broken` with its line number, and reading continues after it.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from remediate.errors import BadInput

_CHUNK = 1 << 20  # bytes read at a time
_LARGEST = 1 << 26  # characters that one document may have; Cloud Logging's largest entry has half a million bytes
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")  # allowed between documents: array punctuation, white space, a BOM
_YAML = re.compile(r"---\s*$", re.M)
_KEEP = 4096  # characters kept before the position, enough to see a line's indentation
# The element after a broken one in an array on one line: it begins like a log entry or an envelope.
_NEXT_ELEMENT = re.compile(r"\}\s*,\s*(?=\{\s*\"(?:insertId|logName|protoPayload|ackId|subscription|specversion)\")")
_NEAR = 1 << 16  # characters searched first, so that a gigabyte line is not searched for every broken element
_PASSED = 1 << 13  # characters kept after a broken piece; each later broken piece counts their lines again
_GZIP = b"\x1f\x8b"

_scan = json.JSONDecoder().raw_decode


class Document(msgspec.Struct, frozen=True):
    """The bytes of one JSON object, and the line in which it begins (from 1)."""

    line: int
    data: bytes


class Broken(msgspec.Struct, frozen=True):
    """A part that is not a JSON object: the line in which it begins (from 1), and why it could not be read."""

    line: int
    why: str


def check(path: str) -> None:
    """Raise BadInput unless the file (`-`: standard input) can be opened for reading."""
    if path == "-":
        if sys.stdin is None:
            raise BadInput("-: standard input is closed")
        return
    try:
        # A named pipe is opened only once: its writer would take the first close for the end.
        if not Path(path).is_fifo():
            Path(path).open("rb").close()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None


def documents(path: str, advance: Callable[[int], None] = lambda _: None) -> Iterator[Document | Broken]:
    """Every document of a file (`-`: standard input), in order. Calls `advance` with the number of bytes read.

    Raises BadInput for a file that cannot be opened or that is YAML.
    """
    check(path)
    stream = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115  (closed below)
    with closing(stream):
        yield from split(_decompressed(stream, advance), name=path)


def split(chunks: Iterable[bytes], *, name: str = "input") -> Iterator[Document | Broken]:
    """Every document in a stream of bytes, in order. Memory depends on the largest document, not on the stream."""
    return _Splitter(chunks, name).documents()


class _Truncated(Exception):
    """The compressed stream ends early or is damaged."""


def _decompressed(stream: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    counted = _Counted(stream, advance)
    start = counted.read(2)
    counted.unread(start)
    source: _Counted | gzip.GzipFile = gzip.GzipFile(fileobj=counted) if start == _GZIP else counted  # type: ignore[call-overload]
    while True:
        try:
            chunk = source.read(_CHUNK) if isinstance(source, _Counted) else source.read1(_CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise _Truncated from None
        if not chunk:
            return
        yield chunk


class _Counted:
    """A stream that reports how many bytes were read, and takes bytes back with `unread`."""

    def __init__(self, stream: BinaryIO, advance: Callable[[int], None]) -> None:
        self._stream, self._advance, self._pushed = stream, advance, b""

    def read(self, size: int = -1) -> bytes:
        if self._pushed:
            data, self._pushed = self._pushed[:size], self._pushed[size:]
            return data
        data = self._stream.read(size)
        self._advance(len(data))
        return data

    def unread(self, data: bytes) -> None:
        self._pushed = data + self._pushed


class _Splitter:
    """A buffer of text, a position in it, and the line number of that position."""

    def __init__(self, chunks: Iterable[bytes], name: str) -> None:
        self._chunks = iter(chunks)
        self._name = name
        # Bytes that are not UTF-8 are kept, so that only the document with these bytes is unreadable.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._line = "", 0, 1
        self._ended = self._truncated = False

    def documents(self) -> Iterator[Document | Broken]:
        first = True
        while self._skip_between():
            if first and _YAML.match(self._text, self._at):
                advice = "Print the entries with: gcloud logging read ... --format=json"
                raise BadInput(f"{self._name}: this is YAML, expected JSON", advice=advice)
            first = False
            yield self._next()
        if self._truncated:
            yield Broken(self._line, "the compressed data ends or is damaged here")

    def _next(self) -> Document | Broken:
        line = self._line
        while True:
            try:
                value, end = _scan(self._text, self._at)
            except RecursionError:
                return self._resynchronised(line, "nested too deep", self._at)
            except json.JSONDecodeError as error:
                unfinished = error.pos >= len(self._text) - 1 or error.msg.startswith("Unterminated string")
                if (
                    unfinished
                    and len(self._text) - self._at < _LARGEST
                    and self._fill(max(_CHUNK, len(self._text) - self._at))
                ):
                    continue
                return self._resynchronised(line, f"not JSON: {error.msg}", error.pos)
            except ValueError as error:  # a number with more digits than Python converts
                return self._resynchronised(line, f"not JSON: {error}", self._at)
            if isinstance(value, (int, float)) and end == len(self._text) and self._fill(_CHUNK):
                continue  # a number may continue in the next chunk
            data = self._text[self._at : end].encode("utf-8", "surrogateescape")
            self._move(end)
            return Document(line, data) if isinstance(value, dict) else Broken(line, "not a JSON object")

    def _resynchronised(self, line: int, why: str, failed: int) -> Broken:
        """Continue at the next line that is indented no deeper than the broken part, or at the array's next element."""
        start = self._text.rfind("\n", 0, self._at) + 1
        indentation = self._at - start if not self._text[start : self._at].strip() else 0
        following = re.compile(rf"\n[ \t]{{0,{indentation}}}(?=[^\s}}\]])")
        while True:
            if found := (
                following.search(self._text, self._at, failed + 1)
                or self._next_element(failed)
                or following.search(self._text, self._at)
            ):
                self._move(found.end())
                if self._at > max(_PASSED, len(self._text) >> 7):
                    self._drop()  # a JSONDecodeError counts the lines from the start of the text, each time
                return Broken(line, why)
            newline = self._text.rfind("\n", self._at)
            self._move(newline if newline > 0 else max(self._at, len(self._text) - _KEEP))
            if not self._fill(_CHUNK):
                self._move(len(self._text))
                return Broken(line, why)
            failed = self._at

    def _next_element(self, failed: int) -> re.Match[str] | None:
        """The start of the array's next element, if it begins in the same line."""
        for end in (failed + _NEAR, len(self._text)):
            newline = self._text.find("\n", failed, end)
            found = _NEXT_ELEMENT.search(self._text, failed, newline if newline >= 0 else end)
            if found or newline >= 0:
                return found
        return None

    def _skip_between(self) -> bool:
        """Move to the next document; False at the end."""
        while True:
            match = _BETWEEN.match(self._text, self._at)
            assert match
            self._move(match.end())
            if self._at < len(self._text):
                return True
            if not self._fill(_CHUNK):
                return False

    def _move(self, position: int) -> None:
        self._line += self._text.count("\n", self._at, position)
        self._at = position

    def _drop(self) -> None:
        """Drop the text before the position, except the beginning of its line."""
        start = max(self._text.rfind("\n", 0, self._at) + 1, self._at - _KEEP)
        self._text = self._text[start:]
        self._at -= start

    def _fill(self, wanted: int) -> bool:
        """Read at least `wanted` more characters and drop the text before the position; False at the end."""
        if self._ended:
            return False
        self._drop()
        parts, size = [self._text], 0
        while size < wanted and not self._ended:
            try:
                chunk = next(self._chunks, None)
            except _Truncated:
                self._truncated, chunk = True, None
            self._ended = chunk is None
            part = self._decoder.decode(chunk or b"", final=self._ended)
            parts.append(part)
            size += len(part)
        self._text = "".join(parts)
        return size > 0
