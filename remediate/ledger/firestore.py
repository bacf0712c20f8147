"""The ledger in production: Firestore, by preconditions in one batch, without transactions.

A contended transaction waits and is aborted; a batch whose preconditions fail says so at once, and the remediator reads
again. Each remediation is one document, with its trail and the denials it counted in collections beneath it.
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

from remediate.errors import BadInput, Conflict, TerminalFault, TransientFault
from remediate.ledger.interface import Filter, Mark, Page, TrailFilter, TrailPage, filed
from remediate.modes import ModeChange, Modes
from remediate.notify.outbox import Parcel
from remediate.remediation import Remediation, State, TrailRecord

if TYPE_CHECKING:
    from google.cloud.firestore import (
        Client,
        CollectionReference,
        DocumentReference,
        DocumentSnapshot,
        Query,
        WriteBatch,
    )

_TIMEOUT = 10.0  # seconds a call
SCHEMA = 4
"""What the documents look like. Collections make themselves; `_migrate` adds what older documents do not have."""

_REMEDIATIONS, _TRAIL, _DENIALS, _SETTINGS, _CHANGES = "remediations", "trail", "denials", "settings", "mode_changes"
_PLACES, _PARCELS = "places", "parcels"
_SCANNED = 10_000  # documents looked at, newest first, for a filter that no index serves

_records = msgspec.json.Decoder(Remediation)
_trails = msgspec.json.Decoder(TrailRecord)
_modes = msgspec.json.Decoder(Modes)
_changes = msgspec.json.Decoder(ModeChange)
_parcels = msgspec.json.Decoder(Parcel)


class FirestoreLedger:
    """A `Ledger` in one Firestore database. `FIRESTORE_EMULATOR_HOST` is honoured by Google's client."""

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
            version = found.get("version") if found.exists else 0
            if version > SCHEMA:
                name = f"firestore://{self._project}/{self._database}"
                raise BadInput(f"{name} has schema {version}; this version reads up to {SCHEMA}: use a newer one")
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
        return _records.decode(found.get("record")) if found.exists else None

    def named(self, prefix: str) -> list[Remediation]:
        with _translated():
            query = self._collection.order_by("__name__").start_at([self._document(prefix)])
            query = query.end_at([self._document(prefix + "\uf8ff")]).limit(10)
            return [_records.decode(found.get("record")) for found in _streamed(query)]

    def counted(self, denial_key: str, remediation: str) -> bool:
        with _translated():
            return bool(self._denial(remediation, denial_key).get(timeout=_TIMEOUT).exists)

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[Parcel] = (),
    ) -> None:
        document = self._document(record.id)
        fields = {**filed(record), "record": msgspec.json.encode(record).decode()}
        batch = self._client.batch()
        with _translated():
            if record.version == 1:
                batch.create(document, fields)
            else:
                stored = document.get(["version"], timeout=_TIMEOUT)
                if not stored.exists or stored.get("version") != record.version - 1:
                    raise Conflict(f"{record.id} was changed by somebody else")
                option = self._client.write_option(last_update_time=stored.update_time)
                batch.update(document, fields, option=option)
            if denial_key is not None:
                batch.create(self._denial(record.id, denial_key), {"remediation": record.id})
            for each in trail:
                step = document.collection(_TRAIL).document(f"{each.seq:08d}")
                batch.create(step, {"at": each.at, "record": msgspec.json.encode(each).decode()})
            self._add(batch, parcels)
            batch.commit(timeout=_TIMEOUT)

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        return self.look(wanted, limit=limit, after=Mark(after.last_seen, after.id) if after else None).records

    def look(
        self, wanted: Filter, *, limit: int = 100, after: Mark | None = None, longest_waiting: bool = False
    ) -> Page:
        from google.cloud.firestore import FieldFilter

        field, way = ("updated", "ASCENDING") if longest_waiting else ("last_seen", "DESCENDING")
        query: Query = self._collection.order_by(field, direction=way).order_by("__name__", direction=way)
        if wanted.states:
            query = query.where(filter=FieldFilter("state", "in", [str(state) for state in wanted.states]))
        for name, text in wanted.whole().items():
            query = query.where(filter=FieldFilter(name, "==", text))
        timed = [(sign, text) for sign, text in ((">=", wanted.since), ("<", wanted.until)) if text]
        for sign, text in () if longest_waiting else timed:
            query = query.where(filter=FieldFilter("last_seen", sign, text))
        if after is not None:
            query = query.start_after([after.at, self._document(after.id)])
        most = _SCANNED if wanted.parts() or (longest_waiting and timed) else limit + 1
        found: list[Remediation] = []
        looked_at = 0
        with _translated():
            for each in _streamed(query.limit(most)):
                looked_at += 1
                record = _records.decode(each.get("record"))
                if not wanted.matches(record):
                    continue
                if len(found) == limit:
                    return Page(found, more=True)
                found.append(record)
        return Page(found, more=False, looked_at=looked_at if looked_at == _SCANNED else None)

    def counts(self, states: Sequence[State] = tuple(State), *, most: int | None = None) -> Mapping[State, int]:
        """By a count aggregation for each state, all at the same time; each reads an index alone."""
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

    def ids(self) -> Iterator[str]:
        with _translated():
            for each in _streamed(self._collection.select(["version"])):
                yield str(each.id)

    def misfiled(self) -> Iterator[str]:
        with _translated():
            for each in _streamed(self._collection):
                with suppress(msgspec.MsgspecError):
                    stored = each.to_dict() or {}
                    record = _records.decode(stored.get("record", ""))
                    if record.id != each.id or not filed(record).items() <= stored.items():
                        yield str(each.id)

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        with _translated():
            if remediation is None:
                query = self._client.collection_group(_TRAIL).order_by("at").order_by("__name__")
            else:
                query = self._document(remediation).collection(_TRAIL).order_by("__name__")
            for each in _streamed(query):
                yield _trails.decode(each.get("record"))

    def steps(self, wanted: TrailFilter, *, limit: int = 100, before: Mark | None = None) -> TrailPage:
        """The time is looked up by an index; whatever else is wanted is looked for among so many, the newest first."""
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
        found: list[TrailRecord] = []
        looked_at = 0
        with _translated():
            for each in _streamed(query.limit(most)):
                looked_at += 1
                step = _trails.decode(each.get("record"))
                if not wanted.matches(step):
                    continue
                if len(found) == limit:
                    return TrailPage(found, more=True)
                found.append(step)
        return TrailPage(found, more=False, looked_at=looked_at if looked_at == _SCANNED else None)

    def take(self, name: str, limit: int, holder: str) -> bool:
        """Each place is a document of its own, and each holder looks from a place of its own on: none is contended."""
        places = self._client.collection(_PLACES)
        own = int(hashlib.sha256(holder.encode()).hexdigest(), 16)
        group = hashlib.sha256(name.encode()).hexdigest()[:32]
        for step in range(limit):
            place = places.document(f"{group}-{(own + step) % limit}")
            with suppress(Conflict), _translated():
                place.create({"name": name, "holder": holder}, timeout=_TIMEOUT)
                return True
            with _translated():
                if place.get(timeout=_TIMEOUT).get("holder") == holder:
                    return True
        return False

    def modes(self) -> Modes:
        with _translated():
            found = self._modes.get(timeout=_TIMEOUT)
        return _modes.decode(found.get("record")) if found.exists else Modes()

    def switch(self, modes: Modes, change: ModeChange) -> None:
        fields = {"version": modes.version, "record": msgspec.json.encode(modes).decode()}
        batch = self._client.batch()
        with _translated():
            if modes.version == 1:
                batch.create(self._modes, fields)
            else:
                stored = self._modes.get(["version"], timeout=_TIMEOUT)
                if not stored.exists or stored.get("version") != modes.version - 1:
                    raise Conflict("the mode was switched by somebody else")
                option = self._client.write_option(last_update_time=stored.update_time)
                batch.update(self._modes, fields, option=option)
            step = self._modes.collection(_CHANGES).document(f"{change.seq:08d}")
            batch.create(step, {"record": msgspec.json.encode(change).decode()})
            batch.commit(timeout=_TIMEOUT)

    def mode_changes(self) -> Iterator[ModeChange]:
        with _translated():
            for each in _streamed(self._modes.collection(_CHANGES).order_by("__name__")):
                yield _changes.decode(each.get("record"))

    def enqueue(self, parcels: Sequence[Parcel]) -> None:
        batch = self._client.batch()
        with _translated():
            if self._add(batch, parcels):
                batch.commit(timeout=_TIMEOUT)

    def waiting(self, channel: str, now: str, limit: int) -> list[Parcel]:
        from google.cloud.firestore import FieldFilter

        query = self._client.collection(_PARCELS).where(filter=FieldFilter("channel", "==", channel))
        query = query.where(filter=FieldFilter("due", "<=", now)).order_by("due").limit(limit)
        with _translated():
            return [_parcels.decode(each.get("record")) for each in query.stream(timeout=_TIMEOUT)]

    def mark(self, parcel: Parcel) -> None:
        document = self._parcel(parcel)
        with _translated():
            stored = document.get(["version"], timeout=_TIMEOUT)
            if not stored.exists or stored.get("version") != parcel.version - 1:
                raise Conflict(f"{parcel.id} was taken by somebody else")
            option = self._client.write_option(last_update_time=stored.update_time)
            document.update(_fields(parcel), option=option, timeout=_TIMEOUT)

    def _add(self, batch: WriteBatch, parcels: Sequence[Parcel]) -> int:
        """Have the batch create those that are not there; gives how many. One stored meanwhile is a conflict."""
        absent = [each for each in parcels if not self._parcel(each).get(["version"], timeout=_TIMEOUT).exists]
        for each in absent:
            batch.create(self._parcel(each), _fields(each))
        return len(absent)

    def _parcel(self, parcel: Parcel) -> DocumentReference:
        document: DocumentReference = self._client.collection(_PARCELS).document(parcel.id)
        return document

    @property
    def _modes(self) -> DocumentReference:
        document: DocumentReference = self._client.collection(_SETTINGS).document("modes")
        return document

    def _denial(self, remediation: str, key: str) -> DocumentReference:
        """Keys hold slashes and have any length, ids neither."""
        name = hashlib.sha256(key.encode()).hexdigest()
        denial: DocumentReference = self._document(remediation).collection(_DENIALS).document(name)
        return denial


