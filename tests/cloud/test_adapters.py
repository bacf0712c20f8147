"""Google's clients against the sandbox over HTTP: the one write, what it leaves alone, and every way it can go wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from remediate.cloud.interface import Project, RepositoryDescription
from remediate.cloud.projects import GoogleProjects
from remediate.cloud.registry import GoogleRegistry
from remediate.cloud.rest import get_public
from remediate.errors import TerminalFault, TransientFault
from remediate.iam.grant import Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from tests.sandbox_fixture import DEPLOYER, REPOSITORY, ROOT, SandboxProcess

MEMBER = Member(DEPLOYER)
CONTAINERS = Repository("platform-images", "asia-northeast1", "containers")
READER = "roles/artifactregistry.reader"


def always() -> bool:
    return True


def registry_of(sandbox: SandboxProcess, timeout: float = 2.0) -> GoogleRegistry:
    return GoogleRegistry(sandbox.url, timeout)


def add(sandbox: SandboxProcess, member: Member = MEMBER, timeout: float = 2.0) -> bool:
    return (
        registry_of(sandbox, timeout)
        .add_reader(Grant(CONTAINERS, member), request_reason="r-0123456789ab", precondition=always)
        .written
    )


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[Callable[[str], SandboxProcess]]:
    """Start sandboxes whose `containers` repository has another policy than the example's."""
    running: list[SandboxProcess] = []

    def start(policy: str) -> SandboxProcess:
        text = (ROOT / "sandbox" / "example.yaml").read_text()
        head, _, tail = text.partition("        policy: # grants made by hand")
        tail = tail[tail.index("      - {name: mirror") :]
        (tmp_path / "organization.yaml").write_text(head + policy + tail)
        running.append(SandboxProcess("--org", str(tmp_path / "organization.yaml")))
        return running[-1]

    yield start
    for sandbox in running:
        sandbox.close()


def test_one_member_is_added_and_nothing_else_changes(sandbox_server: SandboxProcess) -> None:
    expected = copy.deepcopy(sandbox_server.policies())
    expected[REPOSITORY]["bindings"][0]["members"].append(DEPLOYER)
    assert add(sandbox_server)
    after = sandbox_server.policies()
    assert after[REPOSITORY].pop("etag") != expected[REPOSITORY].pop("etag")
    assert after == expected


def test_a_member_that_is_there_is_not_written_again(sandbox_server: SandboxProcess) -> None:
    assert add(sandbox_server)
    assert not add(sandbox_server)
    assert registry_of(sandbox_server).has_reader(Grant(CONTAINERS, MEMBER))
    assert sandbox_server.requests(":setIamPolicy") == 1


CONDITIONAL = """
        audit_configs: [{service: allServices, auditLogConfigs: [{logType: DATA_READ}]}]
        policy:
          - role: roles/artifactregistry.reader
            members: ["user:ana@example.com"]
            condition: {title: until, expression: 'request.time < timestamp("2030-01-01T00:00:00Z")'}
          - role: roles/artifactregistry.writer
            members: ["serviceAccount:builder@platform-images.iam.gserviceaccount.com"]
          - role: roles/artifactregistry.reader
            members: ["user:security@example.com"]
          - role: projects/platform-images/roles/custom
            members: ["user:ana@example.com"]
"""


def test_conditions_order_custom_roles_and_audit_configuration_survive(
    seeded: Callable[[str], SandboxProcess],
) -> None:
    sandbox = seeded(CONDITIONAL)
    expected = sandbox.policies()[REPOSITORY]
    expected["bindings"][2]["members"].append(DEPLOYER)
    assert add(sandbox)
    after = sandbox.policies()[REPOSITORY]
    after.pop("etag")
    expected.pop("etag")
    assert after == expected
    assert after["version"] == 3


