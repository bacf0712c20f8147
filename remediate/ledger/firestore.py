"""The ledger in production: Firestore, with preconditions in one batch and without transactions.

A contended transaction waits and is aborted. A batch with a failed precondition fails at once, and the remediator reads
again. Each remediation is one document; its trail and its counted denials are subcollections.
Sources: "Transactions and batched writes" and "Understand reads and writes at scale" (Firestore).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from remediate.errors import BadInput, Conflict, LedgerFault, TransientFault
from remediate.ledger import codec as stored
from remediate.ledger.interface import Cursor, Filter, Page, TrailFilter, TrailPage, filed, with_next_version
from remediate.records.modes import ModeChange, Modes
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State

if TYPE_CHECKING:
    from google.cloud.firestore import (
        Client,
        CollectionReference,
        DocumentReference,
        DocumentSnapshot,
        Query,
        WriteBatch,
    )

_TIMEOUT = 10.0  # seconds per call
SCHEMA = 5
"""Version of the documents. Firestore creates collections by itself; `_migrate` adds fields to older documents."""

_REMEDIATIONS, _TRAIL, _DENIALS, _SETTINGS, _CHANGES = "remediations", "trail", "denials", "settings", "mode_changes"
_PLACES, _PARCELS = "places", "parcels"
_SCANNED = 10_000  # documents that a query without an index reads, newest first


class FirestoreLedger:
    """A `Ledger` in one Firestore database. Google's client obeys `FIRESTORE_EMULATOR_HOST`."""

    def __init__(self, project: str, database: str) -> None:
        self._project, self._database = project, database

    @cached_property
    def _client(self) -> Client:
        from google.cloud.firestore import Client

        client = Client(project=self._project, database=self._database)
        schema = client.collection(_SETTINGS).document("schema")
        from google.api_core.exceptions import NotFound

        with _translated():
            try:
                found = schema.get(timeout=_TIMEOUT)
            except NotFound:
                raise BadInput(f"there is no Firestore database {self._project}/{self._database}") from None
            version = _field(found, "version") if found.exists else 0
            if not isinstance(version, int):
                raise LedgerFault(f"settings/schema has version {version!r}: expected a number")
            if version > SCHEMA:
                name = f"firestore://{self._project}/{self._database}"
                raise BadInput(f"{name} has schema {version}; this version reads up to {SCHEMA}: upgrade remediate")
            if version < SCHEMA:
                _migrate(client)
                schema.set({"version": SCHEMA}, timeout=_TIMEOUT)
        return client

    @property
    def _collection(self) -> CollectionReference:
        return self._client.collection(_REMEDIATIONS)

    def _document(self, remediation: str) -> DocumentReference:
        return self._collection.document(remediation)

    def get(self, remediation: str) -> Remediation | None:
        with _translated():
            found = self._document(remediation).get(timeout=_TIMEOUT)
        return stored.remediation(_field(found, "record"), remediation) if found.exists else None

    def by_id_prefix(self, prefix: str) -> list[Remediation]:
        with _translated():
            query = self._collection.order_by("__name__").start_at([self._document(prefix)])
            query = query.end_at([self._document(prefix + "\uf8ff")]).limit(10)
            return [stored.remediation(*_row(found)) for found in _streamed(query)]

    def is_counted(self, denial_key: str, remediation: str) -> bool:
        with _translated():
            return bool(self._denial(remediation, denial_key).get(timeout=_TIMEOUT).exists)

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[OutboxMessage] = (),
    ) -> Remediation:
        read, record = record.storage.version, with_next_version(record)
        document = self._document(record.id)
        fields = {**filed(record), "record": stored.encode(record).decode()}
        batch = self._client.batch()
        with _translated():
            if read == 0:
                batch.create(document, fields)
            else:
                found = document.get(["version"], timeout=_TIMEOUT)
                if not found.exists or _field(found, "version") != read:
                    raise Conflict(f"another process changed {record.id} first")
                option = self._client.write_option(last_update_time=found.update_time)
                batch.update(document, fields, option=option)
            if denial_key is not None:
                batch.create(self._denial(record.id, denial_key), {"remediation": record.id})
            for each in trail:
                step = document.collection(_TRAIL).document(f"{each.seq:08d}")
                batch.create(step, {"at": each.at, "record": msgspec.json.encode(each).decode()})
            self._add(batch, parcels)
            batch.commit(timeout=_TIMEOUT)
        return record

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        return self.page(wanted, limit=limit, after=Cursor(after.tally.last_seen, after.id) if after else None).whole()

    def page(
        self, wanted: Filter, *, limit: int = 100, after: Cursor | None = None, longest_waiting: bool = False
    ) -> Page:
        from google.cloud.firestore import FieldFilter

        field, way = ("updated", "ASCENDING") if longest_waiting else ("last_seen", "DESCENDING")
        query: Query = self._collection.order_by(field, direction=way).order_by("__name__", direction=way)
        if wanted.states:
            query = query.where(filter=FieldFilter("state", "in", [str(state) for state in wanted.states]))
        grouped = None if wanted.gathered is None else {"gathered": wanted.gathered}
        for name, text in (wanted.whole() if grouped is None else grouped).items():
            query = query.where(filter=FieldFilter(name, "==", text))
        timed = [(sign, text) for sign, text in ((">=", wanted.since), ("<", wanted.until)) if text]
        for sign, text in () if longest_waiting or grouped else timed:
            query = query.where(filter=FieldFilter("last_seen", sign, text))
        if after is not None:
            query = query.start_after([after.at, self._document(after.id)])
        unserved = wanted.whole() or timed if grouped else longest_waiting and timed
        most = _SCANNED if wanted.parts() or unserved else limit + 1
        with _translated():
            rows = map(_row, _streamed(query.limit(most)))
            got = stored.gather(rows, stored.remediation, wanted.matches, limit, most=most)
        return Page(got.found, got.more, _part(got), got.damaged)

    def counts(self, states: Sequence[State] = tuple(State), *, most: int | None = None) -> Mapping[State, int]:
        """Uses one count aggregation per state, all in parallel; each reads only an index."""
        from google.cloud.firestore import FieldFilter
        from google.cloud.firestore_v1.aggregation import AggregationQuery

        def count(state: State) -> int:
            query = self._collection.where(filter=FieldFilter("state", "==", str(state)))
            if most is not None:
                query = query.limit(most + 1)
            counting = AggregationQuery(query).count(alias="all")
            return int(counting.get(timeout=_TIMEOUT)[0][0].value)

        with _translated(), ThreadPoolExecutor(len(states)) as pool:
            return dict(zip(states, pool.map(count, states), strict=True))

    def groups(self, state: State | None, *, limit: int, most: int) -> Mapping[str, int]:
        """Reads one group after another from an index: the time depends on the number of groups, not on their size."""
        from google.cloud.firestore import FieldFilter
        from google.cloud.firestore_v1.aggregation import AggregationQuery

        here: Query = self._collection.order_by("gathered", direction="DESCENDING")
        among: Query = self._collection.select([])
        if state is not None:
            here, among = (each.where(filter=FieldFilter("state", "==", str(state))) for each in (here, among))
        found, query = dict[str, int](), here
        with _translated():
            while len(found) < limit and (latest := list(_streamed(query.limit(1)))):
                name = str(_field(latest[0], "gathered"))
                if not name:
                    break
                counting = AggregationQuery(among.where(filter=FieldFilter("gathered", "==", name)).limit(most + 1))
                found[name] = int(counting.count(alias="all").get(timeout=_TIMEOUT)[0][0].value)
                query = here.start_after([name])
        return found

    def ids(self, states: Sequence[State] = ()) -> Iterator[str]:
        from google.cloud.firestore import FieldFilter

        query: Query = self._collection.select(["version"])
        if states:
            query = query.where(filter=FieldFilter("state", "in", [str(state) for state in states]))
        with _translated():
            for each in _streamed(query):
                yield str(each.id)

    def index_mismatches(self) -> Iterator[str]:
        with _translated():
            for each in _streamed(self._collection):
                with suppress(LedgerFault):
                    record = stored.remediation(*_row(each))
                    if record.id != each.id or not filed(record).items() <= (each.to_dict() or {}).items():
                        yield str(each.id)

    def damage(self) -> Iterator[str]:
        """Always empty: Firestore checks its own storage, and creates a collection with its first document."""
        return iter(())

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        with _translated():
            if remediation is None:
                query = self._client.collection_group(_TRAIL).order_by("at").order_by("__name__")
            else:
                query = self._document(remediation).collection(_TRAIL).order_by("__name__")
            for each in _streamed(query):
                yield stored.step(*_row(each))

    def steps(self, wanted: TrailFilter, *, limit: int = 100, before: Cursor | None = None) -> TrailPage:
        """An index serves the time; the other fields need a scan of at most `_SCANNED` transitions, newest first."""
        from google.cloud.firestore import FieldFilter

        query: Query = self._client.collection_group(_TRAIL).order_by("at", direction="DESCENDING")
        query = query.order_by("__name__", direction="DESCENDING")
        for operator, text in ((">=", wanted.since), ("<", wanted.until)):
            if text:
                query = query.where(filter=FieldFilter("at", operator, text))
        if before is not None:
            last = self._document(before.id).collection(_TRAIL).document(f"{before.seq:08d}")
            query = query.start_after([before.at, last])
        most = limit + 1 if wanted.timeless() else _SCANNED
        with _translated():
            rows = map(_row, _streamed(query.limit(most)))
            got = stored.gather(rows, stored.step, wanted.matches, limit, most=most)
        return TrailPage(got.found, got.more, _part(got), got.damaged)

    def acquire_slot(self, name: str, limit: int, holder: str) -> bool:
        """Each place is one document, and each holder starts at a different place, so that no document is contended.

        If that place is taken, one query returns all taken places: in a flood, it mostly shows that none is free.
        """
        from google.cloud.firestore import FieldFilter

        places = self._client.collection(_PLACES)
        own = int(hashlib.sha256(holder.encode()).hexdigest(), 16)
        group = hashlib.sha256(name.encode()).hexdigest()[:32]
        taken: set[str] = set()
        for _ in range(limit):
            free = (place for step in range(limit) if (place := f"{group}-{(own + step) % limit}") not in taken)
            with suppress(Conflict), _translated():
                places.document(next(free)).create({"name": name, "holder": holder}, timeout=_TIMEOUT)
                return True
            with _translated():
                there = list(_streamed(places.where(filter=FieldFilter("name", "==", name)).limit(limit)))
            if any(_field(each, "holder") == holder for each in there):
                return True
            taken = {each.id for each in there}
            if len(taken) >= limit:
                return False
        return False

    def modes(self) -> Modes:
        with _translated():
            found = self._modes.get(timeout=_TIMEOUT)
        return stored.modes(_field(found, "record")) if found.exists else Modes()

    def switch(self, modes: Modes, change: ModeChange) -> None:
        fields = {"version": modes.version, "record": msgspec.json.encode(modes).decode()}
        batch = self._client.batch()
        with _translated():
            if modes.version == 1:
                batch.create(self._modes, fields)
            else:
                stored = self._modes.get(["version"], timeout=_TIMEOUT)
                if not stored.exists or _field(stored, "version") != modes.version - 1:
                    raise Conflict("another process switched the mode first")
                option = self._client.write_option(last_update_time=stored.update_time)
                batch.update(self._modes, fields, option=option)
            step = self._modes.collection(_CHANGES).document(f"{change.seq:08d}")
            batch.create(step, {"record": msgspec.json.encode(change).decode()})
            batch.commit(timeout=_TIMEOUT)

    def mode_changes(self) -> Iterator[ModeChange]:
        with _translated():
            for each in _streamed(self._modes.collection(_CHANGES).order_by("__name__")):
                yield stored.change(*_row(each))

    def enqueue(self, parcels: Sequence[OutboxMessage]) -> None:
        batch = self._client.batch()
        with _translated():
            if self._add(batch, parcels):
                batch.commit(timeout=_TIMEOUT)

    def waiting(self, channel: str, now: str, limit: int) -> list[OutboxMessage]:
        from google.cloud.firestore import FieldFilter

        query = self._client.collection(_PARCELS).where(filter=FieldFilter("channel", "==", channel))
        query = query.where(filter=FieldFilter("due", "<=", now)).order_by("due").limit(limit)
        with _translated():
            return stored.gather(map(_row, _streamed(query)), stored.parcel, lambda _: True, limit).found

    def mark(self, parcel: OutboxMessage) -> None:
        document = self._parcel(parcel)
        with _translated():
            stored = document.get(["version"], timeout=_TIMEOUT)
            if not stored.exists or _field(stored, "version") != parcel.version - 1:
                raise Conflict(f"another process took {parcel.id} first")
            option = self._client.write_option(last_update_time=stored.update_time)
            document.update(_fields(parcel), option=option, timeout=_TIMEOUT)

    def _add(self, batch: WriteBatch, parcels: Sequence[OutboxMessage]) -> int:
        """Add the missing messages to the batch; returns how many. The batch fails if another process stores one."""
        absent = [each for each in parcels if not self._parcel(each).get(["version"], timeout=_TIMEOUT).exists]
        for each in absent:
            batch.create(self._parcel(each), _fields(each))
        return len(absent)

    def _parcel(self, parcel: OutboxMessage) -> DocumentReference:
        document: DocumentReference = self._client.collection(_PARCELS).document(parcel.id)
        return document

    @property
    def _modes(self) -> DocumentReference:
        document: DocumentReference = self._client.collection(_SETTINGS).document("modes")
        return document

    def _denial(self, remediation: str, key: str) -> DocumentReference:
        """The document of a denial. Keys contain slashes and have any length, document ids must not."""
        name = hashlib.sha256(key.encode()).hexdigest()
        denial: DocumentReference = self._document(remediation).collection(_DENIALS).document(name)
        return denial


