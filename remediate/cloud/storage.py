"""Cloud Storage: the text of one object, such as a policy file. Source: `objects.get`, `alt=media` (JSON API v1)."""

from __future__ import annotations

from urllib.parse import quote

from remediate.cloud.rest import get
from remediate.errors import BadInput, TerminalFault

_GOOGLE = "https://storage.googleapis.com"
_TIMEOUT = 10.0  # seconds


def object_text(place: str, endpoint: str | None) -> str:
    """The text at `gs://BUCKET/OBJECT`. Raises BadInput where there is none, TransientFault where nobody answers."""
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
