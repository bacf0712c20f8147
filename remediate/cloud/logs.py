"""Cloud Logging by Google's client: the audit log entries of denials that never arrived.

Asked for as JSON, not as the client's entries: these round a timestamp to microseconds, and the timestamp is part of
what identifies an entry. Source: `entries.list` (Cloud Logging API v2), which takes 60 calls a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from remediate.cloud.connection import client_options, retried, translated
from remediate.logfilter import DENIALS
from remediate.remediation import instant

if TYPE_CHECKING:
    from google.cloud.logging_v2 import Client

_PAGE = 1000  # entries, the most that Google gives at once
_PATIENCE = 6  # as many times the time-out: a page may have to wait for the next minute's quota


class _Page(msgspec.Struct, rename="camel"):
    entries: list[msgspec.Raw] = []
    next_page_token: str = ""


class GoogleLogs:
    """A `Logs`. `endpoint` overrides Google's address; `timeout` is seconds a call."""

    def __init__(self, endpoint: str | None, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout

    @cached_property
    def _client(self) -> Client:
        from google.cloud.logging_v2 import Client

        options, credentials = client_options(self._endpoint)
        return Client(project="-", credentials=credentials, client_options=options, _use_grpc=False)  # type: ignore[no-untyped-call]

    def denials(self, scope: str, since: datetime) -> Iterator[bytes]:
        wanted = {
            "resourceNames": [scope],
            "filter": f'{DENIALS}\ntimestamp>="{instant(since)}"',
            "orderBy": "timestamp asc",
            "pageSize": _PAGE,
        }
        while True:
            with translated(f"list the log entries of {scope}"):
                page = retried(lambda: self._page(wanted), self._timeout, budgets=_PATIENCE)
            yield from (bytes(each) for each in page.entries)
            if not page.next_page_token:
                return
            wanted["pageToken"] = page.next_page_token

    def _page(self, wanted: dict[str, object]) -> _Page:
        answer = self._client._connection.api_request(  # type: ignore[no-untyped-call]
            "POST", "/entries:list", data=wanted, expect_json=False, timeout=self._timeout
        )
        return msgspec.json.decode(answer, type=_Page)
