"""The ledger in production: Firestore, with preconditions in one batch and without transactions.

A contended transaction waits and is aborted. A batch with a failed precondition fails at once, and the remediator reads
again. Each remediation is one document; its trail and its counted denials are subcollections.
Sources: "Transactions and batched writes" and "Understand reads and writes at scale" (Firestore).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from remediate.errors import BadInput, Conflict, LedgerFault
from remediate.ledger import codec as stored
from remediate.ledger import firestore_claims
from remediate.ledger.documents import TIMEOUT, field, row, streamed, translated
from remediate.ledger.interface import Cursor, Filter, Page, TrailFilter, TrailPage, ends, filed, with_next_version
from remediate.records.modes import ModeChange, Modes
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State

if TYPE_CHECKING:
    from google.cloud.firestore import (
        Client,
        CollectionReference,
        DocumentReference,
        Query,
        WriteBatch,
    )

SCHEMA = 5
"""Version of the documents. Firestore creates collections by itself; `_migrate` adds fields to older documents."""

_REMEDIATIONS, _TRAIL, _DENIALS, _SETTINGS, _CHANGES = "remediations", "trail", "denials", "settings", "mode_changes"
_PARCELS = "parcels"
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

        with translated():
            try:
                found = schema.get(timeout=TIMEOUT)
            except NotFound:
                raise BadInput(f"there is no Firestore database {self._project}/{self._database}") from None
            version = field(found, "version") if found.exists else 0
            if not isinstance(version, int):
                raise LedgerFault(f"settings/schema has version {version!r}: expected a number")
            if version > SCHEMA:
                name = f"firestore://{self._project}/{self._database}"
                raise BadInput(f"{name} has schema {version}; this version reads up to {SCHEMA}: upgrade remediate")
            if version < SCHEMA:
                _migrate(client)
                schema.set({"version": SCHEMA}, timeout=TIMEOUT)
        return client

    @property
    def _collection(self) -> CollectionReference:
        return self._client.collection(_REMEDIATIONS)

    def _document(self, remediation: str) -> DocumentReference:
        return self._collection.document(remediation)

    def get(self, remediation: str) -> Remediation | None:
        with translated():
            found = self._document(remediation).get(timeout=TIMEOUT)
        return stored.remediation(field(found, "record"), remediation) if found.exists else None

    def by_id_prefix(self, prefix: str) -> list[Remediation]:
        with translated():
            query = self._collection.order_by("__name__").start_at([self._document(prefix)])
            query = query.end_at([self._document(prefix + "\uf8ff")]).limit(10)
            return [stored.remediation(*row(found)) for found in streamed(query)]

    def is_counted(self, denial_key: str, remediation: str) -> bool:
        with translated():
            return bool(self._denial(remediation, denial_key).get(timeout=TIMEOUT).exists)

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
        with translated():
            if read == 0:
                batch.create(document, fields)
            else:
                found = document.get(["version"], timeout=TIMEOUT)
                if not found.exists or field(found, "version") != read:
                    raise Conflict(f"another process changed {record.id} first")
                option = self._client.write_option(last_update_time=found.update_time)
                batch.update(document, fields, option=option)
            if denial_key is not None:
                batch.create(self._denial(record.id, denial_key), {"remediation": record.id})
            for each in trail:
                step = document.collection(_TRAIL).document(f"{each.seq:08d}")
                batch.create(step, {"at": each.at, "record": msgspec.json.encode(each).decode()})
            self._add(batch, parcels)
            batch.commit(timeout=TIMEOUT)
        return record

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        return self.page(wanted, limit=limit, after=Cursor(after.tally.last_seen, after.id) if after else None).whole()

    def page(
        self, wanted: Filter, *, limit: int = 100, after: Cursor | None = None, longest_waiting: bool = False
    ) -> Page:
        from google.cloud.firestore import FieldFilter

        column, way = ("updated", "ASCENDING") if longest_waiting else ("last_seen", "DESCENDING")
        query: Query = self._collection.order_by(column, direction=way).order_by("__name__", direction=way)
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
        with translated():
            rows = map(row, streamed(query.limit(most)))
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
            return int(counting.get(timeout=TIMEOUT)[0][0].value)

        with translated(), ThreadPoolExecutor(len(states)) as pool:
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
        with translated():
            while len(found) < limit and (latest := list(streamed(query.limit(1)))):
                name = str(field(latest[0], "gathered"))
                if not name:
                    break
                counting = AggregationQuery(among.where(filter=FieldFilter("gathered", "==", name)).limit(most + 1))
                found[name] = int(counting.count(alias="all").get(timeout=TIMEOUT)[0][0].value)
                query = here.start_after([name])
        return found

    def ids(self, states: Sequence[State] = ()) -> Iterator[str]:
        from google.cloud.firestore import FieldFilter

        query: Query = self._collection.select(["version"])
        if states:
            query = query.where(filter=FieldFilter("state", "in", [str(state) for state in states]))
        with translated():
            for each in streamed(query):
                yield str(each.id)

    def due(self, now: str, unanswered_since: str) -> Iterator[str]:
        """Three queries, for proposals by the index of state and `updated`. The others need none in installation.yaml.

        Only grants that end by themselves have a text in `ends`, so that its own index is enough.

        Documents of versions that did not store `ends` are missing here until they are next written; the full sweep
        ends their grants, as it reads every grant.
        """
        from google.cloud.firestore import FieldFilter

        ids: Query = self._collection.select([])
        proposed = ids.where(filter=FieldFilter("state", "==", str(State.PROPOSED)))
        with translated():
            for query in (
                ids.where(filter=FieldFilter("state", "==", str(State.APPROVED))),
                proposed.where(filter=FieldFilter("updated", "<=", unanswered_since)),
                ids.where(filter=FieldFilter("ends", "<=", now)),
            ):
                for each in streamed(query):
                    yield str(each.id)

    def index_mismatches(self) -> Iterator[str]:
        """Documents without `ends` are of an older version, and not wrong: see `due`."""
        with translated():
            for each in streamed(self._collection):
                with suppress(LedgerFault):
                    record = stored.remediation(*row(each))
                    found = {"ends": ends(record), **(each.to_dict() or {})}
                    if record.id != each.id or not filed(record).items() <= found.items():
                        yield str(each.id)

    def damage(self) -> Iterator[str]:
        """Always empty: Firestore checks its own storage, and creates a collection with its first document."""
        return iter(())

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        with translated():
            if remediation is None:
                query = self._client.collection_group(_TRAIL).order_by("at").order_by("__name__")
            else:
                query = self._document(remediation).collection(_TRAIL).order_by("__name__")
            for each in streamed(query):
                yield stored.step(*row(each))

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
        with translated():
            rows = map(row, streamed(query.limit(most)))
            got = stored.gather(rows, stored.step, wanted.matches, limit, most=most)
        return TrailPage(got.found, got.more, _part(got), got.damaged)

    def acquire_slot(self, name: str, limit: int, holder: str) -> bool:
        return firestore_claims.acquire_slot(self._client, name, limit, holder)

    def acquire_lease(self, name: str, holder: str, now: str, until: str) -> bool:
        return firestore_claims.acquire_lease(self._client, name, holder, now, until)

    def release_lease(self, name: str, holder: str) -> None:
        firestore_claims.release_lease(self._client, name, holder)

    def modes(self) -> Modes:
        with translated():
            found = self._modes.get(timeout=TIMEOUT)
        return stored.modes(field(found, "record")) if found.exists else Modes()

    def switch(self, modes: Modes, change: ModeChange) -> None:
        fields = {"version": modes.version, "record": msgspec.json.encode(modes).decode()}
        batch = self._client.batch()
        with translated():
            if modes.version == 1:
                batch.create(self._modes, fields)
            else:
                stored = self._modes.get(["version"], timeout=TIMEOUT)
                if not stored.exists or field(stored, "version") != modes.version - 1:
                    raise Conflict("another process switched the mode first")
                option = self._client.write_option(last_update_time=stored.update_time)
                batch.update(self._modes, fields, option=option)
            step = self._modes.collection(_CHANGES).document(f"{change.seq:08d}")
            batch.create(step, {"record": msgspec.json.encode(change).decode()})
            batch.commit(timeout=TIMEOUT)

    def mode_changes(self) -> Iterator[ModeChange]:
        with translated():
            for each in streamed(self._modes.collection(_CHANGES).order_by("__name__")):
                yield stored.change(*row(each))

    def enqueue(self, parcels: Sequence[OutboxMessage]) -> None:
        batch = self._client.batch()
        with translated():
            if self._add(batch, parcels):
                batch.commit(timeout=TIMEOUT)

    def waiting(self, channel: str, now: str, limit: int) -> list[OutboxMessage]:
        from google.cloud.firestore import FieldFilter

        query = self._client.collection(_PARCELS).where(filter=FieldFilter("channel", "==", channel))
        query = query.where(filter=FieldFilter("due", "<=", now)).order_by("due").limit(limit)
        with translated():
            return stored.gather(map(row, streamed(query)), stored.parcel, lambda _: True, limit).found

    def mark(self, parcel: OutboxMessage) -> None:
        document = self._parcel(parcel)
        with translated():
            stored = document.get(["version"], timeout=TIMEOUT)
            if not stored.exists or field(stored, "version") != parcel.version - 1:
                raise Conflict(f"another process took {parcel.id} first")
            option = self._client.write_option(last_update_time=stored.update_time)
            document.update(_fields(parcel), option=option, timeout=TIMEOUT)

    def _add(self, batch: WriteBatch, parcels: Sequence[OutboxMessage]) -> int:
        """Add the missing messages to the batch; returns how many. The batch fails if another process stores one."""
        absent = [each for each in parcels if not self._parcel(each).get(["version"], timeout=TIMEOUT).exists]
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


def _part(got: stored.Gathered[Remediation] | stored.Gathered[TrailRecord]) -> int | None:
    """How many documents the scan read, if it stopped before the end; None if it read all."""
    return got.looked_at if got.looked_at == _SCANNED and not got.more else None


def _fields(parcel: OutboxMessage) -> dict[str, object]:
    record = msgspec.json.encode(parcel).decode()
    return {"channel": parcel.channel, "due": parcel.due, "version": parcel.version, "record": record}


def _migrate(client: Client) -> None:
    """Add the indexed fields of newer schemas to older remediations: `updated` (4), `gathered` (5)."""
    query = client.collection(_REMEDIATIONS).order_by("__name__").limit(500)
    page = list(streamed(query))
    while page:
        for each in page:
            if not {"updated", "gathered"} <= (each.to_dict() or {}).keys():
                option = client.write_option(last_update_time=each.update_time)
                with suppress(Conflict), translated():  # another process wrote the field first
                    record = stored.remediation(*row(each))
                    fields = {"updated": record.lifecycle.updated, "gathered": record.tally.gathered}
                    each.reference.update(fields, option=option, timeout=TIMEOUT)
        page = list(streamed(query.start_after([page[-1].reference])))
