"""The embedded ledger: one SQLite file in WAL mode, shared by the threads and processes of one machine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from remediate.errors import BadInput, Conflict, TerminalFault, TransientFault
from remediate.ledger.interface import Filter
from remediate.modes import ModeChange, Modes
from remediate.notify.outbox import Parcel
from remediate.remediation import Remediation, TrailRecord

_BUSY = 10.0  # seconds that a writer waits for another
_MIGRATIONS = (
    """
CREATE TABLE remediations (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL, repository TEXT NOT NULL, member TEXT NOT NULL,
  last_seen TEXT NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX remediations_by_time ON remediations (last_seen, id);
CREATE INDEX remediations_by_state ON remediations (state, last_seen, id);
CREATE INDEX remediations_by_member ON remediations (member, last_seen, id);
CREATE INDEX remediations_by_repository ON remediations (repository, last_seen, id);
CREATE TABLE trail (
  number INTEGER PRIMARY KEY AUTOINCREMENT, remediation TEXT NOT NULL, seq INTEGER NOT NULL, record BLOB NOT NULL,
  UNIQUE (remediation, seq));
CREATE TABLE denials (
  remediation TEXT NOT NULL, denial TEXT NOT NULL, PRIMARY KEY (remediation, denial)) WITHOUT ROWID;
""",
    """
CREATE TABLE modes (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE mode_changes (seq INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE places (name TEXT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY (name, holder)) WITHOUT ROWID;
""",
    """
CREATE TABLE parcels (
  id TEXT PRIMARY KEY, channel TEXT NOT NULL, due TEXT, version INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX parcels_by_due ON parcels (channel, due, id) WHERE due IS NOT NULL;
""",
)
"""What makes each schema out of the one before it; the first out of an empty file."""
SCHEMA = len(_MIGRATIONS)

_records = msgspec.json.Decoder(Remediation)
_trails = msgspec.json.Decoder(TrailRecord)
_modes = msgspec.json.Decoder(Modes)
_changes = msgspec.json.Decoder(ModeChange)
_parcels = msgspec.json.Decoder(Parcel)


class SqliteLedger:
    """A `Ledger` in one file. Raises TransientFault where the file is busy for longer than ten seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._writing() as connection:
                [version] = connection.execute("PRAGMA user_version").fetchone()
                if version > SCHEMA:
                    raise BadInput(f"{path} has schema {version}; this version reads up to {SCHEMA}: use a newer one")
                for script in _MIGRATIONS[version:]:
                    for statement in script.split(";"):
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
        except (OSError, sqlite3.DatabaseError) as error:
            raise BadInput(f"{path} cannot be used as a ledger: {error}") from None

    def get(self, remediation: str) -> Remediation | None:
        row = self._one("SELECT record FROM remediations WHERE id = ?", remediation)
        return _records.decode(row[0]) if row else None

    def named(self, prefix: str) -> list[Remediation]:
        rows = self._all("SELECT record FROM remediations WHERE id >= ? AND id < ? LIMIT 10", prefix, prefix + "\uffff")
        return [_records.decode(row[0]) for row in rows]

    def counted(self, denial_key: str, remediation: str) -> bool:
        query = "SELECT 1 FROM denials WHERE remediation = ? AND denial = ?"
        return self._one(query, remediation, denial_key) is not None

    def commit(
        self,
        record: Remediation,
        *,
        trail: Sequence[TrailRecord] = (),
        denial_key: str | None = None,
        parcels: Sequence[Parcel] = (),
    ) -> None:
        row = (record.version, record.state, record.repository, record.member, record.last_seen)
        blob = msgspec.json.encode(record)
        with self._writing() as connection:
            if record.version == 1:
                new = "INSERT OR IGNORE INTO remediations VALUES (?, ?, ?, ?, ?, ?, ?)"
                done = connection.execute(new, (record.id, *row, blob))
            else:
                change = (
                    "UPDATE remediations SET version = ?, state = ?, repository = ?, member = ?, last_seen = ?,"
                    " record = ? WHERE id = ? AND version = ?"
                )
                done = connection.execute(change, (*row, blob, record.id, record.version - 1))
            if done.rowcount != 1:
                raise Conflict(f"{record.id} was changed by somebody else")
            if denial_key is not None:
                noted = connection.execute("INSERT OR IGNORE INTO denials VALUES (?, ?)", (record.id, denial_key))
                if noted.rowcount != 1:
                    raise Conflict(f"the denial was counted in {record.id} already")
            for each in trail:
                values = (each.remediation, each.seq, msgspec.json.encode(each))
                connection.execute("INSERT INTO trail (remediation, seq, record) VALUES (?, ?, ?)", values)
            _insert(connection, parcels)

    def find(self, wanted: Filter, *, limit: int = 100, after: Remediation | None = None) -> list[Remediation]:
        clauses, values = ["1"], []
        if wanted.states:
            clauses.append(f"state IN ({', '.join('?' * len(wanted.states))})")
            values += list(map(str, wanted.states))
        whole = wanted.whole()
        for column, text in (("repository", wanted.repository), ("member", wanted.member)):
            if text is not None:
                clauses.append(f"{column} = ?" if column in whole else f"instr(lower({column}), lower(?))")
                values.append(text)
        if after is not None:
            clauses.append("(last_seen, id) < (?, ?)")
            values += [after.last_seen, after.id]
        condition = " AND ".join(clauses)
        query = f"SELECT record FROM remediations WHERE {condition} ORDER BY last_seen DESC, id DESC LIMIT ?"  # noqa: S608
        return [_records.decode(row[0]) for row in self._all(query, *values, limit)]

    def ids(self) -> Iterator[str]:
        return (str(row[0]) for row in self._all("SELECT id FROM remediations ORDER BY id"))

    def trail(self, remediation: str | None = None) -> Iterator[TrailRecord]:
        if remediation is None:
            rows = self._all("SELECT record FROM trail ORDER BY number")
        else:
            rows = self._all("SELECT record FROM trail WHERE remediation = ? ORDER BY seq", remediation)
        return (_trails.decode(row[0]) for row in rows)

    def recent(self, limit: int) -> list[TrailRecord]:
        rows = self._all("SELECT record FROM trail ORDER BY number DESC LIMIT ?", limit)
        return [_trails.decode(row[0]) for row in rows]

    def take(self, name: str, limit: int, holder: str) -> bool:
        with self._writing() as connection:
            found = connection.execute("SELECT holder FROM places WHERE name = ?", (name,)).fetchall()
            if (holder,) in found:
                return True
            if len(found) >= limit:
                return False
            connection.execute("INSERT INTO places VALUES (?, ?)", (name, holder))
        return True

    def modes(self) -> Modes:
        row = self._one("SELECT record FROM modes")
        return _modes.decode(row[0]) if row else Modes()

    def switch(self, modes: Modes, change: ModeChange) -> None:
        values = (modes.version, msgspec.json.encode(modes))
        with self._writing() as connection:
            if modes.version == 1:
                done = connection.execute("INSERT OR IGNORE INTO modes VALUES (1, ?, ?)", values)
            else:
                query = "UPDATE modes SET version = ?, record = ? WHERE version = ?"
                done = connection.execute(query, (*values, modes.version - 1))
            if done.rowcount != 1:
                raise Conflict("the mode was switched by somebody else")
            connection.execute("INSERT INTO mode_changes VALUES (?, ?)", (change.seq, msgspec.json.encode(change)))

    def mode_changes(self) -> Iterator[ModeChange]:
        return (_changes.decode(row[0]) for row in self._all("SELECT record FROM mode_changes ORDER BY seq"))

    def enqueue(self, parcels: Sequence[Parcel]) -> None:
        with self._writing() as connection:
            _insert(connection, parcels)

    def waiting(self, channel: str, now: str, limit: int) -> list[Parcel]:
        query = "SELECT record FROM parcels WHERE channel = ? AND due <= ? ORDER BY due, id LIMIT ?"
        return [_parcels.decode(row[0]) for row in self._all(query, channel, now, limit)]

    def mark(self, parcel: Parcel) -> None:
        values = (parcel.due, parcel.version, msgspec.json.encode(parcel), parcel.id, parcel.version - 1)
        query = "UPDATE parcels SET due = ?, version = ?, record = ? WHERE id = ? AND version = ?"
        with self._writing() as connection:
            if connection.execute(query, values).rowcount != 1:
                raise Conflict(f"{parcel.id} was taken by somebody else")

    def _connection(self) -> sqlite3.Connection:
        """One connection a thread; SQLite takes care of the rest."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a grant that was recorded stays recorded
            self._local.connection = connection
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start, so that it never fails half-way."""
        connection = self._connection()
        with _faults():
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        with _faults():
            connection.execute("COMMIT")

    def _one(self, query: str, *values: object) -> tuple[bytes, ...] | None:
        with _faults():
            row: tuple[bytes, ...] | None = self._connection().execute(query, values).fetchone()
        return row

    def _all(self, query: str, *values: object) -> list[tuple[bytes, ...]]:
        with _faults():
            return self._connection().execute(query, values).fetchall()


def _insert(connection: sqlite3.Connection, parcels: Sequence[Parcel]) -> None:
    rows = [(each.id, each.channel, each.due, each.version, msgspec.json.encode(each)) for each in parcels]
    connection.executemany("INSERT OR IGNORE INTO parcels VALUES (?, ?, ?, ?, ?)", rows)


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise TransientFault(f"the ledger could not answer: {error}") from error
    except sqlite3.DatabaseError as error:
        raise TerminalFault(f"the ledger is damaged: {error}") from error
