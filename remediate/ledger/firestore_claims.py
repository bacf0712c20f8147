"""Places and leases in Firestore, which many processes take at once: one document each, by preconditions alone.

The role of the service deletes nothing, so a lease that is given back stays as a document without an end.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from remediate.errors import Conflict
from remediate.ledger.documents import TIMEOUT, field, streamed, translated

if TYPE_CHECKING:
    from google.cloud.firestore import Client, DocumentReference


def acquire_slot(client: Client, name: str, limit: int, holder: str) -> bool:
    """Each place is one document, and each holder starts at a different place, so that no document is contended.

    If that place is taken, one query returns all taken places: in a flood, it mostly shows that none is free.
    """
    from google.cloud.firestore import FieldFilter

    places = client.collection("places")
    own = int(hashlib.sha256(holder.encode()).hexdigest(), 16)
    group = hashlib.sha256(name.encode()).hexdigest()[:32]
    taken: set[str] = set()
    for _ in range(limit):
        free = (place for step in range(limit) if (place := f"{group}-{(own + step) % limit}") not in taken)
        with suppress(Conflict), translated():
            places.document(next(free)).create({"name": name, "holder": holder}, timeout=TIMEOUT)
            return True
        with translated():
            there = list(streamed(places.where(filter=FieldFilter("name", "==", name)).limit(limit)))
        if any(field(each, "holder") == holder for each in there):
            return True
        taken = {each.id for each in there}
        if len(taken) >= limit:
            return False
    return False


def acquire_lease(client: Client, name: str, holder: str, now: str, until: str) -> bool:
    """Of many that take it at once, one precondition holds. The others, and a lost answer, look who has it."""
    document = _lease(client, name)
    fields = {"holder": holder, "until": until}
    with suppress(Conflict), translated():
        found = document.get(timeout=TIMEOUT)
        if not found.exists:
            document.create(fields, timeout=TIMEOUT)
            return True
        if field(found, "holder") != holder and str(field(found, "until")) > now:
            return False
        document.update(fields, option=client.write_option(last_update_time=found.update_time), timeout=TIMEOUT)
        return True
    with translated():
        return field(document.get(timeout=TIMEOUT), "holder") == holder


def release_lease(client: Client, name: str, holder: str) -> None:
    """Set its end to none, if it is still the holder's."""
    document = _lease(client, name)
    with suppress(Conflict), translated():
        found = document.get(timeout=TIMEOUT)
        if found.exists and field(found, "holder") == holder:
            option = client.write_option(last_update_time=found.update_time)
            document.update({"until": ""}, option=option, timeout=TIMEOUT)


def _lease(client: Client, name: str) -> DocumentReference:
    document: DocumentReference = client.collection("leases").document(name)
    return document
