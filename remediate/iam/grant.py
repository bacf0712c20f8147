"""The one thing that is ever granted: one member as a reader of one repository."""

from __future__ import annotations

import hashlib

import msgspec

from remediate.iam.member import Member, parse_member
from remediate.iam.repository import Repository

ROLE = "roles/artifactregistry.reader"
"""The one role. A constant on purpose: there is no way to ask for another."""


class Grant(msgspec.Struct, frozen=True):
    """One member as a reader of one repository."""

    repository: Repository
    member: Member

    @property
    def id(self) -> str:
        """The id that this repository and this member always have: `r-` and twelve hexadecimal digits."""
        return "r-" + hashlib.sha256(f"{self.repository}\n{self.member.key}".encode()).hexdigest()[:12]

    @classmethod
    def parse(cls, repository: str, member: str) -> Grant | None:
        """The grant that a repository's resource name and a member's text stand for; None where one is none."""
        place, who = Repository.parse(repository), parse_member(member)
        return cls(place, who) if place is not None and isinstance(who, Member) else None
