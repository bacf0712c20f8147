"""Adding a reader is one edit: a member appended to the one unconditional reader binding, or nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remediate.iam.allow_policy import (
    AlreadyThere,
    AppendTo,
    Binding,
    BindingChange,
    NewBinding,
    RemoveFrom,
    change_by_adding,
    edit_to_add,
    edit_to_remove,
)
from remediate.iam.grant import ROLE
from remediate.iam.member import Member

ANA = Member("user:ana@example.com")
members = st.lists(
    st.sampled_from(["user:ana@example.com", "user:Bo@example.com", "allUsers", "group:g@x.y"]), max_size=4
)
bindings = st.lists(
    st.builds(Binding, st.sampled_from([ROLE, "roles/owner", f"{ROLE}_withcond_1"]), members.map(tuple), st.booleans()),
    max_size=5,
)


def test_a_first_reader_gets_a_binding_of_their_own() -> None:
    assert edit_to_add([Binding("roles/owner", (ANA.id,))], ANA) == NewBinding()


def test_a_conditional_binding_is_never_touched_and_never_counts() -> None:
    assert edit_to_add([Binding(ROLE, (ANA.id,), conditional=True)], ANA) == NewBinding()


def test_a_member_is_there_in_whatever_case_the_address_is_written() -> None:
    assert edit_to_add([Binding(ROLE, ("user:ANA@Example.com",))], ANA) == AlreadyThere()


def test_federated_subjects_that_differ_in_case_are_two_members() -> None:
    pool = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/"
    assert edit_to_add([Binding(ROLE, (pool + "ANA",))], Member(pool + "ana")) == AppendTo(0)
    assert edit_to_add([Binding(ROLE, (pool + "ana",))], Member(pool + "ana")) == AlreadyThere()


def test_the_change_shows_the_reader_binding_and_no_other_that_holds_the_member() -> None:
    other, readers = Binding("roles/owner", (ANA.id, "user:x@y.zz")), Binding(ROLE, ("user:b@y.zz", ANA.id))
    assert change_by_adding([other, readers], ANA) == BindingChange(readers.members, readers.members)
    assert change_by_adding([other], ANA) == BindingChange(None, (ANA.id,))
    assert change_by_adding([Binding(ROLE, ("user:b@y.zz",))], ANA) == BindingChange(("user:b@y.zz",), readers.members)


@given(bindings)
def test_the_edit_names_the_first_unconditional_reader_binding_or_none_at_all(policy: list[Binding]) -> None:
    readers = [index for index, each in enumerate(policy) if each.role == ROLE and not each.conditional]
    there = any(ANA.id in policy[index].members for index in readers)
    match edit_to_add(policy, ANA):
        case AlreadyThere():
            assert there
        case AppendTo(index):
            assert not there
            assert index == readers[0]
        case NewBinding():
            assert not readers


@given(bindings)
def test_what_was_added_is_what_is_taken_away(policy: list[Binding]) -> None:
    removal = edit_to_remove(policy, ANA)
    held = [i for i, each in enumerate(policy) if each.role == ROLE and not each.conditional and ANA.id in each.members]
    if isinstance(removal, RemoveFrom):
        assert removal.index == held[0]
        assert policy[removal.index].members[removal.place] == ANA.id
    else:
        assert not held
