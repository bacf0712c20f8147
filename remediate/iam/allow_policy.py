"""Turns an allow policy and a member into the one edit that lets the member read, or takes that away again.

Only the reader role, only an unconditional binding, only ever one member more or less. The caller applies the edit in
place, so that whatever else a policy holds (other roles, conditions, audit configuration, order) stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediate.iam.grant import ROLE
from remediate.iam.member import Member


class Binding(msgspec.Struct, frozen=True):
    """What the arithmetic needs to know of a binding."""

    role: str
    members: tuple[str, ...]
    conditional: bool = False


class AlreadyThere(msgspec.Struct, frozen=True):
    """The member is in an unconditional reader binding; nothing is to be written."""


class AppendTo(msgspec.Struct, frozen=True):
    """Append the member to the binding at this index: the first unconditional reader binding."""

    index: int


class NewBinding(msgspec.Struct, frozen=True):
    """There is no unconditional reader binding yet: append one with this member alone."""


Edit = AlreadyThere | AppendTo | NewBinding


def edit_to_add(bindings: Sequence[Binding], member: Member) -> Edit:
    """The edit that adds the member as a reader. Pure; addresses are compared without regard to case."""
    readers = [index for index, each in enumerate(bindings) if each.role == ROLE and not each.conditional]
    if any(_holds(bindings[index], member) for index in readers):
        return AlreadyThere()
    return AppendTo(readers[0]) if readers else NewBinding()


class BindingChange(msgspec.Struct, frozen=True):
    """The members of the one binding that a grant touches, before (None: there is no such binding yet) and after."""

    before: tuple[str, ...] | None
    after: tuple[str, ...]


def change_by_adding(bindings: Sequence[Binding], member: Member) -> BindingChange:
    """What `edit_to_add` does to the binding, for people to look at before it is done."""
    match edit_to_add(bindings, member):
        case AppendTo(index):
            return BindingChange(bindings[index].members, (*bindings[index].members, member.id))
        case NewBinding():
            return BindingChange(None, (member.id,))
        case AlreadyThere():
            holding = next(each for each in bindings if _holds(each, member))
            return BindingChange(holding.members, holding.members)


class NotThere(msgspec.Struct, frozen=True):
    """The member is in no unconditional reader binding; there is nothing to take away."""


class RemoveFrom(msgspec.Struct, frozen=True):
    """Take the member at this place out of the binding at this index; drop the binding where it was the last one."""

    index: int
    place: int


def edit_to_remove(bindings: Sequence[Binding], member: Member) -> NotThere | RemoveFrom:
    """The edit that takes a reader away, from the first unconditional reader binding that holds the member."""
    for index, binding in enumerate(bindings):
        if binding.role == ROLE and not binding.conditional:
            for place, text in enumerate(binding.members):
                if _key(text) == member.key:
                    return RemoveFrom(index, place)
    return NotThere()


def _holds(binding: Binding, member: Member) -> bool:
    """Whether an unconditional reader binding holds the member."""
    ours = binding.role == ROLE and not binding.conditional
    return ours and any(_key(text) == member.key for text in binding.members)


def _key(text: str) -> str:
    """A policy's member as `Member.key` would compare it; texts that are no members of ours compare as they stand."""
    return text if text.startswith("principal://") else text.casefold()
