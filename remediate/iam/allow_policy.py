"""Computes the one edit of an allow policy that makes a member a reader, or removes the member again.

An edit changes only an unconditional binding of the reader role, by exactly one member. The caller applies it in place,
so everything else in the policy (other roles, conditions, audit configuration, order) is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remediate.iam.grant import ROLE
from remediate.iam.member import Member


class Binding(msgspec.Struct, frozen=True):
    """The parts of a binding that an edit needs."""

    role: str
    members: tuple[str, ...]
    conditional: bool = False


class AlreadyThere(msgspec.Struct, frozen=True):
    """The member is already in an unconditional reader binding, so there is nothing to write."""


class AppendTo(msgspec.Struct, frozen=True):
    """Append the member to the binding at this index: the first unconditional reader binding."""

    index: int


class NewBinding(msgspec.Struct, frozen=True):
    """There is no unconditional reader binding yet: append one with only this member."""


Edit = AlreadyThere | AppendTo | NewBinding


def edit_to_add(bindings: Sequence[Binding], member: Member) -> Edit:
    """The edit that adds the member as a reader. Pure; addresses are compared without regard to case."""
    readers = [index for index, each in enumerate(bindings) if each.role == ROLE and not each.conditional]
    if any(_holds(bindings[index], member) for index in readers):
        return AlreadyThere()
    return AppendTo(readers[0]) if readers else NewBinding()


class BindingChange(msgspec.Struct, frozen=True):
    """The members of the one binding that a grant changes, before (None: no such binding yet) and after."""

    before: tuple[str, ...] | None
    after: tuple[str, ...]


def change_by_adding(bindings: Sequence[Binding], member: Member) -> BindingChange:
    """What `edit_to_add` changes, for a reviewer to see before it is applied."""
    match edit_to_add(bindings, member):
        case AppendTo(index):
            return BindingChange(bindings[index].members, (*bindings[index].members, member.id))
        case NewBinding():
            return BindingChange(None, (member.id,))
        case AlreadyThere():
            holding = next(each for each in bindings if _holds(each, member))
            return BindingChange(holding.members, holding.members)


class NotThere(msgspec.Struct, frozen=True):
    """The member is in no unconditional reader binding, so there is nothing to remove."""


class RemoveFrom(msgspec.Struct, frozen=True):
    """Remove the member at this place from the binding at this index. Remove the binding if it is then empty."""

    index: int
    place: int


def edit_to_remove(bindings: Sequence[Binding], member: Member) -> NotThere | RemoveFrom:
    """The edit that removes a reader from the first unconditional reader binding with the member."""
    for index, binding in enumerate(bindings):
        if binding.role == ROLE and not binding.conditional:
            for place, text in enumerate(binding.members):
                if _key(text) == member.key:
                    return RemoveFrom(index, place)
    return NotThere()


def _holds(binding: Binding, member: Member) -> bool:
    """Whether this is an unconditional reader binding with the member."""
    ours = binding.role == ROLE and not binding.conditional
    return ours and any(_key(text) == member.key for text in binding.members)


def _key(text: str) -> str:
    """The key of a policy's member, comparable to `Member.key`. Other texts are compared ignoring case."""
    return text if text.startswith("principal://") else text.casefold()
