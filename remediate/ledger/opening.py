"""Opens the ledger that a URL names: SQLite on one machine, Firestore in the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from remediate.errors import BadInput

if TYPE_CHECKING:
    from remediate.ledger.interface import Ledger

ACCEPTED = "sqlite:///PATH (sqlite:////PATH for an absolute one) or firestore://PROJECT/DATABASE"


def open_ledger(url: str) -> Ledger:
    """The ledger at this URL, created if it does not exist. Raises BadInput if the URL is not valid."""
    scheme, separator, path = url.partition(":///")
    if scheme == "sqlite" and separator and path and path != ":memory:":
        from remediate.ledger.sqlite import SqliteLedger

        return SqliteLedger(Path(path))
    scheme, separator, path = url.partition("://")
    project, slash, database = path.partition("/")
    if scheme == "firestore" and project and slash and database and "/" not in database:
        from remediate.ledger.firestore import FirestoreLedger

        return FirestoreLedger(project, database)
    raise BadInput(f"{url!r} is not a ledger URL; accepted: {ACCEPTED}")
