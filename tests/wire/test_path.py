"""A message's whole way with real parts: Pub/Sub pushes it, functions-framework takes it, the sandbox is changed once.

The subscription is as deploy/ makes it, with dead letters; the receiver is killed in the middle and comes back.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import pytest

from remediate.records.states import State
from tests.audit_entries import activity, user_text
from tests.pubsub_fixture import PubSub
from tests.sandbox_fixture import ROOT, SandboxProcess
from tests.wire.eventarc import delivering_to
from tests.wire.function_fixture import FunctionProcess

SAME = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
STUCK = "us-docker.pkg.dev/shop-frontend/gcr.io/legacy:v1"
DEPLOYERS = 24


def _until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it took too long"
        threading.Event().wait(0.1)


@pytest.mark.parametrize("delivery", ["push", "eventarc"])
def test_every_message_is_accounted_for_though_the_receiver_is_killed(
    pubsub: PubSub, tmp_path: Path, delivery: str
) -> None:
    members = [f"deployer-{number}@shop-frontend.iam.gserviceaccount.com" for number in range(DEPLOYERS)]
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    known = "".join(f"  - serviceAccount:{each}\n" for each in members)
    (tmp_path / "organization.yaml").write_text(text.replace("identities:\n", f"identities:\n{known}"))
    denials = [activity(user_text(SAME), images=(SAME,), email=each, insert_id=each) for each in members]
    stuck = activity(user_text(STUCK), images=(STUCK,), insert_id="stuck")
    other = activity("Revision 'web' is not ready: the container failed to start.", insert_id="other")
    messages = [*denials, *denials[:6], stuck, other]  # some are delivered by more than one message

    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    settings = {"REMEDIATE_MODE": "enforce", "REMEDIATE_TIMEOUT": "1", "THREADS": "8"}
    settings["REMEDIATE_GRANTS_AN_HOUR"] = "1000"
    receiver = FunctionProcess(sandbox, tmp_path, settings)
    between = delivering_to(receiver.port) if delivery == "eventarc" else nullcontext(receiver.url)
    with between as called, closing(sandbox), ExitStack() as stack:
        stack.callback(lambda: receiver.close())
        sandbox.log(*denials, stuck, other)
        sandbox.faults({"match": "repositories/gcr.io", "effect": "status", "code": 503, "times": None})
        topic, dead = pubsub.topic("denials"), pubsub.topic("dead-letters")
        kept = pubsub.subscription(dead)
        pubsub.subscription(topic, push_to=called, dead_letter=dead, attempts=5)
        bodies = [json.dumps(each).encode() for each in messages]
        pubsub.publish(topic, *bodies[: DEPLOYERS // 2], b"no entry at all")
        _until(lambda: any(each.state is State.GRANTED for each in receiver.records()))
        receiver.kill()
        pubsub.publish(topic, *bodies[DEPLOYERS // 2 :])
        receiver = FunctionProcess(sandbox, tmp_path, settings, port=receiver.port)

        def granted() -> set[str]:
            found = [each for each in receiver.records() if each.repository == REPOSITORY]
            assert len(found) == len({each.member for each in found})
            return {each.member.partition(":")[2] for each in found if each.state is State.GRANTED}

        lost: dict[str, bytes] = {}

        def accounted() -> bool:
            lost.update({json.loads(body)["insertId"]: body for body, _ in pubsub.pull(kept)})
            return "stuck" in lost and granted() | lost.keys() >= set(members)

        # Each denial is one record and one member, or waits where somebody looks for it; nothing is anywhere else.
        _until(accounted)
        assert lost.keys() <= {"stuck", *members}
        readers = sandbox.readers(REPOSITORY)
        assert sorted(readers) == sorted(f"serviceAccount:{each}" for each in granted())
        told = [line["message"].partition(":")[0] for line in receiver.lines()]
        assert {"grant", "ignored"} <= set(told), told
        # Once the cause is cured, what became a dead letter is delivered again, and heals.
        sandbox.faults()
        pubsub.publish(topic, *lost.values())
        _until(
            lambda: (
                {each.state for each in receiver.records()} == {State.GRANTED}
                and len(receiver.records()) == DEPLOYERS + 1
            )
        )
        assert granted() == set(members)
        assert len(sandbox.readers(REPOSITORY)) == DEPLOYERS
