"""Sends the parcels that wait in the ledger, off the critical path: a thread a channel, so that none waits for another.

Each is claimed by compare-and-set, sent, and marked. One attempt each; what did not go out is due again later, and
whoever comes by then sends it: this process at its next notice, or `sweep`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from remediate.errors import Conflict, LedgerFault, RemediateError
from remediate.ledger.interface import Ledger
from remediate.notify.interface import Channel, DeliveryFailed
from remediate.notify.report import DeliveryResult
from remediate.reasons import Reason
from remediate.records import outbox
from remediate.records.notice import (
    Notice,
    NoticeContext,
    NoticeKind,
    expiry_reminder,
    for_people,
    rate_limit_notice,
    told,
)
from remediate.records.outbox import OutboxMessage, parcel
from remediate.records.remediation import Remediation, TrailRecord
from remediate.times import instant

_AT_ONCE = 100  # parcels looked at, and at most in one post


class Dispatcher:
    """A Notifier for these channels. `said` hears of every post; `background`: what is stored is sent at once.

    Without `background`, only `deliver` sends: for commands, which end before a thread would.
    """

    def __init__(
        self,
        ledger: Ledger,
        channels: Sequence[Channel],
        terms: NoticeContext,
        clock: Callable[[], datetime],
        said: Callable[[DeliveryResult], None],
        *,
        background: bool,
    ) -> None:
        self._channels = channels
        self._terms = terms
        self._now = clock
        self._said = said
        self._ledger = ledger
        self._lanes = [_Lane(each.name, partial(self._drain, each)) for each in channels] if background else []

    def parcels(
        self,
        record: Remediation,
        trail: Sequence[TrailRecord],
        *,
        brake: Reason | None,
        known: Callable[[str], Remediation | None],
    ) -> Sequence[OutboxMessage]:
        now = self._now()
        held = rate_limit_notice(record, now, self._terms, brake) if brake else None
        notices = [told(record, trail, self._terms, _readable(known)), held]
        return self._parcels(record, [each for each in notices if each], now, brake)

    def reminders(self, record: Remediation) -> Sequence[OutboxMessage]:
        now = self._now()
        notice = expiry_reminder(record, now, self._terms)
        return self._parcels(record, [notice], now) if notice else []

    def _parcels(
        self, record: Remediation, notices: Sequence[Notice], now: datetime, brake: Reason | None = None
    ) -> list[OutboxMessage]:
        """A parcel a notice and channel: machines get each one, and that of a flood beside them."""
        people = for_people(record, notices, now, self._terms, brake)
        machines = list({each.id: each for each in (*notices, *people)}.values())
        return [
            parcel(each, channel.name, now)
            for channel in self._channels
            for each in (people if channel.for_people else machines)
        ]

    def flush(self) -> None:
        for lane in self._lanes:
            lane.flush()

    def deliver(self, seconds: float) -> list[DeliveryResult]:
        """Send what is due, on all channels at once, for no longer than so many seconds; gives what became of it."""
        done: list[DeliveryResult] = []
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._drain, args=(each, done.append, end), daemon=True, name=each.name)
            for each in self._channels
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        for thread in threads:
            if thread.is_alive():
                late = DeliveryResult(thread.name, (), f"{thread.name}: still not done after {seconds:g} seconds")
                self._said(late)
                done.append(late)
        return list(done)

    def _drain(
        self, channel: Channel, heard: Callable[[DeliveryResult], None] = lambda _: None, end: float = float("inf")
    ) -> None:
        """Send what is due on one channel, until nothing is, or the channel is down, or the time is over."""

        def say(sending: DeliveryResult) -> None:
            self._said(sending)
            heard(sending)

        try:
            while time.monotonic() < end and self._sent_some(channel, say, end):
                continue
        except RemediateError as fault:
            say(DeliveryResult(channel.name, (), f"{channel.name}: {fault}"))
        except Exception as error:  # a defect of ours ends no thread, and its text may quote what it failed on
            say(DeliveryResult(channel.name, (), f"{channel.name}: unexpected {type(error).__name__}"))

    def _sent_some(self, channel: Channel, say: Callable[[DeliveryResult], None], end: float) -> bool:
        """Send what is due now; whether there may be more that this channel would take."""
        waiting = self._ledger.waiting(channel.name, instant(self._now()), _AT_ONCE)
        any_sent = False
        if channel.for_people:
            over = [each for each in waiting if self._over(each.notice)]
            any_sent = bool(self._marked([outbox.superseded(each) for each in over]))
            waiting = [each for each in waiting if each not in over]
        posts = [waiting] if len(waiting) >= channel.together else [[each] for each in waiting]
        for number, post in enumerate(posts):
            mine = self._still_mine(self._claimed(post)) if time.monotonic() < end else []
            if mine:
                fault = self._sent(channel, mine, say)
                if fault and fault.down:
                    later = [each for others in posts[number + 1 :] for each in others] if fault.after else []
                    self._marked([outbox.deferred(each, self._now(), fault.after) for each in later])
                    return False
                any_sent = True
        return any_sent

    def _over(self, notice: Notice) -> bool:
        """Whether what a notice tells, or asks for, is not so any more."""
        if notice.kind in (NoticeKind.BRAKE, NoticeKind.GATHERED):
            return False
        try:
            record = self._ledger.get(notice.remediation)
        except LedgerFault:
            return False  # what it tells may be so still, and nobody else tells it
        return record is None or (record.state, record.cycle) != (notice.state, notice.cycle)

    def _claimed(self, waiting: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """Those of them that nobody else claimed first."""
        return self._marked([outbox.leased(each, self._now()) for each in waiting])

    def _still_mine(self, claimed: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """Those whose claim stands: between two requests a process may be frozen for longer than that ("CPU
        allocation", Cloud Run), and somebody else has sent them since."""
        now = instant(self._now())
        return [each for each in claimed if each.due is not None and now < each.due]

    def _sent(
        self, channel: Channel, mine: Sequence[OutboxMessage], say: Callable[[DeliveryResult], None]
    ) -> DeliveryFailed | None:
        """One post, and what became of it said and written down; why it did not arrive."""
        try:
            channel.send([each.notice for each in mine])
        except DeliveryFailed as unsent:
            fault = unsent
        except Exception as error:  # one notice that cannot be sent must not keep the others waiting
            fault = DeliveryFailed(f"{channel.name}: unexpected {type(error).__name__}", down=False)
        else:
            self._marked([outbox.delivered(each, self._now()) for each in mine])
            say(DeliveryResult(channel.name, tuple(each.notice.id for each in mine)))
            return None
        later = [outbox.retry_later(each, self._now(), fault.after) for each in mine]
        self._marked(later)
        for given_up in (True, False):
            if notices := tuple(each.notice.id for each in later if (each.due is None) is given_up):
                say(DeliveryResult(channel.name, notices, str(fault), given_up=given_up))
        return fault

    def _marked(self, parcels: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """Those that could be stored; somebody else was faster with the others."""
        stored = []
        for each in parcels:
            with suppress(Conflict):
                self._ledger.mark(each)
                stored.append(each)
        return stored


def _readable(known: Callable[[str], Remediation | None]) -> Callable[[str], Remediation | None]:
    """The look-up, where a partner that cannot be read is in the way of no step: it is told as if there were none."""

    def look_up(ident: str) -> Remediation | None:
        with suppress(LedgerFault):
            return known(ident)
        return None

    return look_up


class _Lane:
    """One daemon thread that does its work again whenever it was woken since; started by the first waking.

    Not before: the server forks after this module is imported, and a thread does not survive that.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._wanted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def flush(self) -> None:
        self._wanted.set()
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name=f"notify-{self._name}")
                with suppress(RuntimeError):  # no thread to be had: the next notice, or a sweep, sends it
                    self._thread.start()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._work()
