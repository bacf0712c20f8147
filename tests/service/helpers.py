"""Helpers of the service's tests: denials, crashes, and sequences of steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from remediate.decisions.policy import Mode, Outcome, Rule
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import Denial
from remediate.errors import TransientFault
from remediate.records.modes import EVERYWHERE, Modes
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.service.reviewers import Reviewers
from tests.audit_entries import DEPLOYER, activity, denial, user_text
from tests.service.world import SAME_IMAGE, World

ANA, BO = "ana@example.com", "bo@example.org"
NOBODY_ALONE = Reviewers()

ASKS = parse_policy("rules:\n- {name: nobody, when: true, then: ask}\n", "policy.yaml")

MEMBER = f"serviceAccount:{DEPLOYER}"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def cross(insert_id: str = "1") -> Denial:
    return denial(activity(insert_id=insert_id))


def same_entry(insert_id: str = "1") -> dict[str, Any]:
    return activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), insert_id=insert_id)


def same(insert_id: str = "1") -> Denial:
    return denial(same_entry(insert_id))


class Crash(Exception):
    """The process dies here."""


class Crashing:
    """Passes every call on, and dies just before or just after the n-th call."""

    def __init__(self, inner: Any, counter: itertools.count[int], at: int, after: bool) -> None:
        self._inner, self._counter, self._at, self._after = inner, counter, at, after

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = next(self._counter)
            if number == self._at and not self._after:
                raise Crash
            result = getattr(self._inner, name)(*args, **kwargs)
            if number == self._at:
                raise Crash
            return result

        return call


def proposed(world: World, insert_id: str = "1") -> Remediation:
    record = world.instance().handle(cross(insert_id)).remediation
    assert record
    return record


def state(world: World, ident: str) -> State:
    record = world.ledger.get(ident)
    assert record
    return record.state


class Registry:
    """The world's registry, with some of its calls replaced."""

    def __init__(self, world: World, **calls: Callable[..., Any]) -> None:
        self._world, self._calls = world, calls

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._world.registry, name)


class Overlaid:
    """A part of the world with some of its calls replaced."""

    def __init__(self, part: Any, **calls: Callable[..., Any]) -> None:
        self._part, self._calls = part, calls

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._part, name)


def crash(*_: Any, **__: Any) -> None:
    raise Crash


def approved_by_a_rule(world: World) -> Remediation:
    """A rule's approval without its policy write."""
    with pytest.raises(Crash):
        world.instance(Mode.ENFORCE, registry=Registry(world, add_reader=crash)).handle(same())
    [record] = world.records().values()
    assert (record.state, record.lifecycle.approver) == (State.APPROVED, "rule:same project")
    return record


def asks(
    world: World, who: str, mode: Mode | None, scope: str = EVERYWHERE, reviewers: Reviewers = NOBODY_ALONE
) -> Modes:
    return world.instance(reviewers=reviewers).switch(scope, mode, actor=who, note=f"{who} says so")


def impersonated(entry: dict[str, Any], *people: str) -> dict[str, Any]:
    """The entry of a call with these impersonating identities."""
    info = entry["protoPayload"]["authenticationInfo"]
    info["serviceAccountDelegationInfo"] = [{"firstPartyPrincipal": {"principalEmail": each}} for each in people]
    return entry


class Wants:
    """Rules that ask for everything, and require this number of approvals."""

    digest = "wants"

    def __init__(self, approvals: int, **more: Any) -> None:
        self.rule = Rule("careful", Outcome.ASK, approvals=approvals, **more)

    def judge(self, variables: Any) -> tuple[Rule, bool]:
        assert variables
        return self.rule, True

    def mentions(self, variable: str) -> bool:
        return not variable


def unavailable(*_: Any, **__: Any) -> None:
    raise TransientFault("setIamPolicy: 503")


def stored(world: World, record: Remediation) -> Remediation:
    found = world.ledger.get(record.id)
    assert found
    return found


def of_rules(text: str) -> Any:
    found = parse_policy(f"rules:\n- {text}\n", "policy.yaml")
    return lambda: found
