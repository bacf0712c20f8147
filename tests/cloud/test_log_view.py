"""Entries are read back from one log view, in one look-up; only what it does not have is looked up in the projects."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remediate.cloud.interface import EntryKey
from remediate.cloud.logs import GoogleLogs
from remediate.errors import RemediateError, TerminalFault, TransientFault
from remediate.settings import load_settings
from remediate.wiring import logs_from
from sandbox.logfilter import compile_filter
from tests.audit_entries import activity, system_event, user_text
from tests.cloud.test_logs import answering
from tests.sandbox_fixture import IMAGE, SandboxProcess

PLACE = "projects/remediate-ops/locations/asia-northeast1"
VIEW = f"{PLACE}/buckets/remediate-denials/views/remediate-denials"
SINK = "/v2/organizations/400000000001/sinks/remediate-view"
AGO = datetime(2026, 1, 1, tzinfo=UTC)


def key_of(entry: dict[str, Any]) -> EntryKey:
    return EntryKey(entry["logName"], entry["insertId"], entry["timestamp"])


def denial(ident: str, project: str = "shop-frontend") -> dict[str, Any]:
    entry = activity(user_text(IMAGE), images=(IMAGE,), insert_id=ident)
    return entry | {"logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity"}


def success(ident: str) -> dict[str, Any]:
    """The entry of a call that went well: no denial, so the sink leaves it."""
    entry = activity(insert_id=ident)
    return entry | {"protoPayload": entry["protoPayload"] | {"status": {}}}


class Counted:
    """A sandbox and its logs; what each group of look-ups asked, in the view and in the projects."""

    def __init__(self, sandbox: SandboxProcess, view: str = VIEW) -> None:
        self.sandbox, self.logs = sandbox, GoogleLogs(sandbox.url, 2.0, view=view)
        self._before = (0, 0)

    def found(self, *entries: dict[str, Any]) -> list[int | str]:
        """How many entries there are of each of these, or why not."""
        self._before = self._asked()
        found = self.logs.entries([key_of(each) for each in entries])
        return [str(each) if isinstance(each, RemediateError) else len(each) for each in found.values()]

    @property
    def asked(self) -> tuple[int, int]:
        """The look-ups of the last group, in the view and in the projects."""
        now = self._asked()
        return now[0] - self._before[0], now[1] - self._before[1]

    def _asked(self) -> tuple[int, int]:
        views = self.sandbox.requests("/views/")
        return views, self.sandbox.requests("entries:list") - views


@pytest.fixture
def counted(sandbox_server: SandboxProcess) -> Counted:
    return Counted(sandbox_server)


def test_a_batch_that_the_view_has_is_one_look_up_whatever_projects_it_is_of(counted: Counted) -> None:
    batch = [denial("a"), denial("b"), denial("c", "platform-images"), system_event() | {"insertId": "d"}]
    counted.sandbox.log(*batch)
    assert counted.found(*batch) == [1, 1, 1, 1]
    assert counted.asked == (1, 0)
    [found] = counted.logs.entry(key_of(batch[2]))
    assert {name: each for name, each in json.loads(found).items() if name != "receiveTimestamp"} == batch[2]


def test_only_what_the_view_does_not_have_is_looked_up_in_the_projects(counted: Counted) -> None:
    old, new, call = denial("old"), denial("new"), success("call")
    counted.sandbox.call("PUT", "/sandbox/deployment", {SINK: {"disabled": True}})
    counted.sandbox.log(old)  # from before the sink, as one that is older than the bucket keeps
    counted.sandbox.call("PUT", "/sandbox/deployment", {SINK: {"disabled": False}})
    counted.sandbox.log(new, call)
    assert counted.found(new, old, call) == [1, 1, 1]
    assert counted.asked == (1, 1)
    with answering((200, {"entries": [new]}), (200, {"entries": [old]})) as (url, asked):
        GoogleLogs(url, 2.0, view=VIEW).entries([key_of(new), key_of(old)])
        assert [each["resourceNames"] for each in asked] == [[VIEW], ["projects/shop-frontend"]]
        assert not compile_filter(asked[1]["filter"])(new)


def test_a_forged_entry_is_in_neither(counted: Counted) -> None:
    real = denial("real")
    counted.sandbox.log(real)
    forged = (
        denial("forged"),
        real | {"logName": "projects/platform-images/logs/cloudaudit.googleapis.com%2Factivity"},
    )
    assert counted.found(*forged) == [0, 0]
    assert counted.asked == (1, 1)
    assert counted.found(real | {"timestamp": "2026-11-23T08:00:00.123457Z"}) == [0]
    assert counted.asked == (1, 1)
    # In a log of its own, a workload writes what it likes: that log's name stays, so it is not the audit log's entry.
    counted.sandbox.log(denial("typed") | {"logName": "projects/remediate-ops/logs/mine"})
    assert counted.found(denial("typed", "remediate-ops")) == [0]


@pytest.mark.parametrize("status", [403, 404])
def test_a_view_that_may_not_be_read_is_passed_over(counted: Counted, status: int) -> None:
    real = denial("real")
    counted.sandbox.log(real)
    counted.sandbox.faults({"match": "entries:list", "effect": "status", "code": status, "times": 1})
    assert counted.found(real, denial("forged")) == [1, 0]
    assert counted.asked == (1, 1)
    gone = Counted(counted.sandbox, VIEW.replace("/views/remediate-denials", "/views/gone"))
    assert gone.found(real) == [1]
    foreign = denial("x", "nobody-s")
    assert "403" in str(gone.found(foreign, real)[0])


def test_a_passing_fault_of_the_view_is_one_and_no_reason_to_ask_elsewhere() -> None:
    with answering((503, {})) as (url, asked):
        with pytest.raises(TransientFault):
            GoogleLogs(url, 1.0, view=VIEW).entry(key_of(denial("a")))
        assert {each["resourceNames"][0] for each in asked} == {VIEW}
    with answering((200, {"entries": [denial("a")], "nextPageToken": "more"}), (503, {})) as (url, _):
        found = GoogleLogs(url, 1.0, view=VIEW).entries([key_of(denial("a")), key_of(denial("b"))])
    assert found[key_of(denial("a"))] == [json.dumps(denial("a")).encode()]
    assert isinstance(found[key_of(denial("b"))], TransientFault)


def test_missed_denials_are_read_from_the_view_as_they_were_delivered(counted: Counted) -> None:
    written = [*counted.sandbox.deploy()["entries"], *counted.sandbox.deploy(project="platform-images")["entries"]]
    found = [json.loads(each) for each in counted.logs.denials([VIEW], AGO)]
    assert found
    assert all(each in written for each in found)
    assert found == [json.loads(each) for each in counted.logs.denials(["projects/shop-frontend"], AGO)]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert list(counted.logs.denials([VIEW], later)) == []
    with pytest.raises(TerminalFault, match=r"/views/gone.*404"):
        list(counted.logs.denials([f"{VIEW.rpartition('/')[0]}/gone"], AGO))


def test_the_setting_reaches_the_look_ups(sandbox_server: SandboxProcess) -> None:
    logs = logs_from(load_settings(sandbox_server.env | {"REMEDIATE_LOG_VIEW": VIEW}))
    sandbox_server.log(denial("a"))
    assert logs
    assert len(logs.entry(key_of(denial("a")))) == 1
    assert (sandbox_server.requests("/views/"), sandbox_server.requests("entries:list")) == (1, 1)
