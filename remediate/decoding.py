"""Decodes JSON into a type, for threads that may meet the type for the first time at once.

msgspec works out a Struct's fields when it first decodes into it. The process dies of a segmentation fault if two
threads do that at once for one Struct (msgspec 0.22). A decoder that a module builds as it is imported needs no help.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, cast

import msgspec

_T = TypeVar("_T")
_lock = threading.Lock()
_decoders: dict[object, msgspec.json.Decoder[Any]] = {}


def decode_json(body: bytes | str, kind: type[_T]) -> _T:
    """The JSON in this shape. Raises msgspec.MsgspecError if it has another one."""
    decoder = _decoders.get(kind)
    if decoder is None:
        with _lock:
            decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return cast(_T, decoder.decode(body))
