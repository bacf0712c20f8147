"""The sandbox answers as Google does: status codes, etags, policy versions, limits, and what goes wrong on demand."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from remediate.entries.denial import Denial, Reader, understand
from remediate.entries.joining import call_of, join_call
from remediate.entries.log_entry import read_entry
from sandbox.errors import ApiError
from sandbox.logfilter import compile_filter
from tests.sandbox_fixture import AGENT, DEPLOYER, IMAGE, REPOSITORY, ROOT, SandboxProcess

READER = "roles/artifactregistry.reader"
PATH = f"/v1/{REPOSITORY}"


def policy_of(sandbox: SandboxProcess, version: int = 3) -> Any:
    return sandbox.call("GET", f"{PATH}:getIamPolicy?options.requestedPolicyVersion={version}")[1]


def write(sandbox: SandboxProcess, policy: Any) -> tuple[int, Any]:
    return sandbox.call("POST", f"{PATH}:setIamPolicy", {"policy": policy})


def test_a_stale_etag_is_a_conflict_and_an_absent_one_overwrites(sandbox_server: SandboxProcess) -> None:
    first = policy_of(sandbox_server)
    assert write(sandbox_server, first)[0] == 200
    status, answer = write(sandbox_server, first)
    assert (status, answer["error"]["status"]) == (409, "ABORTED")
    assert write(sandbox_server, {"bindings": []})[0] == 200
    assert policy_of(sandbox_server).get("bindings") == []


def test_a_policy_that_was_never_set_has_the_known_etag(sandbox_server: SandboxProcess) -> None:
    path = REPOSITORY.replace("containers", "mirror")
    assert sandbox_server.call("GET", f"/v1/{path}:getIamPolicy")[1] == {"etag": "ACAB"}


def test_below_version_3_conditions_hide_in_the_roles_name(tmp_path: Path) -> None:
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    condition = "\n          - {role: roles/artifactregistry.reader, members: [user:ana@example.com], condition: {title: t, expression: 'true'}}"
    marked = "none of them may change when a member is added"
    (tmp_path / "organization.yaml").write_text(text.replace(marked, marked + condition))
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        old, new = policy_of(sandbox, 1), policy_of(sandbox, 3)
        assert old["bindings"][0]["role"].startswith(f"{READER}_withcond_")
        assert "condition" not in old["bindings"][0]
        assert (new["version"], new["bindings"][0]["condition"]["title"]) == (3, "t")
        assert write(sandbox, old)[0] == 400
        assert write(sandbox, new)[0] == 200
        new["bindings"][0]["condition"]["title"] = "other"
        assert write(sandbox, new | {"etag": policy_of(sandbox)["etag"]})[0] == 400
    finally:
        sandbox.close()


@pytest.mark.parametrize(
    ("method", "path", "code", "status"),
    [
        ("GET", "/v1/projects/none/locations/us/repositories/r", 403, "PERMISSION_DENIED"),
        ("GET", "/v1/projects/platform-images/locations/us/repositories/r", 404, "NOT_FOUND"),
        ("GET", "/v1/projects/platform-images/locations/us/repositories/r:getIamPolicy", 404, "NOT_FOUND"),
        ("GET", "/v3/projects/none", 403, "PERMISSION_DENIED"),
        ("GET", "/v3/folders/1", 403, "PERMISSION_DENIED"),
        ("GET", "/v9/anything", 404, "NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_answered_as_google_does(
    sandbox_server: SandboxProcess, method: str, path: str, code: int, status: str
) -> None:
    answered, body = sandbox_server.call(method, path)
    assert (answered, body["error"]["code"], body["error"]["status"]) == (code, code, status)


@pytest.mark.parametrize(
    "member", ["user:nobody@example.com", "user:", "nonsense", "serviceAccount:x@y.iam.gserviceaccount.com"]
)
def test_a_member_that_does_not_exist_is_a_bad_request(sandbox_server: SandboxProcess, member: str) -> None:
    policy = policy_of(sandbox_server)
    policy["bindings"][0]["members"].append(member)
    status, answer = write(sandbox_server, policy)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_a_policy_takes_1500_principals(sandbox_server: SandboxProcess) -> None:
    policy = policy_of(sandbox_server)
    others = [
        f"principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/{n}"
        for n in range(1500)
    ]
    policy["bindings"][0]["members"] = others
    policy["bindings"] = policy["bindings"][:1]
    assert write(sandbox_server, policy)[0] == 200
    policy = policy_of(sandbox_server)
    policy["bindings"][0]["members"].append("user:ana@example.com")
    assert "1,500" in write(sandbox_server, policy)[1]["error"]["message"]


def test_projects_go_by_id_and_by_number(sandbox_server: SandboxProcess) -> None:
    for name in ("shop-frontend", "123456789012"):
        assert sandbox_server.call("GET", f"/v3/projects/{name}")[1]["projectId"] == "shop-frontend"
        assert sandbox_server.call("GET", f"/v1/projects/{name}")[1]["projectNumber"] == "123456789012"
    by_number = PATH.replace("platform-images", "210987654321")
    assert sandbox_server.call("GET", by_number)[1]["name"] == REPOSITORY
    kinds = [
        each["resourceId"]["type"]
        for each in sandbox_server.call("POST", "/v1/projects/shop-frontend:getAncestry", {})[1]["ancestor"]
    ]
    assert kinds == ["project", "folder", "organization"]


def test_lists_come_in_pages(sandbox_server: SandboxProcess) -> None:
    path = "/v1/projects/platform-images/locations/asia-northeast1/repositories"
    _, first = sandbox_server.call("GET", f"{path}?pageSize=1")
    _, second = sandbox_server.call("GET", f"{path}?pageSize=1&pageToken={first['nextPageToken']}")
    assert [first["repositories"][0]["name"], second["repositories"][0]["name"]] == [
        REPOSITORY,
        REPOSITORY.replace("containers", "mirror"),
    ]
    assert "nextPageToken" not in second
    assert sandbox_server.call("GET", f"{path}?pageToken=x")[0] == 400


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["service", "job", "worker-pool"])
def test_each_denial_is_one_that_the_function_understands(sandbox_server: SandboxProcess, kind: str, api: str) -> None:
    outcome = sandbox_server.deploy(kind=kind, api=api, via="principal://x")
    assert outcome["exit_code"] == 1
    [entry] = outcome["entries"]
    found = understand(read_entry(json.dumps(entry).encode()))
    assert isinstance(found, Denial)
    assert (found.reader, str(found.member), str(found.repository), found.doubts) == (
        Reader.DEPLOYER,
        DEPLOYER,
        REPOSITORY,
        (),
    )
    assert (found.deploy.project, found.deploy.name, found.deploy.kind) == (
        "shop-frontend",
        "web",
        kind.replace("-", "_"),
    )

    policy = policy_of(sandbox_server)
    policy["bindings"][0]["members"].append(DEPLOYER)
    write(sandbox_server, policy)
    outcome = sandbox_server.deploy(kind=kind, api=api)
    assert outcome["exit_code"] == 1
    denials = [understand(read_entry(json.dumps(each).encode())) for each in outcome["entries"]]
    agents = [each for each in denials if isinstance(each, Denial)]
    assert len(agents) == (2 if api == "v2" else 1)  # a v2 call's last entry tells it too
    calls = [call for each in outcome["entries"] if (call := call_of(read_entry(json.dumps(each).encode())))]
    for agent in (join_call(each, calls) for each in agents):
        assert (agent.reader, str(agent.member), str(agent.repository), agent.doubts) == (
            Reader.SERVICE_AGENT,
            AGENT,
            REPOSITORY,
            (),
        )
        assert (str(agent.deployer), agent.deploy.kind, agent.deploy.name) == (DEPLOYER, kind.replace("-", "_"), "web")
        assert (agent.authorized, agent.call and agent.call.insert_id) == (True, outcome["entries"][0]["insertId"])

    policy = policy_of(sandbox_server)
    policy["bindings"][0]["members"].append(AGENT)
    write(sandbox_server, policy)
    outcome = sandbox_server.deploy(kind=kind, api=api)
    assert outcome["exit_code"] == 0
    assert not any(isinstance(understand(read_entry(json.dumps(each).encode())), Denial) for each in outcome["entries"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": IMAGE.replace("today", "never")}, "must have permission to read the image"),
        ({"image": "ghcr.io/acme/app:1"}, "Expected an image path like"),
        ({"member": "user:security@example.com"}, "run.services.create"),
        ({"image": "asia-northeast1-docker.pkg.dev/platform-images/none/app"}, "downloadArtifacts"),
        (
            {
                "member": "user:platform-lead@example.com",
                "project": "platform-images",
                "image": IMAGE.replace("today", "never"),
            },
            "not found",
        ),
    ],
)
def test_a_deploy_fails_for_the_reason_that_cloud_run_would_give(
    sandbox_server: SandboxProcess, change: dict[str, str], said: str
) -> None:
    outcome = sandbox_server.deploy(**change)
    assert outcome["exit_code"] == 1
    assert said in " ".join(outcome["lines"])


@pytest.mark.parametrize(
    ("version", "manifest"),
    [("", "latest"), (":today", "today"), (f"@sha256:{'a' * 64}", f"sha256:{'a' * 64}")],
    ids=["none", "tag", "digest"],
)
def test_a_denial_shows_the_manifest_that_was_asked_for(
    sandbox_server: SandboxProcess, version: str, manifest: str
) -> None:
    outcome = sandbox_server.deploy(image=IMAGE.removesuffix(":today") + version)
    path = "v2/platform-images/containers/shop/web/manifests"
    assert f"GET https://asia-northeast1-docker.pkg.dev/{path}/{manifest}\n" in "\n".join(outcome["lines"])


def test_an_owner_deploys_images_of_the_own_project(sandbox_server: SandboxProcess) -> None:
    outcome = sandbox_server.deploy(member="user:platform-lead@example.com", project="platform-images")
    assert outcome["exit_code"] == 0


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any], list[int]]]:
    """A subscriber: its address, what it received, and the status codes that it answers first."""
    received: list[Any] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((dict(self.headers), json.loads(body)))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received, statuses
    server.shutdown()
    server.server_close()


def test_an_entry_is_pushed_again_until_it_is_acknowledged(
    sandbox_server: SandboxProcess, receiver: tuple[str, list[Any], list[int]]
) -> None:
    url, received, statuses = receiver
    statuses += [500, 503, 404]
    sandbox_server.subscribe(url)
    [entry] = sandbox_server.deploy()["entries"]
    sandbox_server.drain()
    assert len(received) == 4
    headers, body = received[-1]
    sent = {name.lower(): value for name, value in headers.items()}
    assert sent["ce-type"] == "google.cloud.pubsub.topic.v1.messagePublished"
    assert sent["ce-id"] == body["message"]["messageId"]
    assert [each["deliveryAttempt"] for _, each in received] == [1, 2, 3, 4]
    data = base64.b64decode(body["message"]["data"])
    assert data.endswith(b"\n")
    assert json.loads(data) == entry


def test_the_sink_lets_through_what_its_filter_says(
    sandbox_server: SandboxProcess, receiver: tuple[str, list[Any], list[int]]
) -> None:
    url, received, _ = receiver
    sandbox_server.subscribe(url)
    write(sandbox_server, policy_of(sandbox_server))
    sandbox_server.deploy()
    sandbox_server.drain()
    assert len(received) == 1


def test_a_written_entry_is_listed_by_filter_and_scope(sandbox_server: SandboxProcess) -> None:
    sandbox_server.deploy()
    entry = {"logName": "projects/platform-images/logs/app", "severity": "INFO", "textPayload": "hello"}
    assert sandbox_server.call("POST", "/v2/entries:write", {"entries": [entry]})[0] == 200

    def listed(scope: str, text: str) -> int:
        return len(
            sandbox_server.call("POST", "/v2/entries:list", {"resourceNames": [scope], "filter": text})[1]["entries"]
        )

    assert listed("organizations/400000000001", "") == 0  # its own log alone; each project keeps its own
    assert listed("projects/shop-frontend", "") == 1
    assert listed("projects/platform-images", "") == 1
    assert listed("projects/platform-images", "severity>=ERROR") == 0
    assert listed("projects/shop-frontend", 'protoPayload.status.message:"must have permission"') == 1
    assert (
        sandbox_server.call("POST", "/v2/entries:list", {"resourceNames": ["projects/shop-frontend"], "filter": "a=("})[
            0
        ]
        == 400
    )
    assert sandbox_server.call("POST", "/v2/entries:list", {"filter": ""})[0] == 400


ENTRY = {
    "severity": "ERROR",
    "labels": {"a.b": "c"},
    "protoPayload": {"status": {"code": 7, "message": "x y"}},
    "list": [{"n": 1}, {"n": 2}],
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("severity=ERROR", True),
        ("severity>=WARNING AND protoPayload.status.code=7", True),
        ("severity>ERROR", False),
        ("NOT severity=ERROR", False),
        ("-severity=INFO", True),
        ("severity=INFO OR protoPayload.status.code>=7", True),
        ("severity=INFO OR severity=ERROR AND protoPayload.status.code=8", False),
        ('severity=("INFO" OR "ERROR")', True),
        ('protoPayload.status.message=~"^x"', True),
        ('protoPayload.status.message!~"^x"', False),
        ('labels."a.b"="c"', True),
        ("list.n=2", True),
        ("missing.field=1", False),
        ("missing.field!=1", True),
        ('"X Y"', True),
        ("-- a comment\nseverity=ERROR", True),
    ],
)
def test_the_query_language_means_what_it_means_at_google(text: str, matches: bool) -> None:
    assert compile_filter(text)(ENTRY) is matches


@pytest.mark.parametrize(
    "text", ["severity=", "(severity=ERROR", "severity=ERROR)", "AND", 'a=~"("', "a=1 {", "(" * 3000]
)
def test_a_filter_that_is_none_is_a_bad_request(text: str) -> None:
    with pytest.raises(ApiError):
        compile_filter(text)(ENTRY)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


BAD_ORGANIZATIONS = {
    "organizations: []\nprojects: [{id: p}]\n": "number",
    "organizations: []\nprojects: []\nprojcts: []\n": "projcts",
    "organizations: []\nprojects: [{id: p, number: '1', parent: folders/9}]\n": "folders/9",
    "organizations: [\n": "organization.yaml",
    "organizations: []\nprojects: []\nfolders: [{id: '1', name: a, parent: folders/2}, {id: '2', name: b, parent: folders/1}]\n": "its own ancestor",
    "organizations: []\nprojects: [{id: p, number: '1'}, {id: p, number: '2'}]\n": "described twice",
}


@pytest.mark.parametrize(("text", "named"), BAD_ORGANIZATIONS.items(), ids=BAD_ORGANIZATIONS.values())
def test_a_bad_organization_file_is_named_with_the_place(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "organization.yaml").write_text(text)
    done = run("serve", "--org", str(tmp_path / "organization.yaml"), "--port", "0")
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_and_a_missing_file_are_told(sandbox_server: SandboxProcess, tmp_path: Path) -> None:
    port = sandbox_server.url.rpartition(":")[2]
    taken = run("serve", "--port", port)
    assert (taken.returncode, f"port {port} is taken" in taken.stderr) == (2, True)
    assert "none.yaml" in run("serve", "--org", str(tmp_path / "none.yaml")).stderr
    (tmp_path / "faults.yaml").write_text("[{match: x, effect: earthquake}]")
    assert "earthquake" in run("serve", "--port", "0", "--faults", str(tmp_path / "faults.yaml")).stderr


def test_deploy_prints_what_gcloud_would_and_exits_alike(sandbox_server: SandboxProcess) -> None:
    common = ["deploy", "--project", "shop-frontend", "--as", DEPLOYER.partition(":")[2], "--url", sandbox_server.url]
    failed = run(*common, "--image", IMAGE)
    assert failed.returncode == 1
    assert failed.stderr.startswith("ERROR: (gcloud.run.deploy) PERMISSION_DENIED: User must have permission")
    for arguments in (["--kind", "function"], ["--api", "v3"], ["--project", "none"]):
        assert run(*common, "--image", IMAGE, *arguments).returncode == 2
    nobody = run("deploy", "--project", "p", "--as", "a@example.com", "--image", IMAGE, "--url", "http://127.0.0.1:9")
    assert (nobody.returncode, "python -m sandbox serve" in nobody.stderr) == (2, True)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 412, 418, 429, 499, 500, 501, 502, 503, 504, 599])
def test_a_fault_answers_with_the_code_that_it_says(sandbox_server: SandboxProcess, code: int) -> None:
    sandbox_server.faults({"match": "/v3/projects", "effect": "status", "code": code})
    status, answer = sandbox_server.call("GET", "/v3/projects/shop-frontend")
    assert (status, answer["error"]["code"]) == (code, code)
    assert set(answer["error"]) == {"code", "message", "status"}
    usual = {400: "INVALID_ARGUMENT", 412: "FAILED_PRECONDITION", 500: "INTERNAL", 503: "UNAVAILABLE", 418: "UNKNOWN"}
    assert answer["error"]["status"] == usual.get(code, answer["error"]["status"])
    assert sandbox_server.call("GET", "/v3/projects/shop-frontend")[0] == 200


@pytest.mark.parametrize("code", [200, 302, 399, 600])
def test_a_fault_that_is_no_error_is_not_taken(sandbox_server: SandboxProcess, code: int) -> None:
    fault = {"match": ".", "effect": "status", "code": code}
    assert sandbox_server.call("PUT", "/sandbox/faults", [fault])[0] == 400
