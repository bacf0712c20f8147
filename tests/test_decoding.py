"""Threads that decode into one type for the first time at once. A child process runs them: a fault of it ends one."""

from __future__ import annotations

import subprocess
import sys

ROUNDS = """
import sys, threading
import msgspec
from remediate.decoding import decode_json

def new_type():
    class Inner(msgspec.Struct, frozen=True, rename="camel"):
        one_name: str = ""
    class Middle(msgspec.Struct, frozen=True, rename="camel"):
        an_inner: Inner = Inner()
        by_key: dict[str, Inner] = {}
    class Outer(msgspec.Struct, frozen=True, rename="camel"):
        a_middle: Middle = Middle()
        perhaps: Middle | None = None
        many: tuple[Middle, ...] = ()
    return Outer

def decode(kind, barrier, found):
    barrier.wait()
    found.append(decode_json(BODY, kind))

BODY = b'{"perhaps": {"byKey": {"k": {"oneName": "a"}}}, "many": [{"anInner": {"oneName": "b"}}]}'
sys.setswitchinterval(1e-6)
for _ in range(1000):
    kind, barrier, found = new_type(), threading.Barrier(8), []
    threads = [threading.Thread(target=decode, args=(kind, barrier, found)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {(each.perhaps.by_key["k"].one_name, each.many[0].an_inner.one_name) for each in found}
    assert len(found) == 8 and names == {("a", "b")}
"""


def test_threads_may_meet_a_type_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
