"""Sends waiting messages from the ledger, in the background (lanes.py) or when a command asks for it.

Each message is leased by compare-and-set, sent once, and marked. A failed one becomes due again later; this process
sends it with its next notice, or `sweep` does.
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
from remediate.notify.lanes import Lanes
from remediate.reasons import Reason
from remediate.records import outbox
from remediate.records.delivery import DeliveryResult
from remediate.records.events import Events
from remediate.records.notice import (
    Notice,
    NoticeContext,
    NoticeKind,
    expiry_reminder,
    for_people,
    notice_for,
    rate_limit_notice,
)
from remediate.records.outbox import OutboxMessage, parcel
from remediate.records.remediation import Remediation, TrailRecord
from remediate.times import to_rfc3339

_AT_ONCE = 100  # messages per read, and at most in one post


class Dispatcher:
    """A Notifier for these channels. `events` gets the result of every post; `background`: send stored messages now.

    Without `background`, only `deliver` sends: commands end before a thread could.
    """

    def __init__(
        self,
        ledger: Ledger,
        channels: Sequence[Channel],
        terms: NoticeContext,
        clock: Callable[[], datetime],
        events: Events,
        *,
        background: bool,
    ) -> None:
        self._channels = channels
        self._terms = terms
        self._now = clock
        self._events = events
        self._ledger = ledger
        self._lanes = Lanes({each.name: partial(self._drain, each) for each in channels if background}, clock)

    def parcels(
        self,
        record: Remediation,
        trail: Sequence[TrailRecord],
        *,
        brake: Reason | None,
        look_up: Callable[[str], Remediation | None],
    ) -> Sequence[OutboxMessage]:
        now = self._now()
        held = rate_limit_notice(record, now, self._terms, brake) if brake else None
        notices = [notice_for(record, trail, self._terms, _readable(look_up)), held]
        return self._parcels(record, [each for each in notices if each], now, brake)

    def reminders(self, record: Remediation) -> Sequence[OutboxMessage]:
        now = self._now()
        notice = expiry_reminder(record, now, self._terms)
        return self._parcels(record, [notice], now) if notice else []

    def _parcels(
        self, record: Remediation, notices: Sequence[Notice], now: datetime, brake: Reason | None = None
    ) -> list[OutboxMessage]:
        """One message per notice and channel: programs get every notice, also the one of a flood."""
        people = for_people(record, notices, now, self._terms, brake)
        machines = list({each.id: each for each in (*notices, *people)}.values())
        return [
            parcel(each, channel.name, now)
            for channel in self._channels
            for each in (people if channel.for_people else machines)
        ]

    def flush(self) -> None:
        self._lanes.flush()

    def wait_until_sent(self) -> None:
        """Wait for a short time until the stored notices are sent, because a thread may stop with the answer."""
        self._lanes.wait()

    def deliver(self, seconds: float) -> list[DeliveryResult]:
        """Send what is due on all channels in parallel, for at most so many seconds; return the results."""
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
                late = DeliveryResult(thread.name, (), f"{thread.name}: not finished after {seconds:g} seconds")
                self._events.on_delivery(late)
                done.append(late)
        return list(done)

    def _drain(
        self, channel: Channel, heard: Callable[[DeliveryResult], None] = lambda _: None, end: float = float("inf")
    ) -> None:
        """Send what is due on one channel, until nothing is left, the channel is down, or the time is over."""

        def say(sending: DeliveryResult) -> None:
            self._events.on_delivery(sending)
            heard(sending)

        try:
            while time.monotonic() < end and self._sent_some(channel, say, end):
                continue
        except RemediateError as fault:
            say(DeliveryResult(channel.name, (), f"{channel.name}: {fault}"))
        except Exception as error:  # a bug must not end the thread, and its text may quote data
            say(DeliveryResult(channel.name, (), f"{channel.name}: unexpected {type(error).__name__}"))

    def _sent_some(self, channel: Channel, say: Callable[[DeliveryResult], None], end: float) -> bool:
        """Send what is due now; return whether more may be due and the channel is up."""
        waiting = self._ledger.waiting(channel.name, to_rfc3339(self._now()), _AT_ONCE)
        any_sent = False
        if channel.for_people:
            over = [each for each in waiting if self._over(each.notice)]
            any_sent = bool(self._marked([outbox.superseded(each) for each in over]))
            waiting = [each for each in waiting if each not in over]
        posts = [waiting] if len(waiting) >= channel.digest_threshold else [[each] for each in waiting]
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
        """Whether a notice is no longer current."""
        if notice.kind in (NoticeKind.BRAKE, NoticeKind.GATHERED):
            return False
        try:
            record = self._ledger.get(notice.remediation)
        except LedgerFault:
            return False  # the notice may still be current
        return record is None or (record.state, record.lifecycle.cycle) != (notice.state, notice.cycle)

    def _claimed(self, waiting: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """Lease the messages; return those that no other process leased first."""
        return self._marked([outbox.leased(each, self._now()) for each in waiting])

    def _still_mine(self, claimed: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """Those whose lease is still valid: Cloud Run can freeze a process between two requests ("CPU allocation") for
        longer than a lease, and another process may have sent them since."""
        now = to_rfc3339(self._now())
        return [each for each in claimed if each.due is not None and now < each.due]

    def _sent(
        self, channel: Channel, mine: Sequence[OutboxMessage], say: Callable[[DeliveryResult], None]
    ) -> DeliveryFailed | None:
        """Make one post, report and store the result; return the fault, if any."""
        try:
            channel.send([each.notice for each in mine])
        except DeliveryFailed as unsent:
            fault = unsent
        except Exception as error:  # one broken notice must not block the others
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
        """Store the messages; return those that no other process stored first."""
        stored = []
        for each in parcels:
            with suppress(Conflict):
                self._ledger.mark(each)
                stored.append(each)
        return stored


def _readable(look_up: Callable[[str], Remediation | None]) -> Callable[[str], Remediation | None]:
    """A look-up that returns None for an unreadable partner, so that it blocks no step."""

    def look_up_if_readable(ident: str) -> Remediation | None:
        with suppress(LedgerFault):
            return look_up(ident)
        return None

    return look_up_if_readable
