"""Whole stories against a counting Google Cloud: each call has its permission in deploy/installation.yaml, and no other is there."""

from __future__ import annotations

import html
import json
import os
import re
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from remediate.cloud.registry import GoogleRegistry
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from tests import warm
from tests.audit_entries import activity, deployed, push_body, system_event, user_text
from tests.sandbox_fixture import DEPLOYER, IMAGE, REPOSITORY, ROOT, SandboxProcess
from tests.wire.function_fixture import FunctionProcess

TABLE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "installation.yaml").read_text())
LEAD = "platform-lead@example.com"
LEGACY = "us-docker.pkg.dev/shop-frontend/gcr.io/legacy:v1"
SAME = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
RULES = """
rules:
  - name: who deployed before
    when: evidence.previously_deployed && evidence.same_project
    then: grant
otherwise: ask
"""


_WAKING = "POST /v1/projects/remediate-ops/topics/remediate-approvals:publish"
"""Granted on the topic itself, to the pages alone."""


def held(role: str) -> set[str]:
    """What a role of the table holds."""
    return {each["permission"] for each in TABLE["calls"] if role in each["roles"]}


VIEW = "projects/remediate-ops/locations/asia-northeast1/buckets/remediate-denials/views/remediate-denials"
VIEWING = held("roles/logging.viewAccessor")


def needed(call: str) -> str:
    """The permission of a call. Raises AssertionError for a call that the table does not have."""
    found = {each["permission"] for each in TABLE["calls"] if _is(call, each["call"])}
    assert len(found) == 1, f"{call}: in the table of permissions {len(found)} times"
    return str(found.pop())


def _is(call: str, pattern: str) -> bool:
    """Whether a call is the pattern's; `*` stands for one name in a path."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^/:]+"), call) is not None


class Story:
    """What each process asked of Google Cloud, in one organization with custom roles, tags and deploys of before."""

    def __init__(self, folder: Path) -> None:
        text = (ROOT / "sandbox" / "example.yaml").read_text()
        custom = "  - {name: organizations/400000000001/roles/nothing, permissions: [run.services.get]}\n"
        custom += "  - {name: projects/shop-frontend/roles/nothing, permissions: [run.services.get]}\n"
        bound = "".join(
            f"      - {{role: {name}, members: ['{DEPLOYER}']}}\n"
            for name in ("organizations/400000000001/roles/nothing", "projects/shop-frontend/roles/nothing")
        )
        text = text.replace(
            "    policy:\n      - role: roles/run.developer", f"    policy:\n{bound}      - role: roles/run.developer"
        )
        for folder_number in (1, 2):  # the owners of both registries opted in
            parent = f"    parent: folders/31000000000{folder_number}\n"
            text = text.replace(parent, f"{parent}    tags: [400000000001/remediate/yes]\n")
        (folder / "organization.yaml").write_text(f"{text}\nroles:\n{custom}")
        (folder / "policy.yaml").write_text(RULES)
        self.sandbox = SandboxProcess("--org", str(folder / "organization.yaml"))
        self.folder = folder
        legacy = Repository("shop-frontend", "us", "gcr.io")
        self.sandbox.log(deployed(Member(DEPLOYER), "shop-frontend", legacy, datetime(2026, 11, 1, tzinfo=UTC)))
        self.settings = {
            "REMEDIATE_ORGANIZATION": "400000000001",
            "REMEDIATE_LOCAL_REVIEWER": LEAD,
            "REMEDIATE_OPT_IN_TAG": "400000000001/remediate/yes",
            "REMEDIATE_POLICY": str(folder / "policy.yaml"),
            "REMEDIATE_LOG_VIEW": VIEW,
        }

    def calls(self) -> dict[str, int]:
        return dict(self.sandbox.call("GET", "/sandbox/requests")[1]["requests"])

    def during(self, before: dict[str, int]) -> set[str]:
        """The permissions needed since then; what is written to the log is the test's, as Google Cloud would."""
        made = {call for call, number in self.calls().items() if number > before.get(call, 0)}
        return {needed(call) for call in made - {"POST /v2/entries:write", _WAKING}}

    def received(self, mode: str) -> set[str]:
        """What a receiver needs: a denial of its own project's image, one across projects, one in a system event."""
        receiver = FunctionProcess(self.sandbox, self.folder, self.settings, REMEDIATE_MODE=mode)
        before = self.calls()
        try:
            for number, entry in enumerate(
                (
                    activity(user_text(LEGACY), images=(LEGACY,), insert_id=f"{mode}-1"),
                    activity(user_text(IMAGE), images=(IMAGE,), insert_id=f"{mode}-2"),
                    system_event() | {"insertId": f"{mode}-3"},
                )
            ):
                assert receiver.push(push_body(entry), str(number)) == 200, receiver.output
        finally:
            receiver.close()
        return self.during(before)

    def reviewed(self) -> tuple[set[str], set[str]]:
        """What the pages need, which look and record what people decide; and the writer, which carries it out."""
        topic = {"REMEDIATE_WRITER_TOPIC": "projects/remediate-ops/topics/remediate-approvals"}
        pages = FunctionProcess(self.sandbox, self.folder, self.settings | topic, target="review")
        writer = FunctionProcess(self.sandbox, self.folder, self.settings, target="carry_out")
        looked, wrote = set[str](), set[str]()
        try:
            before = self.calls()
            waiting = [each for each in pages.records() if each.state == "proposed"]
            assert waiting
            shown = [(each, _asked(f"{pages.url}r/{each.id}")) for each in waiting]
            items = [("item", f"{each.id}@{_field(page, 'content')}") for each, page in shown]
            token = _field(shown[0][1], "token")
            _asked(f"{pages.url}approve", [("token", token), ("lasts", "1h"), ("reason", "a pipeline"), *items])
            looked |= self.during(before)
            wrote |= self._carried_out(writer)
            [ours] = [each for each in pages.records() if each.member == DEPLOYER and each.repository == REPOSITORY]
            assert ours.state == "granted"
            before = self.calls()
            page = _asked(f"{pages.url}r/{ours.id}")
            _asked(f"{pages.url}r/{ours.id}/revoke", [("token", _field(page, "token")), ("reason", "over")])
            looked |= self.during(before)
            wrote |= self._carried_out(writer)
            assert DEPLOYER not in self.sandbox.readers()
        finally:
            pages.close()
            writer.close()
        return looked, wrote

    def _carried_out(self, writer: FunctionProcess) -> set[str]:
        before = self.calls()
        for each in writer.records():
            wake = {"message": {"attributes": {"remediation": each.id}}}
            assert writer.post(wake, logged=False) == 204, writer.output
        return self.during(before)

    def swept(self) -> set[str]:
        """What the sweep needs: denials that never arrived, and whatever is due by the day after tomorrow."""
        before = self.calls()
        self.sandbox.deploy(SAME)
        scope = ("--scope", "organizations/400000000001")
        for more in (("--since", "1d", *scope), ("--since", "8d", *scope), ("--as-of", "2099-01-01T00:00:00Z")):
            ledger = {"REMEDIATE_LEDGER": f"sqlite:///{self.folder / 'ledger.db'}"}
            environment = os.environ | self.sandbox.env | self.settings | ledger
            done = warm.run_text("remediate", "sweep", *more, env=environment)
            assert done.returncode == 0, done.stderr
            assert done.stdout
        return self.during(before)


