"""The ledger in production: Firestore, by preconditions in one batch, without transactions.

A contended transaction waits and is aborted; a batch whose preconditions fail says so at once, and the remediator reads
again. Each remediation is one document, with its trail and the denials it counted in collections beneath it.
Sources: "Transactions and batched writes" and "Understand reads and writes at scale" (Firestore).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from remediate.errors import BadInput, Conflict, TerminalFault, TransientFault
from remediate.ledger.interface import Filter
from remediate.modes import ModeChange, Modes
from remediate.notify.outbox import Parcel
from remediate.remediation import Remediation, TrailRecord

if TYPE_CHECKING:
    from google.cloud.firestore import Client, CollectionReference, DocumentReference, Query, WriteBatch

_TIMEOUT = 10.0  # seconds a call
SCHEMA = 3
"""What the documents look like. An older database needs no more than its new number: collections make themselves."""

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
            return [_records.decode(found.get("record")) for found in query.stream(timeout=_TIMEOUT)]

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
        fields = {
            "version": record.version,
            "state": str(record.state),
            "repository": record.repository,
            "member": record.member,
            "last_seen": record.last_seen,
            "record": msgspec.json.encode(record).decode(),
        }
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
        from google.cloud.firestore import FieldFilter

        query: Query = self._collection.order_by("last_seen", direction="DESCENDING")
        query = query.order_by("__name__", direction="DESCENDING")
        if wanted.states:
            query = query.where(filter=FieldFilter("state", "in", [str(state) for state in wanted.states]))
        whole = wanted.whole()
        for name, text in whole.items():
            query = query.where(filter=FieldFilter(name, "==", text))
        if after is not None:
            query = query.start_after([after.last_seen, self._document(after.id)])
        partly = {"repository": wanted.repository, "member": wanted.member}.items() - whole.items()
        scanned = _SCANNED if any(text for _, text in partly) else limit
        found: list[Remediation] = []
        with _translated():
            for each in query.limit(scanned).stream(timeout=_TIMEOUT):
                record = _records.decode(each.get("record"))
                if wanted.matches(record):
                    found.append(record)
                    if len(found) == limit:
                        break
        return found

    def ids(self) -> Iterator[str]:
        with _translated():
            for each in self._collection.select(["version"]).stream(timeout=_TIMEOUT):
                yield str(each.id)

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        with _translated():
            if remediation is None:
                query = self._client.collection_group(_TRAIL).order_by("at").order_by("__name__")
            else:
                query = self._document(remediation).collection(_TRAIL).order_by("__name__")
            for each in query.stream(timeout=_TIMEOUT):
                yield _trails.decode(each.get("record"))

    def recent(self, limit: int) -> list[TrailRecord]:
        query = self._client.collection_group(_TRAIL).order_by("at", direction="DESCENDING")
        query = query.order_by("__name__", direction="DESCENDING").limit(limit)
        with _translated():
            return [_trails.decode(each.get("record")) for each in query.stream(timeout=_TIMEOUT)]

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
            for each in self._modes.collection(_CHANGES).order_by("__name__").stream(timeout=_TIMEOUT):
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
