"""The embedded ledger: one SQLite file in WAL mode, shared by the threads and processes of one machine."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from remediate.errors import BadInput, Conflict, LedgerFault, TransientFault
from remediate.ledger import codec as stored
from remediate.ledger.interface import (
    Cursor,
    Filter,
    Page,
    TrailFilter,
    TrailPage,
    ends,
    filed,
    with_next_version,
    words,
)
from remediate.ledger.schema import MIGRATIONS, SCHEMA
from remediate.records.modes import ModeChange, Modes
from remediate.records.outbox import OutboxMessage
from remediate.records.remediation import Remediation, TrailRecord
from remediate.records.states import State

_BUSY = 10.0  # seconds that a writer waits for another

_MOST_FAULTS = 20  # that SQLite's integrity check reports
_CURE = "`remediate trail verify` shows the damage. Restore the file from a backup."

_FILED = ("version", "state", "repository", "member", "last_seen", "updated", "gathered", "ends")


class SqliteLedger:
    """A `Ledger` in one file. Raises TransientFault if another writer holds the file for more than ten seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path.parent):
                self._connection()
                with self._writing() as connection:
                    self._migrate(connection)
        except (OSError, sqlite3.DatabaseError) as error:
            raise BadInput(f"{path} cannot be used as a ledger: {error}") from None
        except UnicodeDecodeError:  # SQLite's error quotes the damaged name
            raise BadInput(f"{path} cannot be used as a ledger: its schema is damaged") from None

    def _migrate(self, connection: sqlite3.Connection) -> None:
        try:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise BadInput(
                    f"{self._path} has schema {version}; this version reads up to {SCHEMA}: upgrade remediate"
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.DatabaseError as error:
            raise BadInput(f"{self._path} cannot be migrated to schema {SCHEMA}: {error}") from None

    def get(self, remediation: str) -> Remediation | None:
        row = self._one("SELECT record FROM remediations WHERE id = ?", remediation)
        return stored.remediation(row[0], remediation) if row else None

    def by_id_prefix(self, prefix: str) -> list[Remediation]:
        query = "SELECT id, record FROM remediations WHERE id >= ? AND id < ? LIMIT 10"
        rows = self._all(query, prefix, prefix + "\uffff")
        return [stored.remediation(row[1], row[0]) for row in rows]

    def is_counted(self, denial_key: str, remediation: str) -> bool:
        query = "SELECT 1 FROM denials WHERE remediation = ? AND denial = ?"
        return self._one(query, remediation, denial_key) is not None

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[OutboxMessage] = (),
    ) -> Remediation:
        read, record = record.storage.version, with_next_version(record)
        seen = (record.tally.last_seen, record.lifecycle.updated, record.tally.gathered, ends(record), words(record))
        row = (record.storage.version, record.state, record.repository, record.member, *seen)
        blob = stored.encode(record)
        with self._writing() as connection:
            if read == 0:
                new = (
                    "INSERT OR IGNORE INTO remediations"
                    " (id, version, state, repository, member, last_seen, updated, gathered, ends, words,"
                    " record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                )
                done = connection.execute(new, (record.id, *row, blob))
            else:
                change = (
                    "UPDATE remediations SET version = ?, state = ?, repository = ?, member = ?, last_seen = ?,"
                    " updated = ?, gathered = ?, ends = ?, words = ?, record = ? WHERE id = ? AND version = ?"
                )
                done = connection.execute(change, (*row, blob, record.id, read))
            if done.rowcount != 1:
                raise Conflict(f"another process changed {record.id} first")
            if denial_key is not None:
                noted = connection.execute("INSERT OR IGNORE INTO denials VALUES (?, ?)", (record.id, denial_key))
                if noted.rowcount != 1:
                    raise Conflict(f"{record.id} has already counted the denial")
            for each in trail:
                values = (each.remediation, each.seq, msgspec.json.encode(each))
                connection.execute("INSERT INTO trail (remediation, seq, record) VALUES (?, ?, ?)", values)
            _insert(connection, parcels)
        return record

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        return self.page(wanted, limit=limit, after=Cursor(after.tally.last_seen, after.id) if after else None).whole()

    def page(
        self, wanted: Filter, *, limit: int = 100, after: Cursor | None = None, longest_waiting: bool = False
    ) -> Page:
        clauses, values = ["1"], list[str]()
        if wanted.states:
            # An index begins with the state. With several states, SQLite would read all rows of each and sort them.
            clauses.append(_among("state" if len(wanted.states) == 1 else "+state", len(wanted.states)))
            values += wanted.states
        grouped = {} if wanted.gathered is None else {"gathered": wanted.gathered}
        for column, text in (wanted.whole() | grouped).items():
            clauses.append(f"{column} = ?")
            values.append(text)
        for operator, time in ((">=", wanted.since), ("<", wanted.until)):
            if time:
                clauses.append(f"last_seen {operator} ?")
                values.append(time)
        for part in wanted.parts():
            clauses.append("words LIKE ? ESCAPE '\\'")
            values.append(_pattern(part))
        column, beyond, way = ("updated", ">", "ASC") if longest_waiting else ("last_seen", "<", "DESC")
        if after is not None:
            clauses.append(f"({column}, id) {beyond} (?, ?)")
            values += [after.at, after.id]
        condition = " AND ".join(clauses)
        # The index alone has the ids and the words; reading the words from the rows takes twenty times as long.
        query = f"SELECT id FROM remediations WHERE {condition} ORDER BY {column} {way}, id {way}"  # noqa: S608
        one = "SELECT record, id FROM remediations WHERE id = ?"
        rows = (row for found in self._each(query, *values) if (row := self._one(one, *found)))
        got = stored.gather(rows, stored.remediation, wanted.matches, limit)
        return Page(got.found, got.more, damaged=got.damaged)

    def counts(self, states: Sequence[State] = tuple(State), *, most: int | None = None) -> Mapping[State, int]:
        query = "SELECT count(*) FROM (SELECT 1 FROM remediations WHERE state = ? LIMIT ?)"
        limit = -1 if most is None else most + 1
        return {state: int(str(row[0])) for state in states if (row := self._one(query, state, limit))}

    def groups(self, state: State | None, *, limit: int, most: int) -> Mapping[str, int]:
        here, values = ("state = ?", (state,)) if state else ("1", ())
        latest = f"SELECT max(gathered) FROM remediations WHERE {here} AND gathered > '' AND gathered < ?"  # noqa: S608
        count = f"SELECT 1 FROM remediations WHERE {here} AND gathered = ? LIMIT ?"  # noqa: S608
        found, name = dict[str, int](), "\uffff"
        while len(found) < limit and (row := self._one(latest, *values, name)) and row[0]:
            name = str(row[0])
            found[name] = len(self._all(count, *values, name, most + 1))
        return found

    def ids(self, states: Sequence[State] = ()) -> Iterator[str]:
        condition = _among("state", len(states)) if states else "1"
        rows = self._all(f"SELECT id FROM remediations WHERE {condition} ORDER BY id", *states)  # noqa: S608
        return (str(row[0]) for row in rows)

    def due(self, now: str, unanswered_since: str) -> Iterator[str]:
        each = "SELECT id FROM remediations WHERE"
        query = f"{each} state = ? UNION {each} state = ? AND updated <= ? UNION {each} ends <= ?"
        rows = self._all(query, State.APPROVED, State.PROPOSED, unanswered_since, now)
        return (str(row[0]) for row in rows)

    def index_mismatches(self) -> Iterator[str]:
        for row in self._each(f"SELECT id, record, {', '.join(_FILED)} FROM remediations"):  # noqa: S608
            with suppress(LedgerFault):
                record = stored.remediation(row[1], row[0])
                found: tuple[object, ...] = (row[0], *row[2:])
                if (record.id, *(filed(record)[name] for name in _FILED)) != found:
                    yield str(row[0])

    def damage(self) -> Iterator[str]:
        """The result of SQLite's integrity check, and missing tables and indexes."""
        present = {(row[0], row[1]) for row in self._all("SELECT type, name FROM sqlite_master")}
        for kind, name in sorted(_wanted() - present):
            yield f"the {kind} {name} is missing"
        for row in self._each(f"PRAGMA integrity_check({_MOST_FAULTS})"):
            if row[0] != "ok":
                yield " ".join(str(row[0]).split())

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        if remediation is None:
            rows = self._all("SELECT record, remediation FROM trail ORDER BY number")
        else:
            rows = self._all("SELECT record, remediation FROM trail WHERE remediation = ? ORDER BY seq", remediation)
        return (stored.step(*row) for row in rows)

    def steps(self, wanted: TrailFilter, *, limit: int = 100, before: Cursor | None = None) -> TrailPage:
        clauses, values, whole = ["1"], list[str | int](), wanted.whole()
        for text, condition in ((wanted.since, "at >= ?"), (wanted.until, "at < ?"), (wanted.outcome, "outcome = ?")):
            if text:
                clauses.append(condition)
                values.append(text)
        parts = (("actor", wanted.actor), ("repository", wanted.repository), ("member", wanted.member))
        for column, text in parts:
            if text:
                clauses.append(f"{column} = ?" if column in whole else f"{column} LIKE ? ESCAPE '\\'")
                values.append(text if column in whole else _pattern(text))
        if wanted.project:
            clauses.append("(project LIKE ? ESCAPE '\\' OR repository LIKE ? ESCAPE '\\')")
            values += [_pattern(wanted.project)] * 2
        if wanted.states:
            clauses.append(_among("becomes", len(wanted.states)))
            values += wanted.states
        if before is not None:
            clauses.append("(at, remediation, seq) < (?, ?, ?)")
            values += [before.at, before.id, before.seq]
        order = "at DESC, remediation DESC, seq DESC"
        query = f"SELECT record, remediation FROM trail WHERE {' AND '.join(clauses)} ORDER BY {order}"  # noqa: S608
        got = stored.gather(self._each(query, *values), stored.step, wanted.matches, limit)
        return TrailPage(got.found, got.more, damaged=got.damaged)

    def acquire_slot(self, name: str, limit: int, holder: str) -> bool:
        with self._writing() as connection:
            found = connection.execute("SELECT holder FROM places WHERE name = ?", (name,)).fetchall()
            if (holder,) in found:
                return True
            if len(found) >= limit:
                return False
            connection.execute("INSERT INTO places VALUES (?, ?)", (name, holder))
        return True

    def acquire_lease(self, name: str, holder: str, now: str, until: str) -> bool:
        query = (
            "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
            " until = excluded.until WHERE until <= ? OR holder = excluded.holder"
        )
        with self._writing() as connection:
            return connection.execute(query, (name, holder, until, now)).rowcount == 1

    def release_lease(self, name: str, holder: str) -> None:
        with self._writing() as connection:
            connection.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))

    def modes(self) -> Modes:
        row = self._one("SELECT record FROM modes")
        return stored.modes(row[0]) if row else Modes()

    def switch(self, modes: Modes, change: ModeChange) -> None:
        values = (modes.version, msgspec.json.encode(modes))
        with self._writing() as connection:
            if modes.version == 1:
                done = connection.execute("INSERT OR IGNORE INTO modes VALUES (1, ?, ?)", values)
            else:
                query = "UPDATE modes SET version = ?, record = ? WHERE version = ?"
                done = connection.execute(query, (*values, modes.version - 1))
            if done.rowcount != 1:
                raise Conflict("another process switched the mode first")
            connection.execute("INSERT INTO mode_changes VALUES (?, ?)", (change.seq, msgspec.json.encode(change)))

    def mode_changes(self) -> Iterator[ModeChange]:
        return (stored.change(*row) for row in self._all("SELECT record, seq FROM mode_changes ORDER BY seq"))

    def enqueue(self, parcels: Sequence[OutboxMessage]) -> None:
        with self._writing() as connection:
            _insert(connection, parcels)

    def waiting(self, channel: str, now: str, limit: int) -> list[OutboxMessage]:
        query = "SELECT record, id FROM parcels WHERE channel = ? AND due <= ? ORDER BY due, id"
        return stored.gather(self._each(query, channel, now), stored.parcel, lambda _: True, limit).found

    def mark(self, parcel: OutboxMessage) -> None:
        values = (parcel.due, parcel.version, msgspec.json.encode(parcel), parcel.id, parcel.version - 1)
        query = "UPDATE parcels SET due = ?, version = ?, record = ? WHERE id = ? AND version = ?"
        with self._writing() as connection:
            if connection.execute(query, values).rowcount != 1:
                raise Conflict(f"another process took {parcel.id} first")

    def _connection(self) -> sqlite3.Connection:
        """One connection per thread; SQLite coordinates them."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a committed grant survives a power failure
            connection.text_factory = _text
            self._local.connection = connection
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that takes the write lock at its start, so that it cannot fail half-way."""
        with _faults():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # SQLite rolls back by itself if the disk is full or gone
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _one(self, query: str, *values: object) -> tuple[object, ...] | None:
        with _faults():
            row: tuple[object, ...] | None = self._connection().execute(query, values).fetchone()
        return row

    def _each(self, query: str, *values: object) -> Iterator[tuple[object, ...]]:
        """The rows one by one, for a caller that may stop early."""
        with _faults(), closing(self._connection().execute(query, values)) as cursor:
            yield from cursor

    def _all(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with _faults():
            return self._connection().execute(query, values).fetchall()


def _insert(connection: sqlite3.Connection, parcels: Sequence[OutboxMessage]) -> None:
    rows = [(each.id, each.channel, each.due, each.version, msgspec.json.encode(each)) for each in parcels]
    connection.executemany("INSERT OR IGNORE INTO parcels VALUES (?, ?, ?, ?, ?)", rows)


def _among(column: str, count: int) -> str:
    return f"{column} IN ({', '.join('?' * count)})"


def _pattern(part: str) -> str:
    """The LIKE pattern for a part, with the special characters of LIKE escaped."""
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets one process at a time open a ledger here: SQLite does not wait while another process turns on the WAL."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _wanted() -> set[tuple[object, object]]:
    """The tables and indexes that the migrations create, by kind and name."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for script in MIGRATIONS:
            connection.executescript(script)
        return set(connection.execute("SELECT type, name FROM sqlite_master").fetchall())


def _text(stored: bytes) -> str:
    """The text. Bytes that are not UTF-8 are damaged: they are replaced, so that all other rows stay readable."""
    return stored.decode(errors="replace")


@contextmanager
def _faults() -> Iterator[None]:
    """Translates SQLite's errors. A missing table or malformed JSON is permanent; a full disk may be temporary."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF != sqlite3.SQLITE_ERROR:
            raise TransientFault(f"the ledger did not answer: {error}") from error
        raise LedgerFault(f"the ledger is damaged: {error}", advice=_CURE) from error
    except sqlite3.DatabaseError as error:
        raise LedgerFault(f"the ledger is damaged: {error}", advice=_CURE) from error
    except UnicodeDecodeError as error:  # SQLite's error quotes the damaged name
        raise LedgerFault("the ledger is damaged: its schema is not valid text", advice=_CURE) from error
