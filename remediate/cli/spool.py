"""Turns texts, one after another, into a compressed temporary file and back into bytes: memory holds none of them."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from types import TracebackType

_CHUNK = 1 << 16  # bytes
_IN_MEMORY = 4 << 20  # bytes, compressed; what is more goes to the disk


class Spool:
    """A list of texts that is written once and read once, joined by commas. A context: it ends with its file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (closed at the end)
        self._packer = zlib.compressobj(1)
        self._any = False

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        """Write one text behind the others."""
        self._file.write(self._packer.compress((f",{text}" if self._any else text).encode()))
        self._any = True

    def joined(self) -> Iterator[bytes]:
        """All texts with a comma between two of them, in pieces of any size; nothing is added afterwards."""
        self._file.write(self._packer.flush())
        self._file.seek(0)
        unpacker = zlib.decompressobj()
        while chunk := self._file.read(_CHUNK):
            while chunk:
                yield unpacker.decompress(chunk, _CHUNK)
                chunk = unpacker.unconsumed_tail
        yield unpacker.flush()
