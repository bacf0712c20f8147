"""What each call to Firestore needs: a time limit, how a document is read, and the faults that its errors become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from remediate.errors import Conflict, LedgerFault, TransientFault

if TYPE_CHECKING:
    from google.cloud.firestore import CollectionReference, DocumentReference, DocumentSnapshot, Query

TIMEOUT = 10.0  # seconds per call


def field(document: DocumentSnapshot[DocumentReference], name: str) -> object:
    """The field with this name; None if there is none, where Google's `get` raises KeyError."""
    return (document.to_dict() or {}).get(name)


def row(document: DocumentSnapshot[DocumentReference]) -> tuple[object, str]:
    """The stored record of a document, and the id of its remediation, switch or notice."""
    path = str(document.reference.path).split("/")
    return field(document, "record"), path[1] if path[0] == "remediations" else path[-1]


def streamed(query: Query | CollectionReference) -> Iterator[DocumentSnapshot[DocumentReference]]:
    """The documents of a query. The client's default retry fails with an AttributeError when a stream breaks off.

    A query has no precondition, so FailedPrecondition means a missing index ("Query requires an index", Firestore).
    """
    from google.api_core.exceptions import FailedPrecondition, ServiceUnavailable
    from google.api_core.retry import Retry, if_exception_type

    retry = Retry(predicate=if_exception_type(ServiceUnavailable), timeout=TIMEOUT)
    try:
        yield from query.stream(timeout=TIMEOUT, retry=retry)
    except FailedPrecondition as error:
        advice = "deploy/installation.yaml lists the indexes. A new index needs some minutes until it is ready."
        raise LedgerFault(f"the ledger refused: {error.message}", advice=advice) from error


@contextmanager
def translated() -> Iterator[None]:
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