def test_a_repository_without_a_policy_gets_its_first_binding(sandbox_server: SandboxProcess) -> None:
    mirror = Repository("platform-images", "asia-northeast1", "mirror")
    assert (
        registry_of(sandbox_server).add_reader(Grant(mirror, MEMBER), request_reason="r", precondition=always).written
    )
    assert sandbox_server.policies()[str(mirror)]["bindings"] == [{"role": READER, "members": [DEPLOYER]}]


HEALED: dict[str, list[dict[str, Any]]] = {
    "conflicts": [{"match": "setIamPolicy", "effect": "status", "code": 409, "times": 3}],
    "a quota": [{"match": "IamPolicy", "effect": "status", "code": 429, "times": 2}],
    "an outage": [{"match": "containers", "effect": "status", "code": 503, "times": 2}],
    "an answer lost after the write": [{"match": "setIamPolicy", "effect": "lost_answer", "times": 1}],
    "a read that is never answered": [{"match": "getIamPolicy", "effect": "timeout", "seconds": 1.2, "times": 1}],
    "a write that is never answered": [{"match": "setIamPolicy", "effect": "timeout", "seconds": 1.2, "times": 1}],
    "a racing writer": [{"match": "setIamPolicy", "effect": "racing_writer", "times": 2}],
    "latency": [{"match": "IamPolicy", "effect": "latency", "seconds": 0.2, "times": 2}],
}


@pytest.mark.parametrize("faults", HEALED.values(), ids=HEALED)
def test_passing_faults_are_healed_and_the_member_is_there_once(
    sandbox_server: SandboxProcess, faults: list[dict[str, Any]]
) -> None:
    sandbox_server.faults(*faults)
    assert add(sandbox_server, timeout=1.0)
    assert sandbox_server.readers().count(DEPLOYER) == 1
    assert "group:release-managers@example.com" in sandbox_server.readers()


def test_a_racing_writer_that_adds_the_same_member_is_no_write_of_ours(sandbox_server: SandboxProcess) -> None:
    sandbox_server.faults({"match": "setIamPolicy", "effect": "racing_writer", "member": DEPLOYER})
    assert not add(sandbox_server)
    assert sandbox_server.readers().count(DEPLOYER) == 1


@pytest.mark.parametrize("code", [401, 409, 429, 503])
def test_a_fault_that_does_not_pass_in_time_is_transient(sandbox_server: SandboxProcess, code: int) -> None:
    sandbox_server.faults({"match": "setIamPolicy", "effect": "status", "code": code, "times": None})
    with pytest.raises(TransientFault, match="setIamPolicy projects/platform-images"):
        add(sandbox_server, timeout=1.0)


def test_nobody_listening_is_transient() -> None:
    with pytest.raises(TransientFault):
        GoogleRegistry("http://127.0.0.1:9", 1.0).describe(CONTAINERS)


def test_final_answers_are_terminal_and_say_what_google_said(sandbox_server: SandboxProcess) -> None:
    with pytest.raises(TerminalFault, match=r"400 .*nobody@example\.com does not exist"):
        add(sandbox_server, Member("user:nobody@example.com"))
    with pytest.raises(TerminalFault, match="403 "):
        registry_of(sandbox_server).describe(Repository("no-such-project", "us", "r"))
    with pytest.raises(TerminalFault, match="404 "):
        registry_of(sandbox_server).has_reader(Grant(Repository("platform-images", "us", "none"), MEMBER))
    assert sandbox_server.requests(":setIamPolicy") == 1


def test_an_etag_goes_with_every_write_and_none_is_written_blindly(sandbox_server: SandboxProcess) -> None:
    from google.iam.v1.policy_pb2 import Policy

    with pytest.raises(TerminalFault, match="without an etag"):
        registry_of(sandbox_server)._write(CONTAINERS, Policy(), "r-0123456789ab")
    assert sandbox_server.requests(":setIamPolicy") == 0


def test_the_request_reason_reaches_googles_own_trail(sandbox_server: SandboxProcess) -> None:
    add(sandbox_server)
    _, found = sandbox_server.call(
        "POST",
        "/v2/entries:list",
        {"resourceNames": ["projects/platform-images"], "filter": 'protoPayload.methodName:"SetIamPolicy"'},
    )
    [entry] = found["entries"]
    assert entry["protoPayload"]["requestMetadata"]["requestAttributes"]["reason"] == "r-0123456789ab"