def _field(document: DocumentSnapshot[DocumentReference], name: str) -> object:
    """The field with this name; None if there is none, where Google's `get` raises KeyError."""
    return (document.to_dict() or {}).get(name)


def _row(document: DocumentSnapshot[DocumentReference]) -> tuple[object, str]:
    """The stored record of a document, and the id of its remediation, switch or notice."""
    path = str(document.reference.path).split("/")
    return _field(document, "record"), path[1] if path[0] == _REMEDIATIONS else path[-1]


def _part(got: stored.Gathered[Remediation] | stored.Gathered[TrailRecord]) -> int | None:
    """How many documents the scan read, if it stopped before the end; None if it read all."""
    return got.looked_at if got.looked_at == _SCANNED and not got.more else None


def _fields(parcel: OutboxMessage) -> dict[str, object]:
    record = msgspec.json.encode(parcel).decode()
    return {"channel": parcel.channel, "due": parcel.due, "version": parcel.version, "record": record}


def _migrate(client: Client) -> None:
    """Add the indexed fields of newer schemas to older remediations: `updated` (4), `gathered` (5)."""
    query = client.collection(_REMEDIATIONS).order_by("__name__").limit(500)
    page = list(_streamed(query))
    while page:
        for each in page:
            if not {"updated", "gathered"} <= (each.to_dict() or {}).keys():
                option = client.write_option(last_update_time=each.update_time)
                with suppress(Conflict), _translated():  # another process wrote the field first
                    record = stored.remediation(*_row(each))
                    fields = {"updated": record.lifecycle.updated, "gathered": record.tally.gathered}
                    each.reference.update(fields, option=option, timeout=_TIMEOUT)
        page = list(_streamed(query.start_after([page[-1].reference])))


