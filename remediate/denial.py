"""Turns an audit log entry into a Denial (who could not read which repository), or says why it is none."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from remediate.image import Repository
from remediate.principal import Member
from remediate.reasons import Reason


class Reader(StrEnum):
    """The two parties that Cloud Run wants to be able to read an image."""

    DEPLOYER = "deployer"
    SERVICE_AGENT = "service_agent"


class Kind(StrEnum):
    """What was deployed."""

    SERVICE = "service"
    JOB = "job"
    WORKER_POOL = "worker_pool"


class Deploy(msgspec.Struct, frozen=True):
    """Where an image was deployed to, as far as the entry tells. `project` is an id, `number` digits."""

    project: str | None = None
    number: str | None = None
    location: str | None = None
    kind: Kind | None = None
    name: str | None = None


class EntryId(msgspec.Struct, frozen=True):
    """What identifies a log entry: Cloud Logging's natural key is log name, insert id and timestamp together."""

    insert_id: str | None = None
    log_name: str | None = None
    timestamp: str | None = None
    """RFC 3339, as the entry has it."""
    split_uid: str | None = None
    """The same in every part of an entry that was too large for one ("Split audit log entries")."""

    @property
    def key(self) -> str | None:
        """The same for every delivery of one entry, and for every part of a split one; None where it has no id."""
        own = self.split_uid or self.insert_id
        return "\n".join((self.log_name or "", own, self.timestamp or "")) if own else None


class Denial(msgspec.Struct, frozen=True):
    """Cloud Run refused a deploy because `reader` (`member`) could not read `repository`. Unknown is None.

    `doubts` says what is missing or contradictory: a denial with doubts is never granted without a person.
    """

    entry: EntryId
    deploy: Deploy
    reader: Reader | None
    member: Member | None
    repository: Repository | None
    image: str | None
    deployer: Member | None = None
    """Who deployed, where that is known; the same as `member` when the deployer was the one denied."""
    doubts: tuple[Reason, ...] = ()


class NotADenial(msgspec.Struct, frozen=True):
    """The entry is nothing that a reader grant cures, and `reason` says what it is instead."""

    entry: EntryId
    deploy: Deploy | None
    reason: Reason