def test_a_repository_exists_or_not(sandbox_server: SandboxProcess) -> None:
    registry = registry_of(sandbox_server)
    assert registry.describe(CONTAINERS)
    assert registry.describe(msgspec.structs.replace(CONTAINERS, project="210987654321"))
    assert not registry.describe(msgspec.structs.replace(CONTAINERS, name="none"))


def test_what_a_repository_holds_and_whether_gcr_io_leads_to_it(sandbox_server: SandboxProcess) -> None:
    kind = registry_of(sandbox_server).describe
    legacy = Repository("shop-frontend", "us", "gcr.io")
    assert kind(CONTAINERS) == RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", None)
    assert kind(msgspec.structs.replace(CONTAINERS, name="mirror")) == RepositoryDescription(
        "DOCKER", "VIRTUAL_REPOSITORY", None
    )
    assert kind(legacy) == RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", redirected=True)
    sandbox_server.faults({"match": "projectSettings", "effect": "status", "code": 403})
    assert kind(legacy) == RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", redirected=None)


def test_where_redirection_is_off_gcr_io_leads_elsewhere(tmp_path: Path) -> None:
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    off = '    number: "123456789012"\n    redirection: REDIRECTION_FROM_GCR_IO_DISABLED\n'
    (tmp_path / "organization.yaml").write_text(text.replace('    number: "123456789012"\n', off))
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        found = registry_of(sandbox).describe(Repository("shop-frontend", "us", "gcr.io"))
        assert found == RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", redirected=False)
    finally:
        sandbox.close()


@pytest.mark.parametrize(("label", "newcomers"), [("deployers", True), ("yes", False), ("Deployers", False)])
def test_a_repositorys_label_lets_newcomers_in(tmp_path: Path, label: str, newcomers: bool) -> None:
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    plain = "{name: app, location: asia-northeast1, images"
    assert plain in text
    labelled = plain.replace("images", f"labels: {{remediate: '{label}', team: shop}}, images")
    (tmp_path / "organization.yaml").write_text(text.replace(plain, labelled))
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        found = registry_of(sandbox).describe(Repository("shop-frontend", "asia-northeast1", "app"))
        assert found == RepositoryDescription("DOCKER", "STANDARD_REPOSITORY", newcomers=newcomers)
    finally:
        sandbox.close()


def test_32_writers_on_one_repository_all_succeed(tmp_path: Path) -> None:
    members = [f"serviceAccount:deployer-{number}@shop-frontend.iam.gserviceaccount.com" for number in range(32)]
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    listed = "".join(f"  - {member}\n" for member in members)
    (tmp_path / "organization.yaml").write_text(text.replace("identities:\n", f"identities:\n{listed}"))
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        with ThreadPoolExecutor(8) as pool:
            # Each a registry of its own, as in 32 instances: nothing but the etag stands between them.
            written = list(pool.map(lambda member: add(sandbox, Member(member), 10.0), members))
        assert all(written)
        assert set(members) <= set(sandbox.readers())
        assert len(sandbox.readers()) == 34
    finally:
        sandbox.close()


@pytest.mark.parametrize("name", ["platform-images", "210987654321"])
def test_a_project_is_found_by_id_and_by_number_with_its_organization(
    sandbox_server: SandboxProcess, name: str
) -> None:
    found = GoogleProjects(sandbox_server.url, 2.0).find(name)
    assert found == Project(
        "platform-images", "210987654321", "400000000001", ("folders/310000000002", "organizations/400000000001")
    )