def _streamed(query: Query | CollectionReference) -> Iterator[DocumentSnapshot[DocumentReference]]:
    """The documents of a query. The client's default retry fails with an AttributeError when a stream breaks off.

    A query has no precondition, so FailedPrecondition means a missing index ("Query requires an index", Firestore).
    """
    from google.api_core.exceptions import FailedPrecondition, ServiceUnavailable
    from google.api_core.retry import Retry, if_exception_type

    retry = Retry(predicate=if_exception_type(ServiceUnavailable), timeout=_TIMEOUT)
    try:
        yield from query.stream(timeout=_TIMEOUT, retry=retry)
    except FailedPrecondition as error:
        advice = "deploy/installation.yaml lists the indexes. A new index needs some minutes until it is ready."
        raise LedgerFault(f"the ledger refused: {error.message}", advice=advice) from error


@contextmanager
def _translated() -> Iterator[None]:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (exceptions.Conflict, exceptions.FailedPrecondition, exceptions.NotFound) as error:
        raise Conflict("another process changed the record first") from error
    except (exceptions.ServerError, exceptions.TooManyRequests, exceptions.RetryError, GoogleAuthError) as error:
        raise TransientFault(f"the ledger did not answer: {type(error).__name__}") from error
    except exceptions.GoogleAPICallError as error:
        raise LedgerFault(f"the ledger refused: {error.message}") from error
