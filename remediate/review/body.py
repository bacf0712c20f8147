"""Limits a request body to 64 KiB and reads it only after the caller is identified; a longer body is never in memory.

functions-framework reads the rest of a body into memory after each response, even when the request was refused.
This module takes the body out of the request first, then puts back what it read. The server discards the rest.
"""

from __future__ import annotations

import io
from typing import IO

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_content_length

LARGEST = 64 * 1024
"""Bytes of a form; fifty ids and a reason take about 5,000."""
_TAKEN = "remediate.body"


def withhold(request: flask.Request) -> None:
    """Take the unread body out of the request; later code sees only what `restore` puts back."""
    environ = request.environ
    if _TAKEN in environ:
        return
    length = get_content_length(environ)  # None when the length is unknown, as with chunks
    known_end = length is not None or bool(environ.get("wsgi.input_terminated"))
    environ[_TAKEN] = (environ["wsgi.input"] if known_end else io.BytesIO(), length)
    _put(request, b"")


def restore(request: flask.Request) -> None:
    """Read the body that was withheld and put it back. Raises RequestEntityTooLarge for more than LARGEST bytes."""
    withhold(request)
    stream, length = request.environ[_TAKEN]
    if length is not None and length > LARGEST:
        raise RequestEntityTooLarge
    body = _read(stream, LARGEST + 1 if length is None else length)
    if len(body) > LARGEST:
        raise RequestEntityTooLarge
    _put(request, body)


def _read(stream: IO[bytes], most: int) -> bytes:
    """Read at most so many bytes; one read of a stream can return fewer."""
    parts: list[bytes] = []
    while most > 0 and (part := stream.read(most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _put(request: flask.Request, body: bytes) -> None:
    request.environ.pop("HTTP_TRANSFER_ENCODING", None)
    request.environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