def _fields(parcel: Parcel) -> dict[str, object]:
    record = msgspec.json.encode(parcel).decode()
    return {"channel": parcel.channel, "due": parcel.due, "version": parcel.version, "record": record}


def _migrate(client: Client) -> None:
    """Give remediations of before the fourth schema the field that their oldest are found by."""
    query = client.collection(_REMEDIATIONS).order_by("__name__").limit(500)
    page = list(_streamed(query))
    while page:
        for each in page:
            if "updated" not in (each.to_dict() or {}):
                option = client.write_option(last_update_time=each.update_time)
                with suppress(Conflict), _translated():  # whoever was faster wrote the field
                    record = _records.decode(each.get("record"))
                    each.reference.update({"updated": record.updated}, option=option, timeout=_TIMEOUT)
        page = list(_streamed(query.start_after([page[-1].reference])))


def _streamed(query: Query | CollectionReference) -> Iterator[DocumentSnapshot[DocumentReference]]:
    """The documents of a query. Its own idea of retrying fails with an AttributeError when a stream breaks off."""
    from google.api_core.exceptions import ServiceUnavailable
    from google.api_core.retry import Retry, if_exception_type

    retry = Retry(predicate=if_exception_type(ServiceUnavailable), timeout=_TIMEOUT)
    yield from query.stream(timeout=_TIMEOUT, retry=retry)


@contextmanager
def _translated() -> Iterator[None]:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (exceptions.Conflict, exceptions.FailedPrecondition, exceptions.NotFound) as error:
        raise Conflict("the ledger's record was changed by somebody else") from error
    except (exceptions.ServerError, exceptions.TooManyRequests, exceptions.RetryError, GoogleAuthError) as error:
        raise TransientFault(f"the ledger could not answer: {type(error).__name__}") from error
    except exceptions.GoogleAPICallError as error:
        raise TerminalFault(f"the ledger refused: {error.message}") from error
