"""The only kind of grant: one member as a reader of one repository."""

from __future__ import annotations

import hashlib

import msgspec

from remediate.iam.member import Member, parse_member
from remediate.iam.repository import Repository

ROLE = "roles/artifactregistry.reader"
"""The only role. It is a constant on purpose: no setting or rule can choose another."""


class Grant(msgspec.Struct, frozen=True):
    """One member as a reader of one repository."""

    repository: Repository
    member: Member

    @property
    def id(self) -> str:
        """The id, always the same for this repository and member: `r-` and twelve hexadecimal digits."""
        return "r-" + hashlib.sha256(f"{self.repository}\n{self.member.key}".encode()).hexdigest()[:12]

    @classmethod
    def parse(cls, repository: str, member: str) -> Grant | None:
        """The grant of a repository's resource name and a member's text; None if one of them is not valid."""
        place, who = Repository.parse(repository), parse_member(member)
        return cls(place, who) if place is not None and isinstance(who, Member) else None
