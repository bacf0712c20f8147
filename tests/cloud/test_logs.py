"""Cloud Logging by Google's client against the sandbox: exact entries, page by page; and the filter they are found by."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from remediate.cloud import logs
from remediate.cloud.interface import EntryKey
from remediate.cloud.logs import GoogleLogs
from remediate.entries.denial import Denial, understand
from remediate.entries.joining import call_of, join_call
from remediate.entries.log_entry import read_entry
from remediate.entries.log_filter import DENIALS, calls_of, deploys_by, entries_by_id
from remediate.entries.source import Log
from remediate.errors import PartlyUnreadable, TerminalFault, TransientFault
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.log_lines import COMMAND_LOG
from remediate.settings import load_settings
from remediate.wiring import logs_from
from sandbox.delivery import SINK
from sandbox.logfilter import compile_filter
from tests.audit_entries import (
    OPERATION,
    activity,
    agent_text,
    bare_text,
    deployed,
    policy_set,
    system_event,
    understood,
    user_text,
)
from tests.entries.corpus import CORPUS, ENTRIES, MESSAGES, published
from tests.forged import FORGED
from tests.sandbox_fixture import DEPLOYER, REPOSITORY, ROOT, SandboxProcess

AGO = datetime(2026, 1, 1, tzinfo=UTC)
WHEN, AFTER = datetime(2026, 11, 23, 8, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)
APP = Repository("shop-frontend", "asia-northeast1", "app")
ANA, BO = Member("user:ana@example.com"), Member("user:bo@example.com")
SCOPE = ["projects/shop-frontend", "projects/platform-images"]


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
        list(GoogleLogs(sandbox_server.url, 2.0).denials(["projects/nobody-s"], AGO))
    sandbox_server.faults({"match": "entries:list", "effect": "status", "code": 503, "times": None})
    with pytest.raises(TransientFault):
        list(GoogleLogs(sandbox_server.url, 2.0, scan_timeout=0.1).denials(SCOPE, AGO))


def test_a_project_whose_log_may_not_be_read_is_named_and_hides_no_other(sandbox_server: SandboxProcess) -> None:
    for number in range(3):
        sandbox_server.deploy(name=f"web-{number}")
    many = [f"projects/nobody-{number}" for number in range(3)]
    reading = GoogleLogs(sandbox_server.url, 2.0).denials([many[0], *SCOPE, *many[1:]], AGO)
    assert len([next(reading) for _ in range(3)]) == 3
    with pytest.raises(PartlyUnreadable, match=r"projects/nobody-0, projects/nobody-1, projects/nobody-2: .*403"):
        next(reading)
    assert sandbox_server.requests("entries:list") <= 9


def test_where_every_log_is_refused_not_every_project_is_asked(sandbox_server: SandboxProcess) -> None:
    many = [f"projects/nobody-{number}" for number in range(300)]
    with pytest.raises(TerminalFault, match=r"projects/nobody-19 and 280 more: .*403") as raised:
        list(GoogleLogs(sandbox_server.url, 2.0).denials(many, AGO))
    assert not isinstance(raised.value, PartlyUnreadable)
    assert sandbox_server.requests("entries:list") <= 3 + 2 * 50


def test_a_search_of_many_logs_may_take_longer_than_another_call(sandbox_server: SandboxProcess) -> None:
    sandbox_server.deploy()
    sandbox_server.faults({"match": "entries:list", "effect": "latency", "seconds": 1.0, "times": None})
    reading = GoogleLogs(sandbox_server.url, 0.2, scan_timeout=30.0)
    assert len(list(reading.denials(SCOPE, AGO))) == 1
    with pytest.raises(TransientFault):
        reading.entry(_keys(1)[0])


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


@pytest.mark.parametrize("entry", [activity(), system_event()])
def test_no_log_that_a_user_may_write_passes_any_filter(entry: dict[str, Any]) -> None:
    repository, member = Repository("platform-images", "asia-northeast1", "containers"), Member(DEPLOYER)
    filters = (
        DENIALS,
        deploys_by([repository], [member], "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        calls_of(OPERATION, ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")),
        SINK,
    )
    seen = entry | {"severity": "NOTICE", "labels": {"x": OPERATION}}
    assert compile_filter(DENIALS)(seen)
    for text in filters:
        passed = {name for name in FORGED if compile_filter(text)(seen | {"logName": name})}
        # Of another node, or another spelling of the same id: no user writes these, and the recogniser ignores them.
        assert {unquote(name.partition("/logs/")[2]) for name in passed} <= {each.value for each in Log}, text


def test_every_filter_that_is_deployed_or_told_names_the_log_exactly() -> None:
    files = [*(ROOT / "deploy").glob("*.*"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    texts = {path.name: path.read_text() for path in files if path.suffix != ".png"}
    assert [name for name, text in texts.items() if re.search(r"logName\s*[:=]", text)] == []
    named = {name for text in texts.values() for name in re.findall(r"log_id\(\W*([a-z_./]+)", text)}
    selected = {"run.googleapis.com/stdout", "run.googleapis.com/stderr", COMMAND_LOG}  # what the trail's sink selects
    checked = {"run.googleapis.com/requests"}  # which the first apply's checklist reads
    assert named == {each.value for each in Log} | selected | checked


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_the_call_of_an_operation_is_found_by_its_structure(sandbox_server: SandboxProcess, api: str) -> None:
    policy = sandbox_server.call("GET", f"/v1/{REPOSITORY}:getIamPolicy")[1]
    policy["bindings"].append({"role": "roles/artifactregistry.reader", "members": [DEPLOYER]})
    sandbox_server.call("POST", f"/v1/{REPOSITORY}:setIamPolicy", {"policy": policy})
    entries = sandbox_server.deploy(api=api)["entries"]
    denied = [each for entry in entries if isinstance(each := understood(entry), Denial)]
    assert len(denied) == (2 if api == "v2" else 1)
    for each in denied:
        assert each.operation
        at = datetime.fromisoformat(each.entry.timestamp or "")
        found = GoogleLogs(sandbox_server.url, 2.0).operation_entries("shop-frontend", each.operation, at)
        calls = [call for raw in found if (call := call_of(read_entry(raw)))]
        assert [call.entry.insert_id for call in calls] == [entries[0]["insertId"]]
        assert join_call(each, calls).authorized is True


def _keys(count: int) -> list[EntryKey]:
    log_name = "projects/shop-frontend/logs/cloudaudit.googleapis.com%2Factivity"
    return [EntryKey(log_name, f"id-{number}", "2026-11-23T08:00:00.123456Z") for number in range(count)]


def test_an_entry_is_read_back_exactly(sandbox_server: SandboxProcess) -> None:
    entries = [activity(insert_id="one"), activity(insert_id='two" OR "'), activity(insert_id="o\\ne")]
    sandbox_server.log(*entries)
    logs = GoogleLogs(sandbox_server.url, 2.0)
    for entry in entries:
        key = EntryKey(entry["logName"], entry["insertId"], entry["timestamp"])
        [found] = [json.loads(each) for each in logs.entry(key)]
        assert {name: value for name, value in found.items() if name != "receiveTimestamp"} == entry
    assert logs.entry(_keys(1)[0]) == []
    assert logs.entry(EntryKey(entries[0]["logName"], "one", "2026-11-23T08:00:01Z")) == []


def test_a_burst_is_one_look_up_and_what_is_beyond_the_minute_comes_again(sandbox_server: SandboxProcess) -> None:
    entries = [activity(insert_id=f"id-{number}") for number in range(40)]
    sandbox_server.log(*entries)
    sandbox_server.faults({"match": "entries:list", "effect": "latency", "seconds": 0.5, "times": 1})
    now = [0.0]
    logs = GoogleLogs(sandbox_server.url, 5.0, monotonic=lambda: now[0])
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(logs.entry, _keys(40)))
    assert [json.loads(each)["insertId"] for [each] in found] == [f"id-{number}" for number in range(40)]
    spent = sandbox_server.requests("entries:list")
    assert spent < 10
    for _ in range(50 - spent):
        logs.entry(_keys(1)[0])
    with pytest.raises(TransientFault, match="the limit of 50 log look-ups per minute is reached"):
        logs.entry(_keys(1)[0])
    now[0] = 60.0
    assert len(logs.entry(_keys(1)[0])) == 1
    assert sandbox_server.requests("entries:list") == 51


def test_a_process_makes_as_many_look_ups_a_minute_as_its_setting_says(sandbox_server: SandboxProcess) -> None:
    settings = load_settings(sandbox_server.env | {"REMEDIATE_LOOKUPS_A_MINUTE": "2"})
    logs = logs_from(settings)
    assert logs
    for _ in range(2):
        assert logs.entry(_keys(1)[0]) == []
    with pytest.raises(TransientFault, match="the limit of 2 log look-ups per minute is reached"):
        logs.entry(_keys(1)[0])


def test_a_log_that_may_not_be_read_hides_no_other(sandbox_server: SandboxProcess) -> None:
    sandbox_server.log(activity(insert_id="id-0"))
    sandbox_server.faults({"match": "entries:list", "effect": "latency", "seconds": 0.3, "times": 1})
    logs = GoogleLogs(sandbox_server.url, 5.0)
    foreign = EntryKey("projects/nobody-s/logs/x", "id-0", "2026-11-23T08:00:00.123456Z")

    def read(key: EntryKey) -> int | str:
        try:
            return len(logs.entry(key))
        except TerminalFault as fault:
            return str(fault)

    keys = [*_keys(3), foreign] * 2
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, keys))
    assert found[:3] == found[4:7] == [1, 0, 0]
    assert "403" in str(found[3])


def _deployed(member: Member, at: datetime = WHEN, repository: Repository = APP, **how: Any) -> dict[str, Any]:
    return deployed(member, "shop-frontend", repository, at, insert_id=f"{member}{at}", **how)


def _deploys(logs: GoogleLogs, *members: Member, repository: Repository = APP, before: datetime = AFTER) -> list[str]:
    numbered = Repository("123456789012", repository.location, repository.name)
    found = logs.deploys("shop-frontend", [repository, numbered], members, AGO, before)
    return [json.loads(each)["insertId"] for each in found]


def test_earlier_deploys_are_preselected_by_who_what_and_when(sandbox_server: SandboxProcess) -> None:
    pool = Member("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/github/subject/s")
    gcr = Repository("shop-frontend", "us", "gcr.io")
    older, newer, bos, pools = _deployed(ANA, AGO), _deployed(ANA), _deployed(BO), _deployed(pool)
    typed = _deployed(ANA, repository=Repository("elsewhere", "us", "x"))
    typed["protoPayload"]["request"]["service"]["metadata"] = {"annotations": {"x": "y/shop-frontend/app/z"}}
    failed = activity(images=("asia-northeast1-docker.pkg.dev/shop-frontend/app/web",), email="bo@example.com")
    numbered = _deployed(BO, WHEN + timedelta(hours=1), Repository("123456789012", "asia-northeast1", "app"))
    legacy = _deployed(BO, repository=Repository("elsewhere", "us", "x"))
    legacy["protoPayload"]["request"]["service"]["spec"]["template"]["spec"]["containers"][0]["image"] = (
        "gcr.io:443/shop-frontend/web"
    )
    theirs = _deployed(ANA) | {"logName": "projects/shop-frontend/logs/x%2Fcloudaudit.googleapis.com%2Factivity"}
    sandbox_server.log(older, newer, bos, pools, failed, theirs)
    logs = GoogleLogs(sandbox_server.url, 2.0)
    assert _deploys(logs, ANA) == [newer["insertId"], older["insertId"]]
    assert _deploys(logs, pool) == [pools["insertId"]]
    assert sorted(_deploys(logs, ANA, BO, pool)) == sorted(each["insertId"] for each in (older, newer, bos, pools))
    assert _deploys(logs, ANA, before=WHEN) == [older["insertId"]]
    assert _deploys(logs, ANA, repository=Repository("shop-frontend", "asia-northeast1", "ap")) == []
    sandbox_server.log(numbered, typed, legacy)
    assert _deploys(logs, BO) == [numbered["insertId"], bos["insertId"]]
    assert _deploys(logs, BO, repository=gcr) == [legacy["insertId"]]
    assert len(_deploys(logs, ANA)) == 3  # what somebody typed is preselected too: its reader judges


def test_the_ends_of_operations_are_found_by_their_ids(sandbox_server: SandboxProcess) -> None:
    first, last, other, typed = (_deployed(ANA, api="v2") for _ in range(4))
    first["operation"] = {"id": "op-1", "first": True}
    last["operation"] = {"id": "op-1", "last": True}
    other["operation"] = {"id": "op-11", "last": True}
    typed["protoPayload"]["request"]["x"] = 'operation.id="op-1"'
    sandbox_server.log(first, last | {"insertId": "last"}, other, typed)
    found = GoogleLogs(sandbox_server.url, 2.0).ends("shop-frontend", ["op-1", 'op-2" OR "'], AGO)
    assert [json.loads(each)["insertId"] for each in found] == ["last"]


def test_who_set_a_policy_is_one_look_up_for_the_repository_and_its_project(sandbox_server: SandboxProcess) -> None:
    def change(resource: str, hours: int) -> dict[str, Any]:
        entry = policy_set(resource, ("REMOVE", "roles/viewer", str(ANA)), at=WHEN + timedelta(hours=hours))
        return entry | {"insertId": str(hours)}

    numbered = Repository("123456789012", APP.location, APP.name)
    wanted = [change(str(APP), 0), change(str(numbered), 1), change("projects/shop-frontend", 2)]
    another, older = change(f"{APP.project}/locations/{APP.location}/repositories/other", 3), change(str(APP), -9999)
    theirs = change(str(APP), 4) | {"logName": "projects/shop-frontend/logs/mine"}
    sandbox_server.log(*wanted, another, older, theirs, activity())
    before = sandbox_server.requests("entries:list")
    found = [json.loads(each)["insertId"] for each in GoogleLogs(sandbox_server.url, 2.0).policy_changes(APP, AGO)]
    assert found == ["2", "1", "0"]
    assert sandbox_server.requests("entries:list") == before + 1


@contextmanager
def answering(*answers: tuple[int, Any]) -> Iterator[tuple[str, list[Any]]]:
    """A Cloud Logging that gives these answers, the last of them from then on; and what it was asked."""
    asked: list[Any] = []

    class Logging(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, said = answers[min(len(asked), len(answers)) - 1]
            body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Logging) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


MORE = (200, {"nextPageToken": "more"})


def test_an_empty_page_with_a_token_is_searched_on() -> None:
    found = activity(insert_id="id-0")
    with answering(MORE, MORE, (200, {"entries": [found]})) as (url, asked):
        assert _deploys(GoogleLogs(url, 2.0), ANA) == ["id-0"]
        assert [each.get("pageToken") for each in asked] == [None, "more", "more"]
        asked.clear()
        assert len(GoogleLogs(url, 2.0).entry(_keys(1)[0])) == 1
        asked.clear()
        assert len(GoogleLogs(url, 2.0).operation_entries("shop-frontend", OPERATION, AGO)) == 1
        assert len(asked) == 3


def test_a_search_that_is_not_done_is_unknown_and_never_no() -> None:
    with answering(MORE) as (url, asked):
        logs = GoogleLogs(url, 2.0)
        for search in (lambda: _deploys(logs, ANA), lambda: list(logs.policy_changes(APP, AGO))):
            with pytest.raises(TerminalFault, match="not done searching after 5 pages"):  # nor will it be tomorrow
                search()
        assert len(asked) == 10
        with pytest.raises(TransientFault, match="not done searching"):
            logs.operation_entries("shop-frontend", OPERATION, AGO)
        with pytest.raises(TransientFault, match="not done searching"):
            logs.entry(_keys(1)[0])


def test_what_was_found_before_a_search_was_given_up_is_found() -> None:
    with answering((200, {"entries": [activity(insert_id="id-0")], "nextPageToken": "more"}), MORE) as (url, _):
        logs = GoogleLogs(url, 2.0)
        assert len(logs.entry(_keys(1)[0])) == 1
        with pytest.raises(TransientFault, match="not done searching"):
            logs.entry(_keys(1)[0])


def test_every_attempt_is_one_of_the_minutes_calls() -> None:
    with answering(*[(200, {})] * 48, (503, {})) as (url, asked):
        logs = GoogleLogs(url, 2.0)
        for key in _keys(48):
            assert logs.entry(key) == []
        with pytest.raises(TransientFault, match="the limit of 50 log look-ups per minute is reached"):
            logs.entry(_keys(1)[0])
        assert len(asked) == 50


def test_the_calls_of_an_operation_are_asked_once_a_minute() -> None:
    now = [0.0]
    with answering((200, {"entries": [activity()]}), (200, {})) as (url, asked):
        logs = GoogleLogs(url, 2.0, monotonic=lambda: now[0])
        first = logs.operation_entries("shop-frontend", OPERATION, AGO)
        assert logs.operation_entries("shop-frontend", OPERATION, AGO) == first
        assert len(asked) == 1
        assert logs.operation_entries("platform-images", OPERATION, AGO) == []
        assert len(asked) == 2
        assert logs.operation_entries("platform-images", OPERATION, AGO) == []
        assert len(asked) == 3  # that there are none may be different in a moment
        now[0] = 60.0
        assert logs.operation_entries("shop-frontend", OPERATION, AGO) == []


def test_an_answer_that_is_none_is_a_passing_fault_for_everybody_who_waits() -> None:
    with answering((200, "<html>a proxy</html>")) as (url, _):
        logs = GoogleLogs(url, 2.0)

        def read(key: EntryKey) -> str:
            with pytest.raises(TransientFault) as raised:
                logs.entry(key)
            return str(raised.value)

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(read, _keys(8), timeout=20))
        assert all("cannot be read" in each for each in told)


def test_entries_are_found_whatever_offset_a_timestamp_is_written_in() -> None:
    log = "projects/shop/logs/cloudaudit.googleapis.com%2Factivity"
    names = [(log, "real", "2026-11-23T08:00:00.12Z"), (log, "forged", "2026-11-23T09:00:00+09:00")]
    matches = compile_filter(entries_by_id(names))
    for name, ident, timestamp in names:
        assert matches({"logName": name, "insertId": ident, "timestamp": timestamp})
    assert not matches({"logName": log, "insertId": "real", "timestamp": "2026-11-23T09:00:00Z"})
