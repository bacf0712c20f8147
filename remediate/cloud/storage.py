"""Reads a policy from a file or a Cloud Storage object. Source: `objects.get`, `alt=media` (JSON API v1)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from remediate.cloud.rest import get
from remediate.decisions.policy_file import MOST
from remediate.errors import BadInput, TerminalFault

_GOOGLE = "https://storage.googleapis.com"
_TIMEOUT = 10.0  # seconds


def object_text(place: str, endpoint: str | None) -> str:
    """The text at `gs://BUCKET/OBJECT`. Raises BadInput if there is none, TransientFault if Google does not answer."""
    bucket, _, name = place.removeprefix("gs://").partition("/")
    if not bucket or not name:
        raise BadInput(f"{place}: expected gs://BUCKET/OBJECT")
    url = f"{endpoint or _GOOGLE}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}?alt=media"
    try:
        return get(url, _TIMEOUT, place).decode()
    except TerminalFault as fault:
        raise BadInput(str(fault)) from None
    except UnicodeDecodeError:
        raise BadInput(f"{place}: no UTF-8 text") from None


def read_policy(place: str, endpoint: str | None = None) -> str:
    """The text at a path or `gs://BUCKET/OBJECT`. Raises BadInput or TransientFault if it cannot be read."""
    if place.startswith("gs://"):
        return object_text(place, endpoint)
    try:
        with Path(place).open(encoding="utf-8") as file:
            return file.read(MOST + 1)  # a longer text is rejected later; `/dev/zero` never ends
    except OSError as error:
        raise BadInput(f"{place}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{place}: no UTF-8 text") from None
