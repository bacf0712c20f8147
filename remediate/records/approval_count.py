"""Turns the approvals of a proposal into a count: which of them still hold, how many it takes, and who is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from remediate.iam.member import Member


class Approval(msgspec.Struct, frozen=True, rename={"max_duration": "lasts"}):
    """One reviewer's approval, kept until enough of them are there; `at` is RFC 3339 in UTC."""

    actor: str
    """The reviewer as a member: `user:ana@example.com`."""
    at: str
    content: str
    """The content digest that was approved. An approval of another content does not count."""
    of: int
    """How many approvals it took when this one was given."""
    max_duration: float | None = None
    """Seconds that this reviewer lets the grant last; None: for good."""
    not_mine: bool = False
    """Whether the reviewer declared that the deploy was not theirs."""


def valid(
    approvals: Sequence[Approval], content: str, own: str, may_still: Callable[[str], bool]
) -> tuple[Approval, ...]:
    """The approvals of this content by other people than `own` (a member) who may still review."""
    others = [each for each in approvals if key(each.actor) != key(own)]
    return tuple(each for each in others if each.content == content and may_still(each.actor))


def same(one: Sequence[Approval], other: Sequence[Approval]) -> bool:
    """Whether both hold the same words; when they were said does not matter."""
    return {msgspec.structs.replace(each, at="") for each in one} == {
        msgspec.structs.replace(each, at="") for each in other
    }


def people(approvals: Sequence[Approval]) -> int:
    """How many different people approved."""
    return len({key(each.actor) for each in approvals})


def shortest(approvals: Sequence[Approval]) -> timedelta | None:
    """The shortest duration that any of them named; None where each said "for good"."""
    named = [each.max_duration for each in approvals if each.max_duration is not None]
    return timedelta(seconds=min(named)) if named else None


def told(approvals: Sequence[Approval]) -> str:
    """How far a proposal is: `1 of 2 approvals: ana@example.com approved; a second reviewer has to`; empty where
    there is no approval that waits for another."""
    if not approvals:
        return ""
    needed, given = max(each.of for each in approvals), people(approvals)
    if given >= needed:
        return ""
    names = " and ".join(dict.fromkeys(each.actor.partition(":")[2] for each in approvals))
    missing = "a second reviewer has to" if needed - given == 1 and given == 1 else f"{needed - given} more have to"
    return f"{given} of {needed} approvals: {names} approved; {missing}"


def key(member: str) -> str:
    """What two spellings of one reviewer have in common."""
    return Member(member).key
