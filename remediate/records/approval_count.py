"""Counts the approvals of a proposal: which are still valid, how many are needed, and how many are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from remediate.iam.member import Member, parse_member


class Approval(msgspec.Struct, frozen=True, rename={"max_duration": "lasts"}):
    """The approval of one reviewer, stored until there are enough; `at` is RFC 3339 in UTC."""

    actor: str
    """The reviewer as a member: `user:ana@example.com`."""
    at: str
    content: str
    """The approved content digest. An approval of another content does not count."""
    of: int
    """How many approvals were needed when this one was given."""
    max_duration: float | None = None
    """The longest duration of the grant, in seconds, that this reviewer allows; None: no limit."""
    not_mine: bool = False
    """Whether the reviewer declared that the deploy was not theirs."""


def valid(
    approvals: Sequence[Approval], content: str, own: str, may_still: Callable[[str], bool]
) -> tuple[Approval, ...]:
    """The approvals of this content by people other than `own` (a member) who may still review."""
    others = [each for each in approvals if key(each.actor) != key(own)]
    return tuple(each for each in others if each.content == content and may_still(each.actor))


def same(one: Sequence[Approval], other: Sequence[Approval]) -> bool:
    """Whether both have the same approvals, apart from their times."""
    return {msgspec.structs.replace(each, at="") for each in one} == {
        msgspec.structs.replace(each, at="") for each in other
    }


def people(approvals: Sequence[Approval]) -> int:
    """How many different people approved."""
    return len({key(each.actor) for each in approvals})


def shortest(approvals: Sequence[Approval]) -> timedelta | None:
    """The shortest duration in the approvals; None if none of them has one."""
    named = [each.max_duration for each in approvals if each.max_duration is not None]
    return timedelta(seconds=min(named)) if named else None


def approvals_text(approvals: Sequence[Approval]) -> str:
    """How far a proposal is: `1 of 2 approvals: ana@example.com approved; a second reviewer must approve`. Empty if no
    approval waits for another."""
    if not approvals:
        return ""
    needed, given = max(each.of for each in approvals), people(approvals)
    if given >= needed:
        return ""
    names = " and ".join(dict.fromkeys(each.actor.partition(":")[2] for each in approvals))
    missing = "a second reviewer" if needed - given == 1 and given == 1 else f"{needed - given} more"
    return f"{given} of {needed} approvals: {names} approved; {missing} must approve"


def key(member: str) -> str:
    """The key of a reviewer, the same for every spelling, and for a workforce identity that stands for a person."""
    found = parse_member(member)
    if not isinstance(found, Member):
        return member
    return (found.person or found).key
