"""Turns the word of one person, or of two, into a switch of the mode, or into a policy text whose rules may grant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from remediate.execution import Executor
from remediate.ledger.interface import Ledger
from remediate.modes import ModeChange, Modes, policy_confirmed, switched
from remediate.policy import Mode
from remediate.reviewers import Reviewers


class Switching:
    """The switches of one ledger. Raises as `Remediator.approve` does."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        reviewers: Reviewers,
        clock: Callable[[], datetime],
        told: Callable[[ModeChange], None],
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._reviewers = reviewers
        self._now = clock
        self._told = told

    def switch(self, scope: str, mode: Mode | None, *, actor: str, note: str) -> Modes:
        """Set (None: clear) the mode of a scope, or ask for it where that takes a second person."""
        person, alone = self._reviewers.switcher(actor)

        def change(modes: Modes) -> tuple[Modes, ModeChange] | None:
            if modes.switches.get(scope) == mode:
                return None
            return switched(modes, scope, mode, actor=person.id, now=self._now(), note=note, alone=alone)

        return self._change(change)

    def confirm_policy(self, digest: str, *, actor: str, note: str) -> Modes:
        """Let the rules of the policy text with this digest grant, or ask for that."""
        person, alone = self._reviewers.switcher(actor)

        def change(modes: Modes) -> tuple[Modes, ModeChange] | None:
            if modes.policy == digest:
                return None
            return policy_confirmed(modes, digest, actor=person.id, now=self._now(), note=note, alone=alone)

        return self._change(change)

    def _change(self, change: Callable[[Modes], tuple[Modes, ModeChange] | None]) -> Modes:
        def step() -> Modes:
            modes = self._ledger.modes()
            found = change(modes)
            if found is None:
                return modes
            self._ledger.switch(*found)
            self._told(found[1])
            return found[0]

        return self._executor.redone(step)
