"""Cloud Logging by Google's client: reads back entries, and finds missed denials, earlier deploys and policy changes.

Reads JSON and not the client's entry objects, which round timestamps to microseconds: the timestamp is part of the key
of an entry. Source: `entries.list` (Cloud Logging API v2), with a quota of 60 calls per minute and project.

With a log view (`REMEDIATE_LOG_VIEW`) entries are read back from one log bucket, which sinks fill with the denials of
everything watched. It is as good a witness as the projects' own logs: a sink copies an entry as it is, under its own
`logName`; only sinks write to a bucket; and IAM names those that may write to this one. A person who may write log
entries (`roles/logging.logWriter`, in whichever project) names the log, and Google refuses the names of audit logs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from remediate.cloud.client import client_options, translate_errors, with_retries
from remediate.cloud.interface import EntryKey
from remediate.decoding import decode_json
from remediate.entries.log_filter import DENIALS, calls_of, deploys_by, ends_of, entries_by_id, policy_changes
from remediate.errors import BehindPerimeter, PartlyUnreadable, RemediateError, TerminalFault, TransientFault
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.timed_cache import TimedCache
from remediate.times import to_rfc3339

if TYPE_CHECKING:
    from google.cloud.logging_v2 import Client

_PAGE = 1000  # entries per page, Google's maximum
_SCOPES = 100  # projects in one call, Google's maximum
_MOST_SPLITS = 50  # of batches that Google refuses: if it refuses everything, it is not asked for each project
_MOST_SHOWN = 20  # projects that an error names
CALLS = 50  # calls per minute of one process, where it is the only one; the rest of the 60 is for people and the sweep
_MINUTE = 60.0
_MOST_NAMED = 100  # entries in one query
_LONGEST_NAMES = 15_000  # characters of their names; a filter may have 20,000
_PAGES = 5  # pages that one search reads
_NEWEST = 100  # entries per page in a search that reads the newest first and stops at the first proof
_MOST_CALLS = 20  # entries of one operation, which usually has one or two
_MOST_OPERATIONS = 100  # operations that are cached
_OPERATION_LASTS = timedelta(hours=1)


class _Page(msgspec.Struct, rename="camel"):
    entries: list[msgspec.Raw] = []
    next_page_token: str = ""


class _Named(msgspec.Struct, rename="camel"):
    insert_id: str = ""
    log_name: str = ""


class _Answer:
    """The result of a look-up, shared by the threads that ask for the same entry."""

    def __init__(self) -> None:
        self.done = False
        self.entries: list[bytes] = []
        self.error: RemediateError | None = None


def _fail(waiting: dict[EntryKey, _Answer], error: RemediateError) -> None:
    """Set the error on all answers without entries. Entries that were found before the error stay valid."""
    for answer in waiting.values():
        if not answer.entries:
            answer.error = error


class GoogleLogs:
    """A `Logs`. `endpoint` overrides Google's address; `timeout` is in seconds per call.

    `scan_timeout` is that of a call which searches the logs of up to a hundred projects; `calls`: look-ups per minute;
    `view`: the log view that entries are read back from first.
    """

    def __init__(
        self,
        endpoint: str | None,
        timeout: float,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        scan_timeout: float = 60.0,
        calls: int = CALLS,
        view: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._scan_timeout = scan_timeout
        self._most_calls = calls
        self._view = view
        self._monotonic = monotonic
        self._calls: deque[float] = deque()
        self._counting, self._asking, self._queueing = threading.Lock(), threading.Lock(), threading.Lock()
        self._wanted: dict[EntryKey, _Answer] = {}
        self._operations = TimedCache[tuple[str, str], list[bytes]](_MINUTE, _MOST_OPERATIONS, monotonic)

    @cached_property
    def _client(self) -> Client:
        from google.cloud.logging_v2 import Client

        options, credentials = client_options(self._endpoint)
        return Client(project="-", credentials=credentials, client_options=options, _use_grpc=False)  # type: ignore[no-untyped-call]

    def denials(self, places: Sequence[str], since: datetime) -> Iterator[bytes]:
        """Reads many projects with one call. If Google refuses, halves them until it is known which ones it refuses."""
        batches = deque(list(places[at : at + _SCOPES]) for at in range(0, len(places), _SCOPES))
        refused: dict[str, TerminalFault | BehindPerimeter] = {}
        splits = 0
        while batches:
            batch = batches.popleft()
            try:
                yield from self._scan(batch, since)
            except (TerminalFault, BehindPerimeter) as fault:
                if len(batch) > 1 and splits < _MOST_SPLITS:
                    splits += 1
                    middle = len(batch) // 2
                    batches.extendleft((batch[middle:], batch[:middle]))
                else:
                    refused |= dict.fromkeys(batch, fault)
        if refused:
            stopped = any(isinstance(fault, BehindPerimeter) for fault in refused.values())  # and may become readable
            whole = BehindPerimeter if stopped else TerminalFault
            kind = PartlyUnreadable if len(refused) < len(places) else whole
            more = f" and {len(refused) - _MOST_SHOWN} more" if len(refused) > _MOST_SHOWN else ""
            raise kind(f"{', '.join(list(refused)[:_MOST_SHOWN])}{more}: {next(iter(refused.values()))}")

    def _scan(self, batch: list[str], since: datetime) -> Iterator[bytes]:
        wanted = {
            "resourceNames": batch,
            "filter": f'{DENIALS}\ntimestamp>="{to_rfc3339(since)}"',
            "orderBy": "timestamp asc",
            "pageSize": _PAGE,
        }
        what = batch[0] if len(batch) == 1 else f"{batch[0]} and {len(batch) - 1} more projects"
        while True:
            with translate_errors(f"list the log entries of {what}"):
                page = with_retries(lambda: self._page(wanted, self._scan_timeout), self._scan_timeout)
            yield from (bytes(each) for each in page.entries)
            if not page.next_page_token:
                return
            wanted["pageToken"] = page.next_page_token

    def entry(self, key: EntryKey) -> list[bytes]:
        found = self.entries([key])[key]
        if isinstance(found, RemediateError):
            raise found
        return found

    def entries(self, keys: Sequence[EntryKey]) -> Mapping[EntryKey, list[bytes] | RemediateError]:
        with self._queueing:
            answers = {key: self._wanted.setdefault(key, _Answer()) for key in keys}
        with self._asking:  # the first thread asks for all that wait; the others then find their answer
            while not all(answer.done for answer in answers.values()):
                self._ask()
        return {key: answer.error or answer.entries for key, answer in answers.items()}

    def operation_entries(self, project: str, operation: str, at: datetime) -> list[bytes]:
        """Cached for a minute: one decision asks twice, for the denial and for the entry that it reads back.

        An empty result is not cached: a new entry needs a moment until it is readable.
        """

        def look_up() -> list[bytes]:
            wanted = calls_of(operation, (to_rfc3339(at - _OPERATION_LASTS), to_rfc3339(at + _OPERATION_LASTS)))
            what = f"list the calls of an operation in {project}"
            found = self._looked_up([f"projects/{project}"], wanted, _MOST_CALLS, what)
            return [bytes(each) for each in islice(found, _MOST_CALLS)]

        return self._operations.get((project, operation), look_up, is_good=bool)

    def deploys(
        self,
        project: str,
        repositories: Sequence[Repository],
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> Iterator[bytes]:
        wanted = deploys_by(repositories, members, to_rfc3339(since), to_rfc3339(before))
        return self._newest(project, wanted, f"list deploys in {project}")

    def ends(self, project: str, operations: Sequence[str], since: datetime) -> Iterator[bytes]:
        wanted = ends_of(operations, to_rfc3339(since))
        return self._newest(project, wanted, f"list the ends of operations in {project}")

    def policy_changes(self, repository: Repository, since: datetime) -> Iterator[bytes]:
        wanted = policy_changes(repository, to_rfc3339(since))
        return self._newest(repository.project, wanted, f"list who set the policy of {repository}")

    def _newest(self, project: str, wanted: str, what: str) -> Iterator[bytes]:
        """The matching entries, newest first. Raises TerminalFault after too many pages: another search ends the same.

        Raises TransientFault if the calls of this minute are used up.
        """
        found = self._looked_up([f"projects/{project}"], wanted, _NEWEST, what, order="timestamp desc", final=True)
        return (bytes(each) for each in found)

    def _ask(self) -> None:
        """One query for all waiting keys, so that a burst of denials needs only one call.

        With a view, a second query only for the keys that it does not have.
        """
        with self._queueing:
            waiting: dict[EntryKey, _Answer] = {}
            room = _LONGEST_NAMES
            for key in list(self._wanted)[:_MOST_NAMED]:
                room -= len(key.log_name) + len(key.insert_id)
                if room < 0 and waiting:
                    break
                waiting[key] = self._wanted.pop(key)
        try:
            missing = self._without_view(waiting)
            if missing:
                self._from_projects(missing)
        except RemediateError as error:
            _fail(waiting, error)
        except BaseException as error:
            _fail(waiting, TransientFault(f"read log entries back: {type(error).__name__}"))
            raise
        finally:  # after any error, no thread keeps waiting
            for answer in waiting.values():
                answer.done = True

    def _without_view(self, waiting: dict[EntryKey, _Answer]) -> dict[EntryKey, _Answer]:
        """Read the view; the rest are keys that it does not have, or all where the service may not read it.

        It does not have entries older than its bucket keeps, nor from before its sink, nor any that is no denial.
        """
        if self._view is None:
            return waiting
        with suppress(TerminalFault):  # the doctor tells why: the view is gone, or a grant on it
            self._read_back([self._view], waiting)
        return {key: answer for key, answer in waiting.items() if not answer.entries}

    def _from_projects(self, waiting: dict[EntryKey, _Answer]) -> None:
        scopes: dict[str, list[EntryKey]] = {}
        for key in waiting:
            scopes.setdefault("/".join(key.log_name.split("/")[:2]), []).append(key)
        try:
            self._read_back(list(scopes), waiting)
        except (TerminalFault, BehindPerimeter):  # one scope that may not be read must not block the others
            for scope, keys in scopes.items():
                part = {key: waiting[key] for key in keys}
                try:
                    self._read_back([scope], part)
                except RemediateError as error:
                    _fail(part, error)

    def _read_back(self, scopes: list[str], waiting: dict[EntryKey, _Answer]) -> None:
        wanted = entries_by_id([(key.log_name, key.insert_id, key.timestamp) for key in waiting])
        for raw in self._looked_up(scopes, wanted, _PAGE, "read log entries back"):
            named = decode_json(raw, _Named)
            for key, answer in waiting.items():
                if (key.insert_id, key.log_name) == (named.insert_id, named.log_name):
                    answer.entries.append(bytes(raw))

    def _looked_up(
        self,
        scopes: list[str],
        wanted: str,
        size: int,
        what: str,
        *,
        order: str = "timestamp asc",
        final: bool = False,
    ) -> Iterator[msgspec.Raw]:
        """The entries, `size` per page. Each page and each retry counts as one call of this minute.

        An empty page with a token does not mean "none": Google ran out of time before it searched everything
        (`nextPageToken`, `entries.list`). Raises TransientFault (`final`: TerminalFault) if the search is not complete
        after `_PAGES` pages.
        """
        body: dict[str, object] = {
            "resourceNames": scopes,
            "filter": wanted,
            "pageSize": size,
            "orderBy": order,
        }
        for _ in range(_PAGES):
            with translate_errors(what):
                page = with_retries(lambda: self._counted(body), self._timeout)
            yield from page.entries
            if not page.next_page_token:
                return
            body["pageToken"] = page.next_page_token
        fault = TerminalFault if final else TransientFault
        raise fault(f"{what}: Cloud Logging was not done searching after {_PAGES} pages")

    def _counted(self, wanted: dict[str, object]) -> _Page:
        self._spend()
        return self._page(wanted, self._timeout)

    def _spend(self) -> None:
        """Take one of the calls of this minute. Raises TransientFault if they are used up; the event is redelivered."""
        with self._counting:
            now = self._monotonic()
            while self._calls and now - self._calls[0] >= _MINUTE:
                self._calls.popleft()
            if len(self._calls) >= self._most_calls:
                raise TransientFault(f"the limit of {self._most_calls} log look-ups per minute is reached")
            self._calls.append(now)

    def _page(self, wanted: dict[str, object], timeout: float) -> _Page:
        answer = self._client._connection.api_request(  # type: ignore[no-untyped-call]
            "POST", "/entries:list", data=wanted, expect_json=False, timeout=timeout
        )
        try:
            return decode_json(answer, _Page)
        except msgspec.MsgspecError as error:  # for example the error page of a proxy
            raise TransientFault(f"Cloud Logging's answer cannot be read: {error}") from None
