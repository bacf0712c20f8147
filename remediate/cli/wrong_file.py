"""Reports what of an exported log cannot be read; where none of it can, says in a sentence what the file is instead."""

from __future__ import annotations

import re
import shlex
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from remediate.cli.output import printable

if TYPE_CHECKING:
    from remediate.entries.export import Broken

_NAMED = 10  # unreadable pieces of one file that are named by their line; the rest is counted
_HEAD = 1 << 16  # bytes of a file that show what it is
_GZIP = 31  # zlib's name for the format
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?[\s,\[\]]*(?:\{|\Z)")
_PARTY = r"(?:User|(?:the )?(?:Google )?Cloud Run Service Agent)\b.{0,300} must have permission"
_ERROR = re.compile(rf"^[\s│╷>]*(?:ERROR:|Error:|PERMISSION_DENIED\b|{_PARTY})", re.M)
_FROM = re.compile(r"image is from project \[([^\]\s]+)\]")
_TO = re.compile(r"(?:this|in) project \[([^\]\s]+)\]")
_DEPLOYS = (
    'protoPayload.serviceName="run.googleapis.com" (log_id("cloudaudit.googleapis.com/activity")'
    ' OR log_id("cloudaudit.googleapis.com/system_event"))'
)


class UnreadPieces:
    """What of one file could not be read, until the end of the file shows whether there was an entry in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = _head(name)
        self._first: list[Broken] = []
        self.count = 0

    def add(self, piece: Broken) -> None:
        """Count a piece, and keep the first few."""
        self.count += 1
        if len(self._first) < _NAMED:
            self._first.append(piece)

    def report(self, *, entries: int) -> None:
        """Print, to standard error, what could not be read of a file with so many entries."""
        if self.count and not entries and not _JSON.match(self._head):
            lines = _what_it_is(self._head.decode(errors="replace"))
            _print(f"{self._name}: {lines[0]}", *lines[1:])
            return
        _print(*(f"{self._name}:{piece.line}: unreadable: {piece.why}" for piece in self._first))
        if self.count > _NAMED:
            _print(f"{self._name}: and {self.count - _NAMED} more unreadable")


def _print(*lines: str) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)


def _head(name: str) -> bytes:
    """The beginning of a file, decompressed; of a pipe only what is there, as it can be read once."""
    from remediate.entries import export

    export.check(name)
    if name == "-":
        start = _peeked()
    elif Path(name).is_fifo():
        return b""
    else:
        with Path(name).open("rb") as file:
            start = file.read(_HEAD)
    try:
        return zlib.decompressobj(_GZIP).decompress(start, _HEAD) if start.startswith(b"\x1f\x8b") else start
    except zlib.error:
        return start


def _peeked() -> bytes:
    stream = sys.stdin.buffer
    if stream.seekable():
        place = stream.tell()
        start = stream.read(_HEAD)
        stream.seek(place)
        return start
    return bytes(stream.peek(_HEAD)[:_HEAD]) if hasattr(stream, "peek") else b""


def _what_it_is(text: str) -> list[str]:
    """The sentence about a file that holds no JSON, and what to run in its place."""
    if not _ERROR.search(text):
        return ["this is no exported log; `gcloud logging read ... --format=json` prints one"]
    project = _image_project(text)
    place = f"; its image is in project {project}" if project else ""
    to = _TO.search(text)
    where = to[1] if to else "PROJECT"
    who = "" if to else " (PROJECT is the project that you deploy to)"
    command = f"gcloud logging read {shlex.quote(_DEPLOYS)} --project={shlex.quote(where)} --freshness=1d --format=json"
    return [
        f"this is an error message and not a log entry{place}. This command gets the entry{who}:",
        f"  {command} > export.json",
    ]


def _image_project(text: str) -> str | None:
    """The project of the image that the text names."""
    from remediate.iam.repository import parse_image

    if said := _FROM.search(text):
        return said[1]
    images = (parse_image(word.strip("\"'`.,;:()[]")) for word in text.split())
    return next((image.repository.project for image in images if image and image.repository), None)
