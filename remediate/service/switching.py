"""Switches the mode, and confirms policy texts, with one person or with two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from remediate.decisions.policy import Mode
from remediate.errors import BadInput, Refused, RemediateError
from remediate.ledger.interface import Ledger
from remediate.records.events import Events
from remediate.records.modes import ModeChange, Modes, lapsed, policy_confirmed, switched
from remediate.records.results import Swept
from remediate.service.executor import ACTOR, Executor
from remediate.service.reviewers import Reviewers


class Switching:
    """The switches of one ledger. Raises as `Remediator.approve` does."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        reviewers: Reviewers,
        clock: Callable[[], datetime],
        events: Events,
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._reviewers = reviewers
        self._now = clock
        self._events = events

    def switch(self, scope: str, mode: Mode | None, *, actor: str, note: str) -> Modes:
        """Set (None: clear) the mode of a scope, or request it if a second person must confirm."""
        person, alone = self._reviewers.switcher(actor)

        def change(modes: Modes) -> tuple[Modes, ModeChange] | None:
            said = {"actor": person.id, "note": note}
            return switched(modes, scope, mode, **said, now=self._now(), alone=alone, counts=self._counts)

        return self._change(change)

    def confirm_policy(self, sha256: str, *, actor: str, note: str) -> Modes:
        """Let the rules of the policy text with this SHA-256 grant, or request that."""
        person, alone = self._reviewers.switcher(actor)

        def change(modes: Modes) -> tuple[Modes, ModeChange] | None:
            said = {"actor": person.id, "note": note}
            return policy_confirmed(modes, sha256, **said, now=self._now(), alone=alone, counts=self._counts)

        return self._change(change)

    def alone(self, actor: str) -> bool:
        """Whether this actor needs no second person; False if they may not switch at all."""
        try:
            return self._reviewers.switcher(actor)[1]
        except (BadInput, Refused):
            return False

    def let_lapse(self) -> Iterator[Swept]:
        """Record the end of each request that was not confirmed within a day; yields a fault that prevents it."""
        try:
            while lapsed(self._ledger.modes(), actor=ACTOR, now=self._now()) is not None:
                self._change(lambda modes: lapsed(modes, actor=ACTOR, now=self._now()))
        except RemediateError as fault:
            yield Swept(None, None, str(fault), "mode")

    def _counts(self, actor: str) -> bool:
        """Whether a request by this actor is still valid: they may no longer be a reviewer."""
        try:
            self._reviewers.switcher(actor)
        except (BadInput, Refused):
            return False
        return True

    def _change(self, change: Callable[[Modes], tuple[Modes, ModeChange] | None]) -> Modes:
        def step() -> Modes:
            modes = self._ledger.modes()
            found = change(modes)
            if found is None:
                return modes
            self._ledger.switch(*found)
            self._events.on_transition(found[1])
            return found[0]

        return self._executor.retry_on_conflict(step)