def test_a_project_is_remembered_for_a_while_and_then_asked_for_again(sandbox_server: SandboxProcess) -> None:
    now = 0.0
    projects = GoogleProjects(sandbox_server.url, 2.0, monotonic=lambda: now)
    projects.find("shop-frontend")
    projects.find("shop-frontend")
    assert sandbox_server.requests("/v3/projects/shop-frontend") == 1
    now = 301.0
    projects.find("shop-frontend")
    assert sandbox_server.requests("/v3/projects/shop-frontend") == 2


def test_what_may_not_be_seen_is_unknown_and_never_a_no(sandbox_server: SandboxProcess) -> None:
    projects = GoogleProjects(sandbox_server.url, 2.0)
    assert projects.find("no-such-project") is None
    sandbox_server.faults({"match": "/v3/folders/", "effect": "status", "code": 403, "times": None})
    found = projects.find("platform-images")
    assert found
    assert found.organization is msgspec.UNSET
    sandbox_server.faults({"match": "/v3/", "effect": "status", "code": 503, "times": None})
    with pytest.raises(TransientFault):
        GoogleProjects(sandbox_server.url, 1.0).find("platform-images")


def test_taking_away_what_was_added_leaves_the_policy_as_it_was(sandbox_server: SandboxProcess) -> None:
    registry = registry_of(sandbox_server)
    mirror = Repository("platform-images", "asia-northeast1", "mirror")
    for repository in (CONTAINERS, mirror):
        before = sandbox_server.policies()[str(repository)].get("bindings", [])
        assert registry.add_reader(Grant(repository, MEMBER), request_reason="r", precondition=always).written
        assert registry.remove_reader(Grant(repository, MEMBER), request_reason="r", precondition=always).written
        assert sandbox_server.policies()[str(repository)].get("bindings", []) == before
        assert not registry.remove_reader(Grant(repository, MEMBER), request_reason="r", precondition=always).written
    assert sandbox_server.requests(":setIamPolicy") == 4


@pytest.mark.parametrize("faults", HEALED.values(), ids=HEALED)
def test_taking_away_heals_as_adding_does(sandbox_server: SandboxProcess, faults: list[dict[str, Any]]) -> None:
    add(sandbox_server)
    sandbox_server.faults(*faults)
    assert (
        registry_of(sandbox_server, 1.0)
        .remove_reader(Grant(CONTAINERS, MEMBER), request_reason="r", precondition=always)
        .written
    )
    assert DEPLOYER not in sandbox_server.readers()
    assert "group:release-managers@example.com" in sandbox_server.readers()


def test_without_credentials_a_project_is_unknown_not_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert GoogleProjects(None, 1.0).find("shop-frontend") is None


def test_what_an_organization_or_a_folder_holds_is_every_project_beneath_it(sandbox_server: SandboxProcess) -> None:
    projects = GoogleProjects(sandbox_server.url, 2.0)
    assert projects.list_projects("organizations/400000000001") == [
        "projects/platform-images",
        "projects/remediate-ops",
        "projects/shop-frontend",
    ]
    assert projects.list_projects("folders/310000000001") == ["projects/shop-frontend"]
    assert projects.list_projects("projects/shop-frontend") == ["projects/shop-frontend"]
    assert projects.list_projects("folders/7") == []


def test_the_projects_of_scripts_are_left_out() -> None:
    names = {"shop-frontend": "1", "sys-admin": "1", f"sys-{'7' * 26}": "2", f"sys-{'8' * 26}": "1"}
    found = [SimpleNamespace(project_id=name, parent=f"organizations/{number}") for name, number in names.items()]
    projects = GoogleProjects(None, 2.0)
    projects.__dict__["_projects"] = SimpleNamespace(search_projects=lambda **_: found)
    assert projects.list_projects("organizations/1") == ["projects/shop-frontend", "projects/sys-admin"]


def test_what_anybody_may_read_is_asked_for_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_credentials(**_: object) -> None:
        raise AssertionError("credentials were looked for")

    monkeypatch.setattr("google.auth.default", no_credentials)
    with pytest.raises(TransientFault, match="get the keys"):
        get_public("https://127.0.0.1:1/keys", 0.2, "get the keys")
