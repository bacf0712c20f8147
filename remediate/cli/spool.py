"""Turns texts, one after another, into a compressed temporary file and back into bytes: memory holds none of them."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from types import TracebackType

_CHUNK = 1 << 16  # bytes
_IN_MEMORY = 4 << 20  # bytes, compressed; what is more goes to the disk


class Spool:
    """A list of one-line texts that is written once and read once. Leaving the context deletes its file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (closed at the end)
        self._packer = zlib.compressobj(1)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, text: str | None) -> None:
        """Write one text behind the others; None keeps its place for one that comes late."""
        self._file.write(self._packer.compress(f"{text or ''}\n".encode()))

    def join(self, late: Iterator[str]) -> Iterator[bytes]:
        """All texts with a comma between two of them, the late ones in their places; nothing is added afterwards."""
        self._file.write(self._packer.flush())
        self._file.seek(0)
        between = b""
        for line in self._lines():
            yield between + (line or next(late).encode())
            between = b","

    def _lines(self) -> Iterator[bytes]:
        unpacker, rest = zlib.decompressobj(), b""
        while chunk := self._file.read(_CHUNK):
            while chunk:
                *lines, rest = (rest + unpacker.decompress(chunk, _CHUNK)).split(b"\n")
                yield from lines
                chunk = unpacker.unconsumed_tail
        yield from (rest + unpacker.flush()).split(b"\n")[:-1]