def _asked(url: str, form: list[tuple[str, str]] | None = None) -> str:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, data, timeout=60) as answer:
        return str(answer.read().decode())


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found, name
    return html.unescape(found[1])


def test_no_role_holds_what_nobody_needs(tmp_path: Path) -> None:
    """In dry-run the receiver needs the evidence role alone; who writes, both; and together they hold nothing else."""
    story = Story(tmp_path)
    try:
        needs = {"dry-run": story.received("dry-run"), "enforce": story.received("enforce")}
        needs["review"], needs["writer"] = story.reviewed()
        needs["sweep"] = story.swept()
    finally:
        story.sandbox.close()
    assert needs["dry-run"] <= held("reader") | VIEWING
    reading = {who for who in needs if needs[who] >= VIEWING}
    assert reading == {"enforce", "review", "sweep", "writer"}  # in dry-run a person's approval reads the entry back
    assert {"logging.views.access"} == VIEWING
    assert SET_POLICY not in held("reader")
    assert needs["review"] <= held("reader") | VIEWING  # nobody writes who can be reached from outside
    for who in ("enforce", "sweep", "writer"):
        assert SET_POLICY in needs[who], who
        assert needs[who] <= held("reader") | held("writer") | VIEWING, who
    assert set().union(*needs.values()) == held("reader") | held("writer") | VIEWING


def test_the_writers_role_is_what_one_write_calls(sandbox_server: SandboxProcess) -> None:
    repository = Repository.parse(REPOSITORY)
    assert repository is not None
    registry = GoogleRegistry(sandbox_server.url, 5.0)
    registry.add_reader(Grant(repository, Member(DEPLOYER)), request_reason="r-1", precondition=lambda: True)
    registry.remove_reader(Grant(repository, Member(DEPLOYER)), request_reason="r-1", precondition=lambda: True)
    made = {needed(call) for call in sandbox_server.call("GET", "/sandbox/requests")[1]["requests"]}
    assert made == held("writer")


def test_the_ledger_deletes_nothing_so_its_role_cannot() -> None:
    text = (ROOT / "remediate" / "ledger" / "firestore.py").read_text()
    assert not re.search(r"\.delete\(|recursive_delete|BulkWriter", text)
    assert {each["permission"].rpartition(".")[2] for each in TABLE["ledger"]} == {"get", "list", "create", "update"}


def test_every_call_of_the_table_says_why() -> None:
    for each in [*TABLE["calls"], *TABLE["ledger"]]:
        assert len(each["why"]) > 10, json.dumps(each)
