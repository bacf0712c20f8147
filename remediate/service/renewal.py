"""Renews grants of the built-in rule that expire soon, if their members deployed again since the grant.

A grant is renewed only if the built-in rule made it and would make it again, and if a newer deploy proves its use.
Grants that a person or a rule of a policy file approved expire as approved. A renewal changes no policy: it moves the
expiry, with one trail record. Without the proof, the grant expires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from remediate.decisions.policy import Decision
from remediate.entries.earlier_deploys import EarlierDeploy
from remediate.errors import BadInput, LedgerFault, TerminalFault, TransientFault
from remediate.iam.member import Member
from remediate.ledger.checked import checked_trail
from remediate.ledger.interface import Ledger
from remediate.records.lifecycle import transition
from remediate.records.remediation import RULE, Remediation, TrailRecord
from remediate.records.results import Swept
from remediate.records.states import State
from remediate.service.approvals import require_record
from remediate.service.decider import Decider
from remediate.service.executor import Executor
from remediate.service.history import History
from remediate.times import parse_time, to_rfc3339

WINDOW = timedelta(days=14)
"""How long before its expiry a grant may be renewed; a quarter of its duration, if that is less."""
_MOST_LOOKED_UP = 15  # repositories per sweep: each needs up to three log calls, and a minute has 50
_MOST_MEMBERS = 50  # members in one search
_MOST_CHARACTERS = 8_000  # of their names: a filter has at most 20,000
_SWEEPS_APART = 3600.0  # seconds, usually


class Renewal:
    """The renewals of one sweep: offered records are looked up together, with one query per repository."""

    def __init__(
        self, ledger: Ledger, decider: Decider, executor: Executor, history: History, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self._executor = executor
        self._history = history
        self._now = clock
        self._offered: list[Remediation] = []

    def offer(self, record: Remediation) -> None:
        """Keep a record for renewal, if it is a grant by a rule that expires soon."""
        if ends_soon(record, self._now()):
            self._offered.append(record)

    def carry_out(self) -> Iterator[Swept]:
        """Renew the offered records; yields each renewed one, and one per repository whose look-up failed.

        A sweep handles a limited number of repositories; the next sweep continues with the others.
        """
        asked = _asked_together(
            sorted(self._offered, key=lambda record: (record.repository, record.lifecycle.expires, record.id))
        )
        self._offered = []
        turn = int(self._now().timestamp() // _SWEEPS_APART) * _MOST_LOOKED_UP % len(asked) if asked else 0
        for records in (asked[turn:] + asked[:turn])[:_MOST_LOOKED_UP]:
            try:
                yield from self._renewed(records)
            except (TerminalFault, TransientFault, BadInput, LedgerFault) as fault:
                what, is_refused = f"cannot tell whether to renew it: {fault}", isinstance(fault, TerminalFault)
                yield Swept(records[0], records[0].state, what, records[0].id, is_refused)

    def _renewed(self, records: Sequence[Remediation]) -> Iterator[Swept]:
        due: dict[str, tuple[Remediation, datetime]] = {}
        for record in records:
            steps, broken = checked_trail(self._ledger, record.id)
            if broken:
                yield Swept(record, record.state, f"not renewed, because its trail is broken: {broken}", record.id)
                continue
            since = self._since(record, steps)
            if since is not None and self._decider.may_renew(record):
                due[Member(record.member).key] = (record, since)
        for deploy in self._newer(list(due.values())) if due else ():
            record, _ = due[deploy.member.key]
            decision = self._decider.renewed(record)
            if decision is None or decision.expires_after is None:
                continue
            until = self._now() + timedelta(seconds=decision.expires_after)
            done = self._executor.retry_on_conflict(partial(self._put_off, record, decision, deploy, until))
            if done is not None:
                yield Swept(done, State.GRANTED)

    def _since(self, record: Remediation, steps: Sequence[TrailRecord]) -> datetime | None:
        """The time of the grant or its last renewal; None if the built-in rule did not make the grant."""
        approved: TrailRecord | None = None
        since: datetime | None = None
        for step in steps:
            if step.after is State.APPROVED:
                approved = step
            if step.after is State.GRANTED:
                since = parse_time(step.at)
        ours = (
            approved is not None
            and approved.actor == record.lifecycle.approver
            and approved.policy == self._decider.built_in()
        )
        return since if ours else None

    def _newer(self, due: Sequence[tuple[Remediation, datetime]]) -> list[EarlierDeploy]:
        """The proven deploys that are newer than the grant of their member, if the member lost no access since."""
        repository = due[0][0].grant.repository
        place = self._history.place(repository)
        if place is None:
            return []
        since = {Member(record.member).key: granted for record, granted in due}
        members = [record.grant.member for record, _ in due]
        project = place.repositories[0].project
        found = self._history.deploys(project, place, members, min(since.values()), self._now())
        newer = [deploy for key, deploy in found.items() if deploy.at > since[key]]
        return self._history.keep_access(repository, newer)

    def _put_off(
        self, record: Remediation, decision: Decision, deploy: EarlierDeploy, until: datetime
    ) -> Remediation | None:
        """Renew the grant; None if the grant changed since it was read, so that it is not renewed."""
        current, now = require_record(self._ledger, record.id), self._now()
        changed = (current.state, current.lifecycle) != (State.GRANTED, record.lifecycle)
        if changed or current.lifecycle.ending:
            return None
        if not ends_soon(current, now):
            return None
        return self._executor.commit(*renewed(current, decision, deploy, now=now, until=until))


def ends_soon(record: Remediation, now: datetime) -> bool:
    """Whether a grant by a rule expires soon, so that it may be renewed; False once it has expired."""
    life = record.lifecycle
    if record.state is not State.GRANTED or not (life.added_by_us and life.is_by_rule and life.expires) or life.ending:
        return False
    left, most = parse_time(life.expires) - now, record.terms.max_duration
    duration = timedelta(seconds=most) if most is not None else 4 * WINDOW
    return timedelta(0) < left <= min(WINDOW, duration / 4)


def renewed(
    record: Remediation, decision: Decision, deploy: EarlierDeploy, *, now: datetime, until: datetime
) -> tuple[Remediation, TrailRecord]:
    """The grant with its new expiry, and the trail record; `updated` stays the time of the grant."""
    note = (
        f"renewed until {to_rfc3339(until)}: deployed again at {to_rfc3339(deploy.at)} (log entry {deploy.insert_id})"
    )
    put_off = replace(record, lifecycle=replace(record.lifecycle, expires=to_rfc3339(until)))
    after, step = transition(
        put_off, State.GRANTED, actor=f"{RULE}{decision.rule}", now=now, note=note, decision=decision
    )
    return replace(after, lifecycle=replace(after.lifecycle, updated=record.lifecycle.updated)), step


def _asked_together(records: Sequence[Remediation]) -> list[list[Remediation]]:
    """The sorted records, grouped by repository, with at most as many per group as one query may name."""
    found: list[list[Remediation]] = []
    size = 0
    for record in records:
        last = found[-1] if found else []
        size += len(record.member)
        if not last or last[0].repository != record.repository or len(last) == _MOST_MEMBERS or size > _MOST_CHARACTERS:
            found.append([])
            size = len(record.member)
        found[-1].append(record)
    return found
