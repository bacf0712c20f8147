"""The real function under functions-framework, against the sandbox over HTTP: what comes in, what is written, what is not."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediate.ledger.sqlite import SqliteLedger
from remediate.records import stored_form
from remediate.records.states import State
from tests.audit_entries import AGENT, activity, bare_text, push_body, user_text
from tests.sandbox_fixture import DEPLOYER, IMAGE, ROOT, SandboxProcess
from tests.wire.function_fixture import AUDIT_TYPE, PUBSUB_TYPE, SAME_IMAGE, FunctionProcess, same_project

SAME_REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
Start = Callable[..., FunctionProcess]


@pytest.fixture
def start(sandbox_server: SandboxProcess, tmp_path: Path) -> Iterator[Start]:
    running: list[FunctionProcess] = []

    def started(**settings: str) -> FunctionProcess:
        running.append(FunctionProcess(sandbox_server, tmp_path, settings))
        return running[-1]

    yield started
    for function in running:
        function.close()


def cross_project(insert_id: str = "1") -> dict[str, Any]:
    return activity(user_text(IMAGE), images=(IMAGE,), insert_id=insert_id)


def _structured(data: Any, kind: str) -> dict[str, Any]:
    return {"specversion": "1.0", "type": kind, "id": "1", "source": "//x", "data": data}


ENVELOPES: dict[str, Callable[[FunctionProcess, dict[str, Any]], int]] = {
    "a binary CloudEvent around a push body": lambda function, entry: function.push(push_body(entry)),
    "a structured CloudEvent around a push body": lambda function, entry: function.post(
        _structured(push_body(entry), PUBSUB_TYPE), content_type="application/cloudevents+json"
    ),
    "a structured direct audit log event": lambda function, entry: function.post(
        _structured(entry, AUDIT_TYPE), content_type="application/cloudevents+json"
    ),
    "a binary direct audit log event": lambda function, entry: function.post(
        entry, type=AUDIT_TYPE, id="1", source="//x", specversion="1.0"
    ),
    "a raw Pub/Sub push": lambda function, entry: function.post(push_body(entry)),
}


def test_every_envelope_ends_in_the_same_one_grant(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_ORGANIZATION="400000000001")
    before = sandbox_server.policies()
    for send in ENVELOPES.values():
        assert send(function, same_project()) in range(200, 300)
    after = sandbox_server.policies()
    assert after[SAME_REPOSITORY]["bindings"] == [{"role": "roles/artifactregistry.reader", "members": [DEPLOYER]}]
    assert sandbox_server.requests(":setIamPolicy") == 1
    assert {name: policy for name, policy in after.items() if name != SAME_REPOSITORY} == {
        name: policy for name, policy in before.items() if name != SAME_REPOSITORY
    }
    assert [line["duplicate"] for line in function.lines(5)] == [False, True, True, True, True]
    steps = [line["trail"] for line in function.lines(3, trail=True)]
    assert [step["after"] for step in steps] == ["proposed", "approved", "granted"]
    assert steps == [
        msgspec.json.decode(msgspec.json.encode(step)) for step in SqliteLedger(function.ledger_path).trail()
    ]


def test_dry_run_proposes_and_leaves_every_policy_byte_for_byte(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start()
    before = json.dumps(sandbox_server.policies())
    assert function.push(push_body(same_project("1"))) == 200
    assert function.push(push_body(cross_project("2"))) == 200
    assert json.dumps(sandbox_server.policies()) == before
    assert sandbox_server.requests(":setIamPolicy") == 0
    members = sorted(record.member for record in function.records())
    assert members == sorted([DEPLOYER, DEPLOYER, f"serviceAccount:{AGENT}"])
    assert {record.state for record in function.records()} == {State.PROPOSED}


def test_enforce_asks_across_projects(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce")
    assert function.push(push_body(cross_project())) == 200
    assert function.lines()[-1]["outcome"] == "ask"
    assert sandbox_server.requests(":setIamPolicy") == 0


@pytest.mark.parametrize(
    ("project", "outcome", "state"),
    [("other-images", "refuse", State.REFUSED), ("no-such-project", "ask", State.PROPOSED)],
)
def test_a_repository_outside_the_organization_is_refused_and_an_unseen_one_proposed(
    start: Start, sandbox_server: SandboxProcess, project: str, outcome: str, state: State
) -> None:
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_ORGANIZATION="organizations/400000000001")
    foreign = bare_text(f"projects/{project}/locations/us/repositories/containers")
    assert function.push(push_body(activity(foreign, images=()))) == 200
    assert function.lines()[-1]["outcome"] == outcome
    assert {record.state for record in function.records()} == {state}
    assert sandbox_server.requests("Policy") == 0


def test_a_repository_that_does_not_exist_is_refused_with_a_record(start: Start) -> None:
    function = start(REMEDIATE_MODE="enforce")
    missing = bare_text("projects/shop-frontend/locations/us/repositories/never-made")
    assert function.push(push_body(activity(missing, images=()))) == 200
    assert function.lines()[-1]["reasons"] == ["repository_not_found"]


POISON: list[Any] = [
    b"{",
    b"\xff\xfe",
    {"message": {"data": base64.b64encode(b"[" * 100_000).decode()}},
    {"message": {"data": "!!!"}},
    {"message": {"data": "dGVzdA=="}},
    {"message": {}},
    [],
    7,
    "text",
    {},
]


def test_poison_ends_in_a_2xx_and_a_line_that_says_why(start: Start) -> None:
    function = start()
    for body in POISON:
        status = function.push(body, logged=False)
        assert status in range(200, 300), body
    assert len(function.lines(len(POISON))) == len(POISON)
    assert all(line["message"].startswith(("unreadable", "ignored")) for line in function.lines())


def test_no_line_carries_what_an_entry_holds(start: Start) -> None:
    function = start()
    function.push(push_body(same_project()))
    function.push(push_body(activity("Something else went wrong: hunter2", images=(SAME_IMAGE,))))
    unreadable = same_project()
    unreadable["insertId"] = ["hunter2"]
    function.push(push_body(unreadable))
    assert len(function.lines(3)) == 3
    assert "hunter2" not in "\n".join(function.output)
    assert all({"severity", "message"} <= line.keys() for line in function.lines())


def test_a_passing_fault_brings_the_event_again_until_it_is_cured(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_TIMEOUT="1")
    sandbox_server.faults({"match": "repositories/app", "effect": "status", "code": 503, "times": None})
    assert function.push(push_body(same_project())) == 503
    assert not function.records()
    sandbox_server.faults()
    assert function.push(push_body(same_project())) == 200
    assert sandbox_server.readers(SAME_REPOSITORY) == [DEPLOYER]
    assert "Traceback" not in "\n".join(function.output)


def test_a_terminal_answer_is_recorded_and_ends_the_event(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_DOMAINS="example.com")
    stranger = activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email="nobody@example.com")
    assert function.push(push_body(stranger)) == 200
    [record] = function.records()
    assert record.state is State.FAILED
    assert sandbox_server.readers(SAME_REPOSITORY) == []


def _denials(organization: Path, count: int) -> list[dict[str, Any]]:
    members = [f"deployer-{number}@shop-frontend.iam.gserviceaccount.com" for number in range(count)]
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    identities = "".join(f"  - serviceAccount:{member}\n" for member in members)
    organization.write_text(text.replace("identities:\n", f"identities:\n{identities}"))
    return [activity(user_text(SAME_IMAGE), images=(SAME_IMAGE,), email=member, insert_id=member) for member in members]


def test_32_denials_at_once_are_32_members_and_a_second_delivery_writes_nothing(tmp_path: Path) -> None:
    denials = _denials(tmp_path / "organization.yaml", 32)
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    function = FunctionProcess(sandbox, tmp_path, REMEDIATE_MODE="enforce")
    try:
        with ThreadPoolExecutor(32) as pool:
            statuses = list(pool.map(lambda entry: function.push(push_body(entry)), denials))
            assert statuses == [200] * 32
            assert len(set(sandbox.readers(SAME_REPOSITORY))) == 32
            assert len(sandbox.readers(SAME_REPOSITORY)) == 32
            assert {record.state for record in function.records()} == {State.GRANTED}
            writes = sandbox.requests(":setIamPolicy")
            assert list(pool.map(lambda entry: function.push(push_body(entry)), denials)) == [200] * 32
        assert sandbox.requests(":setIamPolicy") == writes
        assert len(function.records()) == 32
    finally:
        function.close()
        sandbox.close()


def test_two_instances_and_foreign_writers_lose_nothing(tmp_path: Path) -> None:
    denials = _denials(tmp_path / "organization.yaml", 16)
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    sandbox.faults({"match": "setIamPolicy", "effect": "racing_writer", "times": 5, "member": "user:ana@example.com"})
    functions = [FunctionProcess(sandbox, tmp_path, REMEDIATE_MODE="enforce") for _ in range(2)]
    try:
        with ThreadPoolExecutor(16) as pool:
            pairs = [(functions[number % 2], entry) for number, entry in enumerate(denials * 2)]
            assert set(pool.map(lambda pair: pair[0].push(push_body(pair[1])), pairs)) == {200}
        assert set(sandbox.readers(SAME_REPOSITORY)) >= {
            f"serviceAccount:{entry['protoPayload']['authenticationInfo']['principalEmail']}" for entry in denials
        }
        assert "user:ana@example.com" in sandbox.readers(SAME_REPOSITORY)
    finally:
        for function in functions:
            function.close()
        sandbox.close()


@pytest.mark.parametrize("stopped", ["repositories/app$", "getIamPolicy", "setIamPolicy", "GET /v3/projects/"])
def test_a_perimeter_refuses_nothing_for_good(start: Start, sandbox_server: SandboxProcess, stopped: str) -> None:
    """VPC Service Controls stops a call: the event comes again, and is granted once an administrator lets us in."""
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_ORGANIZATION="400000000001")
    sandbox_server.faults({"match": stopped, "effect": "perimeter", "times": None})
    assert function.push(push_body(same_project())) == 503
    assert {record.state for record in function.records()} <= {State.APPROVED}
    sandbox_server.faults()
    assert function.push(push_body(same_project())) == 200
    assert [record.state for record in function.records()] == [State.GRANTED]
    assert sandbox_server.readers(SAME_REPOSITORY) == [DEPLOYER]


def test_a_deploy_in_the_sandbox_is_cured_end_to_end(start: Start, sandbox_server: SandboxProcess) -> None:
    """Deploy, entry, push (redelivered while Google Cloud fails), grant, and the same deploy goes through."""
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_TIMEOUT="1")
    sandbox_server.subscribe(function.url)
    sandbox_server.faults({"match": "repositories/app", "effect": "status", "code": 503, "times": 12})
    assert sandbox_server.deploy(SAME_IMAGE)["exit_code"] == 1
    sandbox_server.drain()
    assert sandbox_server.deploy(SAME_IMAGE)["exit_code"] == 0
    assert sandbox_server.requests(":setIamPolicy") == 1


def test_our_own_grants_entry_starts_no_loop(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce")
    sandbox_server.subscribe(function.url, filter="")
    sandbox_server.deploy(SAME_IMAGE)
    sandbox_server.drain()
    sandbox_server.drain()
    assert sandbox_server.requests(":setIamPolicy") == 1
    assert ["policy_change"] in [line.get("reasons") for line in function.lines(3)]


def test_google_clients_are_imported_only_once_a_denial_needs_them(tmp_path: Path) -> None:
    code = (
        "import sys, main; from remediate.entries.denial import understand; from remediate.entries.log_entry import read_entry;"
        'main.remediator.handle(understand(read_entry(b\'{"protoPayload": {"serviceName": "x"}}\')));'
        "print([name for name in sys.modules if name.startswith(('google.api_core', 'google.protobuf', 'grpc'))])"
    )
    environment = {"REMEDIATE_LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_bad_setting_stops_the_start_by_name(tmp_path: Path) -> None:
    environment = {"REMEDIATE_MODE": "yolo", "REMEDIATE_ORGANISATION": "1", "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", "import main"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "REMEDIATE_MODE='yolo': expected dry-run or enforce" in done.stderr
    assert "did you mean REMEDIATE_ORGANIZATION?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_event_that_the_log_does_not_have_is_asked(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce")
    assert function.push(push_body(same_project()), logged=False) == 200
    assert function.lines()[-1]["reasons"] == ["event_unverified"]
    assert [record.state for record in function.records()] == [State.PROPOSED]
    assert sandbox_server.requests(":setIamPolicy") == 0


def test_an_event_that_says_something_else_than_the_log_is_refused(
    start: Start, sandbox_server: SandboxProcess
) -> None:
    function = start(REMEDIATE_MODE="enforce")
    sandbox_server.log(activity("Something else.", insert_id="1"))
    assert function.push(push_body(same_project()), logged=False) == 200
    assert function.lines()[-1]["reasons"] == ["unverified_event"]
    assert [record.state for record in function.records()] == [State.REFUSED]


def test_an_event_comes_again_while_the_log_lags_behind(start: Start, sandbox_server: SandboxProcess) -> None:
    function = start(REMEDIATE_MODE="enforce")
    young = same_project() | {"timestamp": datetime.now(UTC).isoformat()}
    assert function.push(push_body(young), logged=False) == 503
    assert function.push(push_body(young)) == 200
    assert sandbox_server.readers(SAME_REPOSITORY) == [DEPLOYER]


def test_the_brake_asks_what_comes_beyond_the_limit(start: Start) -> None:
    function = start(REMEDIATE_MODE="enforce", REMEDIATE_GRANTS_TO_A_MEMBER="1")
    assert function.push(push_body(same_project("1"))) == 200
    legacy = "us-docker.pkg.dev/shop-frontend/gcr.io/legacy:v1"
    assert function.push(push_body(activity(user_text(legacy), images=(legacy,), insert_id="2"))) == 200
    line = function.lines(2)[-1]
    assert (line["outcome"], line["reasons"], line["severity"]) == ("ask", ["same_project", "member_brake"], "ALERT")
    assert {record.state for record in function.records()} == {State.GRANTED, State.PROPOSED}


def test_an_event_comes_again_while_its_record_cannot_be_read(start: Start) -> None:
    function = start()
    assert function.push(push_body(same_project())) == 200
    [record] = function.records()
    with sqlite3.connect(function.ledger_path) as connection:
        connection.execute("UPDATE remediations SET record = '{}'")
    assert function.push(push_body(same_project("2"))) == 500
    with sqlite3.connect(function.ledger_path) as connection:
        connection.execute("UPDATE remediations SET record = ?", (stored_form.encode(record),))
    assert function.push(push_body(same_project("2"))) == 200
    assert [each.tally.denials for each in function.records()] == [2]
    assert any(f"the record of {record.id} cannot be read" in line for line in function.output)
