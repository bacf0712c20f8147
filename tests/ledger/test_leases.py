"""One holder at a time has a lease; it ends by itself if the holder dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.connection import Connection

import pytest

from remediate.ledger.opening import open_ledger
from remediate.times import to_rfc3339
from tests.ledger.helpers import NOON

NOW, END, LATER = (to_rfc3339(NOON + timedelta(minutes=each)) for each in (0, 10, 20))


def test_a_lease_is_its_holders_until_it_ends_or_is_given_back(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    assert ledger.acquire_lease("due", "ana", NOW, END)
    assert ledger.acquire_lease("due", "ana", NOW, END)
    assert not ledger.acquire_lease("due", "bo", NOW, LATER)
    assert ledger.acquire_lease("sweep", "bo", NOW, END)
    ledger.release_lease("due", "bo")
    assert not ledger.acquire_lease("due", "bo", NOW, LATER)
    ledger.release_lease("due", "ana")
    assert ledger.acquire_lease("due", "bo", NOW, END)
    assert not open_ledger(ledger_url).acquire_lease("due", "ana", NOW, LATER)
    assert open_ledger(ledger_url).acquire_lease("due", "ana", END, LATER)
    ledger.release_lease("due", "bo")
    assert not ledger.acquire_lease("due", "bo", END, LATER)
    ledger.release_lease("never taken", "bo")


@pytest.mark.parametrize("is_new", [True, False])
def test_of_many_who_take_a_lease_at_once_one_has_it(ledger_url: str, is_new: bool) -> None:
    for turn in range(4):
        if not is_new:
            assert open_ledger(ledger_url).acquire_lease(f"due-{turn}", "dead", NOW, END)
        start = threading.Barrier(6)

        def take(number: int, name: str = f"due-{turn}", start: threading.Barrier = start) -> bool:
            ledger = open_ledger(ledger_url)
            ledger.modes()
            start.wait(30)
            return ledger.acquire_lease(name, str(number), END, LATER)

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(take, range(6))) == 1


def _hold(url: str, taken: Connection) -> None:
    taken.send(open_ledger(url).acquire_lease("due", "killed", NOW, END))
    signal.pause()


def test_the_lease_of_a_killed_process_runs_out(ledger_url: str) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(ledger_url, theirs))
    process.start()
    assert ours.poll(60)
    assert ours.recv()
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    ledger = open_ledger(ledger_url)
    assert not ledger.acquire_lease("due", "next", NOW, LATER)
    assert ledger.acquire_lease("due", "next", END, LATER)
