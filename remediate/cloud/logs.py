"""Cloud Logging by Google's client: entries read back, denials that never arrived, earlier deploys, policy changes.

Asked for as JSON, not as the client's entries: these round a timestamp to microseconds, and the timestamp is part of
what identifies an entry. Source: `entries.list` (Cloud Logging API v2), which takes 60 calls a minute and project.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from remediate.cloud.client import client_options, translate_errors, with_retries
from remediate.cloud.interface import EntryKey
from remediate.entries.log_filter import DENIALS, calls_of, deploys_by, ends_of, entries_by_id, policy_changes
from remediate.errors import RemediateError, TerminalFault, TransientFault
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.times import instant

if TYPE_CHECKING:
    from google.cloud.logging_v2 import Client

_PAGE = 1000  # entries, the most that Google gives at once
_SCOPES = 100  # projects that one call may name
_PATIENCE = 6  # as many times the time-out: a page may have to wait for the next minute's quota
_CALLS = 50  # requests a minute that one instance makes; the rest of the 60 is for people and for the sweep
_MINUTE = 60.0
_MOST_NAMED = 100  # entries that one query asks for
_LONGEST_NAMES = 15_000  # characters of their names; a filter holds 20,000
_PAGES = 5  # that one look-up follows
_NEWEST = 100  # entries a page, where the newest come first and the first that tells ends the search
_MOST_CALLS = 20  # of one operation; it has one or two
_OPERATION_LASTS = timedelta(hours=1)

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class _Page(msgspec.Struct, rename="camel"):
    entries: list[msgspec.Raw] = []
    next_page_token: str = ""


class _Named(msgspec.Struct, rename="camel"):
    insert_id: str = ""
    log_name: str = ""


class _Answer:
    """What a look-up comes to; shared by the threads that ask for the same entry."""

    def __init__(self) -> None:
        self.done = False
        self.entries: list[bytes] = []
        self.error: RemediateError | None = None


def _fail(waiting: dict[EntryKey, _Answer], error: RemediateError) -> None:
    """What was found before the fault is found all the same."""
    for answer in waiting.values():
        if not answer.entries:
            answer.error = error


class _Remembered(Generic[_Q, _A]):
    """Answers by their question, each for so many seconds, and only so many."""

    def __init__(self, window: float, most: int, monotonic: Callable[[], float]) -> None:
        self._window, self._most, self._monotonic = window, most, monotonic
        self._answers: dict[_Q, tuple[float, _A]] = {}

    def get(self, question: _Q) -> _A | None:
        found = self._answers.get(question)
        return found[1] if found and self._monotonic() - found[0] < self._window else None

    def keep(self, question: _Q, answer: _A) -> _A:
        if len(self._answers) >= self._most:
            self._answers.clear()
        self._answers[question] = (self._monotonic(), answer)
        return answer


class GoogleLogs:
    """A `Logs`. `endpoint` overrides Google's address; `timeout` is seconds a call."""

    def __init__(self, endpoint: str | None, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._monotonic = monotonic
        self._calls: deque[float] = deque()
        self._counting, self._asking, self._queueing = threading.Lock(), threading.Lock(), threading.Lock()
        self._wanted: dict[EntryKey, _Answer] = {}
        self._operations = _Remembered[tuple[str, str], list[bytes]](_MINUTE, 100, monotonic)

    @cached_property
    def _client(self) -> Client:
        from google.cloud.logging_v2 import Client

        options, credentials = client_options(self._endpoint)
        return Client(project="-", credentials=credentials, client_options=options, _use_grpc=False)  # type: ignore[no-untyped-call]

    def denials(self, projects: Sequence[str], since: datetime) -> Iterator[bytes]:
        for batch in (projects[at : at + _SCOPES] for at in range(0, len(projects), _SCOPES)):
            wanted = {
                "resourceNames": list(batch),
                "filter": f'{DENIALS}\ntimestamp>="{instant(since)}"',
                "orderBy": "timestamp asc",
                "pageSize": _PAGE,
            }
            what = batch[0] if len(batch) == 1 else f"{batch[0]} and {len(batch) - 1} more projects"
            while True:
                with translate_errors(f"list the log entries of {what}"):
                    page = with_retries(partial(self._page, wanted), self._timeout, budgets=_PATIENCE)
                yield from (bytes(each) for each in page.entries)
                if not page.next_page_token:
                    break
                wanted["pageToken"] = page.next_page_token

    def entry(self, key: EntryKey) -> list[bytes]:
        found = self.entries([key])[key]
        if isinstance(found, RemediateError):
            raise found
        return found

    def entries(self, keys: Sequence[EntryKey]) -> Mapping[EntryKey, list[bytes] | RemediateError]:
        with self._queueing:
            answers = {key: self._wanted.setdefault(key, _Answer()) for key in keys}
        with self._asking:  # whoever is first asks for all that wait; the others find their answer at their turn
            while not all(answer.done for answer in answers.values()):
                self._ask()
        return {key: answer.error or answer.entries for key, answer in answers.items()}

    def operation_entries(self, project: str, operation: str, at: datetime) -> list[bytes]:
        """Remembered for a minute: one decision asks twice, for the denial and for the entry that is read back.

        That there are none is not remembered: logs take a moment to be readable.
        """
        remembered = self._operations.get((project, operation))
        if remembered is not None:
            return remembered
        wanted = calls_of(operation, (instant(at - _OPERATION_LASTS), instant(at + _OPERATION_LASTS)))
        found = self._looked_up(
            [f"projects/{project}"], wanted, _MOST_CALLS, f"list the calls of an operation in {project}"
        )
        calls = [bytes(each) for each in islice(found, _MOST_CALLS)]
        return self._operations.keep((project, operation), calls) if calls else calls

    def deploys(
        self,
        project: str,
        repositories: Sequence[Repository],
        members: Sequence[Member],
        since: datetime,
        before: datetime,
    ) -> Iterator[bytes]:
        wanted = deploys_by(repositories, members, instant(since), instant(before))
        return self._newest(project, wanted, f"list deploys in {project}")

    def ends(self, project: str, operations: Sequence[str], since: datetime) -> Iterator[bytes]:
        wanted = ends_of(operations, instant(since))
        return self._newest(project, wanted, f"list the ends of operations in {project}")

    def policy_changes(self, repository: Repository, since: datetime) -> Iterator[bytes]:
        wanted = policy_changes(repository, instant(since))
        return self._newest(repository.project, wanted, f"list who set the policy of {repository}")

    def _newest(self, project: str, wanted: str, what: str) -> Iterator[bytes]:
        """What is found, newest first. Where it is more than a few pages that is final: the next search finds no end.

        Raises TransientFault where the minute's calls are spent.
        """
        found = self._looked_up([f"projects/{project}"], wanted, _NEWEST, what, order="timestamp desc", final=True)
        return (bytes(each) for each in found)

    def _ask(self) -> None:
        """One query for everything that waits, so that a burst of denials costs one of the minute's calls."""
        with self._queueing:
            waiting: dict[EntryKey, _Answer] = {}
            room = _LONGEST_NAMES
            for key in list(self._wanted)[:_MOST_NAMED]:
                room -= len(key.log_name) + len(key.insert_id)
                if room < 0 and waiting:
                    break
                waiting[key] = self._wanted.pop(key)
        scopes: dict[str, list[EntryKey]] = {}
        for key in waiting:
            scopes.setdefault("/".join(key.log_name.split("/")[:2]), []).append(key)
        try:
            self._read_back(list(scopes), waiting)
        except TerminalFault:  # one scope that may not be read must not keep the others from being answered
            for scope, keys in scopes.items():
                part = {key: waiting[key] for key in keys}
                try:
                    self._read_back([scope], part)
                except RemediateError as error:
                    _fail(part, error)
        except RemediateError as error:
            _fail(waiting, error)
        except BaseException as error:
            _fail(waiting, TransientFault(f"read log entries back: {type(error).__name__}"))
            raise
        finally:  # whatever it was, nobody waits for an answer that does not come any more
            for answer in waiting.values():
                answer.done = True

    def _read_back(self, scopes: list[str], waiting: dict[EntryKey, _Answer]) -> None:
        wanted = entries_by_id([(key.log_name, key.insert_id, key.timestamp) for key in waiting])
        for raw in self._looked_up(scopes, wanted, _PAGE, "read log entries back"):
            named = msgspec.json.decode(raw, type=_Named)
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
        """The entries, `size` a page, each page one of the minute's calls and each of its attempts too.

        A page without entries is no "no" while a token comes with it: the search had no time to look everywhere
        (`nextPageToken`, `entries.list`). Raises TransientFault (`final`: TerminalFault) where it has not after a few
        pages.
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
        return self._page(wanted)

    def _spend(self) -> None:
        """Take one of the minute's calls. Raises TransientFault where they are spent: the event comes again."""
        with self._counting:
            now = self._monotonic()
            while self._calls and now - self._calls[0] >= _MINUTE:
                self._calls.popleft()
            if len(self._calls) >= _CALLS:
                raise TransientFault(f"{_CALLS} log look-ups were made within a minute, which is as many as we make")
            self._calls.append(now)

    def _page(self, wanted: dict[str, object]) -> _Page:
        answer = self._client._connection.api_request(  # type: ignore[no-untyped-call]
            "POST", "/entries:list", data=wanted, expect_json=False, timeout=self._timeout
        )
        try:
            return msgspec.json.decode(answer, type=_Page)
        except msgspec.MsgspecError as error:  # a proxy's own page, for instance
            raise TransientFault(f"Cloud Logging's answer cannot be read: {error}") from None
