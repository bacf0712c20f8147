"""Reads a ledger's schema without opening the ledger, which would create or migrate it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from remediate.cloud.rest import get
from remediate.decoding import decode_json
from remediate.doctor.snapshot import LedgerFacts
from remediate.errors import Missing, TerminalFault, TransientFault

_GOOGLE = "https://firestore.googleapis.com"


class _SchemaNumber(msgspec.Struct, rename="camel"):
    integer_value: str = "0"


class _SchemaFields(msgspec.Struct):
    version: _SchemaNumber = msgspec.field(default_factory=_SchemaNumber)


class _SchemaDocument(msgspec.Struct):
    fields: _SchemaFields = msgspec.field(default_factory=_SchemaFields)


def probe(url: str, endpoints: Mapping[str, str], timeout: float) -> LedgerFacts:
    """The schema of the ledger at this URL, or in `fault` why it could not be read."""
    if url.startswith("sqlite:///"):
        return _file(url)
    from remediate.ledger.firestore import SCHEMA

    project, _, database = url.removeprefix("firestore://").partition("/")
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    address = f"http://{emulator}" if emulator else endpoints.get("FIRESTORE", _GOOGLE)
    document = f"{address}/v1/projects/{project}/databases/{quote(database)}/documents/settings/schema"
    try:
        found = decode_json(get(document, timeout, "settings/schema"), _SchemaDocument)
        return LedgerFacts(url, int(found.fields.version.integer_value), SCHEMA)
    except Missing:
        return LedgerFacts(url, None, SCHEMA)
    except TerminalFault as fault:
        return LedgerFacts(url, None, SCHEMA, str(fault), refused=True)
    except (TransientFault, msgspec.MsgspecError, ValueError) as error:
        return LedgerFacts(url, None, SCHEMA, str(error))


def _file(url: str) -> LedgerFacts:
    from remediate.ledger.schema import SCHEMA

    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return LedgerFacts(url, None, SCHEMA, "" if _can_create(path) else f"{path} cannot be created")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)
        try:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return LedgerFacts(url, None, SCHEMA, str(error))
    return LedgerFacts(url, int(version), SCHEMA)


def _can_create(path: Path) -> bool:
    """The nearest existing folder above is writable."""
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)
