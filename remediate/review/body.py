"""Turns a request's body into at most 64 KiB of it, read once it is known who asks; a longer one is never held.

functions-framework reads whatever is left of a body into memory after each answer, also of a request that was refused.
So the body is taken out of the request first, and what was read is put back. The server passes over the rest itself.
"""

from __future__ import annotations

import io
from typing import IO

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_content_length

LARGEST = 64 * 1024
"""Bytes of a form: fifty ids and a reason take five thousand."""
_TAKEN = "remediate.body"


def withhold(request: flask.Request) -> None:
    """Take the body out of the request, unread; nobody finds more of it than `restore` puts back."""
    environ = request.environ
    if _TAKEN in environ:
        return
    length = get_content_length(environ)  # None where the length is not said, as in chunks
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
    """At most so many bytes; a stream may give fewer at a time than it has."""
    parts: list[bytes] = []
    while most > 0 and (part := stream.read(most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _put(request: flask.Request, body: bytes) -> None:
    request.environ.pop("HTTP_TRANSFER_ENCODING", None)
    request.environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
