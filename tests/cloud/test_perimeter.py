"""A 403 by VPC Service Controls is its own fault, which passes; a 403 by IAM stays final, whatever its text quotes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from remediate.cloud.logs import GoogleLogs
from remediate.cloud.projects import GoogleProjects
from remediate.cloud.registry import GoogleRegistry
from remediate.cloud.rest import get, post
from remediate.errors import BehindPerimeter, Forbidden, PartlyUnreadable, RemediateError, TerminalFault
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from tests.cloud.test_logs import AGO, SCOPE
from tests.sandbox_fixture import DEPLOYER, SandboxProcess

CONTAINERS = Repository("platform-images", "asia-northeast1", "containers")
TEXT = "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: kmpY9"
INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SECURITY_POLICY_VIOLATED", "domain": "googleapis.com"}  # fmt: skip
VIOLATION = {
    "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
    "violations": [{"type": "VPC_SERVICE_CONTROLS", "description": "kmpY9"}],
}


class Answering:
    """A server that answers everything with one status and body."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 403, b"", 0
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answering.asked += 1
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(answering.status)
                self.send_header("Content-Length", str(len(answering.body)))
                self.end_headers()
                self.wfile.write(answering.body)

            do_POST = do_GET  # noqa: N815, as http.server names it

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/x"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, body: bytes, status: int = 403) -> RemediateError:
        """What `get` raises for this answer; `post` raises the same."""
        self.status, self.body = status, body
        with pytest.raises(RemediateError) as first:
            get(self.url, 1.0, "get x")
        with pytest.raises(type(first.value)):
            post(self.url, {}, 1.0, "post x")
        return first.value


@pytest.fixture
def google() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.close()


def error(message: str, *details: dict[str, Any], code: int = 403, **more: Any) -> bytes:
    status = {"status": "PERMISSION_DENIED", "details": list(details)} if details else {}
    return json.dumps({"error": {"code": code, "message": message, **status, **more}}).encode()


STOPPED = {
    "both details": error(TEXT, VIOLATION, INFO),
    "the violation alone": error("Permission denied.", VIOLATION),
    "the reason alone": error("Permission denied.", INFO),
    "no details": error(TEXT),
    "no details, as Cloud Storage": error(TEXT, errors=[{"message": TEXT, "domain": "global", "reason": "forbidden"}]),
    "no JSON": TEXT.encode(),
    "two lines": error(TEXT.replace(". ", ".\n")),
}


@pytest.mark.parametrize("body", STOPPED.values(), ids=STOPPED)
def test_an_answer_of_a_perimeter_passes(google: Answering, body: bytes) -> None:
    fault = google.fault(body)
    assert isinstance(fault, BehindPerimeter)
    assert str(fault).startswith("get x: VPC Service Controls stopped the call: 403 ")
    assert "docs/hardened-organizations.md" in fault.advice
    assert google.asked == 2  # no administrator lets us in within a second


OTHERS = {
    "IAM": error("Permission 'artifactregistry.repositories.get' denied on resource (or it may not exist)."),
    "IAM, with its reason": error("denied", INFO | {"reason": "IAM_PERMISSION_DENIED"}),
    "somebody else's reason": error("denied", INFO | {"domain": "shop.example.com"}),
    "a name that quotes the sentence": error(f"Permission denied on resource '{TEXT}'."),
    "a detail that quotes it": error("denied", {"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": TEXT}),
    "another violation": error("denied", VIOLATION | {"violations": [{"type": "TOS", "description": TEXT}]}),
    "another organization policy": error("Request is prohibited by organization's policy. Constraint: x"),
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_another_403_is_final(google: Answering, body: bytes) -> None:
    assert type(google.fault(body)) is Forbidden


def test_the_sentence_under_another_status_is_no_perimeter(google: Answering) -> None:
    assert type(google.fault(error(TEXT, VIOLATION, INFO, code=400), 400)) is TerminalFault


def test_an_entry_that_quotes_a_perimeter_is_read(google: Answering) -> None:
    """A log entry of a deploy that a perimeter stopped is an answer like any other."""
    google.status, google.body = 200, error(TEXT, VIOLATION, INFO)
    assert get(google.url, 1.0, "get x") == google.body


def test_a_write_that_a_perimeter_stops_is_tried_once(sandbox_server: SandboxProcess) -> None:
    sandbox_server.faults({"match": "setIamPolicy", "effect": "perimeter", "times": None})
    registry = GoogleRegistry(sandbox_server.url, 2.0)
    with pytest.raises(BehindPerimeter, match="setIamPolicy projects/platform-images"):
        registry.add_reader(Grant(CONTAINERS, Member(DEPLOYER)), request_reason="r", precondition=lambda: True)
    assert sandbox_server.requests(":setIamPolicy") == 1
    sandbox_server.faults({"match": "repositories/containers$", "effect": "perimeter"})
    with pytest.raises(BehindPerimeter):
        registry.describe(CONTAINERS)
    assert registry.describe(CONTAINERS)


def test_a_project_behind_a_perimeter_is_not_taken_for_a_missing_one(sandbox_server: SandboxProcess) -> None:
    projects = GoogleProjects(sandbox_server.url, 2.0)
    sandbox_server.faults({"match": "projects/platform-images", "effect": "perimeter", "times": 2})
    with pytest.raises(BehindPerimeter):
        projects.find("platform-images")
    with pytest.raises(BehindPerimeter):
        projects.bindings("projects/platform-images")
    assert projects.find("platform-images")
    assert projects.bindings("projects/platform-images")
    assert projects.find("no-such-project") is None


def test_a_log_behind_a_perimeter_hides_no_other_log(sandbox_server: SandboxProcess) -> None:
    sandbox_server.deploy()
    logs = GoogleLogs(sandbox_server.url, 2.0)
    hidden, seen = SCOPE[1], SCOPE[0]
    sandbox_server.faults({"match": "entries:list", "effect": "perimeter", "times": 2})  # both, then the first alone
    reading = logs.denials([hidden, seen], AGO)
    assert next(reading)
    with pytest.raises(PartlyUnreadable, match=rf"^{hidden}: .*VPC Service Controls stopped"):
        next(reading)
    sandbox_server.faults({"match": "entries:list", "effect": "perimeter", "times": None})
    with pytest.raises(BehindPerimeter, match=rf"^{hidden}, {seen}: .*VPC Service Controls stopped"):
        list(logs.denials([hidden, seen], AGO))
