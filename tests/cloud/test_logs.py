"""Cloud Logging by Google's client against the sandbox: exact entries, page by page; and the filter they are found by."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remediate.cloud import logs
from remediate.cloud.logs import GoogleLogs
from remediate.denial import Denial, understand
from remediate.errors import TerminalFault, TransientFault
from remediate.logentry import read_entry
from remediate.logfilter import DENIALS
from sandbox.logfilter import compile_filter
from tests.entries import activity, agent_text, bare_text, system_event, understood, user_text
from tests.sandbox_fixture import SandboxProcess
from tests.test_corpus import CORPUS, ENTRIES, MESSAGES, published

AGO = datetime(2026, 1, 1, tzinfo=UTC)
SCOPE = "organizations/400000000001"


def test_what_comes_back_is_what_was_delivered(sandbox_server: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PAGE", 1)
    written = [entry for number in range(3) for entry in sandbox_server.deploy(name=f"web-{number}")["entries"]]
    denied = [entry for entry in written if isinstance(understand(read_entry(json.dumps(entry).encode())), Denial)]
    assert len(denied) == 3
    found = [json.loads(each) for each in GoogleLogs(sandbox_server.url, 2.0).denials(SCOPE, AGO)]
    assert [each for each in found if each in denied] == denied
    assert sandbox_server.requests("entries:list") >= 3
    later = datetime.now(UTC) + timedelta(hours=1)
    assert list(GoogleLogs(sandbox_server.url, 2.0).denials(SCOPE, later)) == []


def test_a_spent_quota_is_waited_for_and_a_scope_that_is_not_ours_is_final(sandbox_server: SandboxProcess) -> None:
    sandbox_server.deploy()
    sandbox_server.faults({"match": "entries:list", "effect": "status", "code": 429, "times": 3})
    assert len(list(GoogleLogs(sandbox_server.url, 2.0).denials(SCOPE, AGO))) == 1
    with pytest.raises(TerminalFault, match="403"):
        list(GoogleLogs(sandbox_server.url, 2.0).denials("organizations/1", AGO))
    sandbox_server.faults({"match": "entries:list", "effect": "status", "code": 503, "times": None})
    with pytest.raises(TransientFault):
        list(GoogleLogs(sandbox_server.url, 0.1).denials(SCOPE, AGO))


@pytest.mark.parametrize(
    "entry",
    [
        activity(),
        activity(bare_text("projects/p/locations/us/repositories/r")),
        activity(user_text("us-docker.pkg.dev/p/r/i:1").replace(" ", "\n   ")),
        activity(user_text("us-docker.pkg.dev/p/r/i:1").upper()),
        activity(agent_text("us-docker.pkg.dev/p/r/i:1")),
        system_event(),
    ],
    ids=["deployer", "bare", "wrapped", "upper case", "agent", "system event"],
)
def test_the_filter_finds_what_the_recogniser_understands(entry: dict[str, Any]) -> None:
    assert compile_filter(DENIALS)(entry)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published entries is not beside this repository")
def test_the_filter_finds_every_denial_of_the_corpus_and_fits_a_sink() -> None:
    matches = compile_filter(DENIALS)
    entries = [json.loads(path.read_text()) for path in ENTRIES] + [published(message) for message in MESSAGES]
    denials = [each for each in entries if isinstance(understood(each), Denial)]
    assert len(denials) > 10
    assert [each for each in denials if not matches(each)] == []
    assert len(DENIALS) < 20_000


def test_the_filter_leaves_everything_else() -> None:
    matches = compile_filter(DENIALS)
    other = activity()
    other["protoPayload"]["serviceName"] = "container.googleapis.com"
    assert not matches(other)
    assert not matches(activity("Something else."))
