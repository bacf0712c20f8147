"""gcloud and Google's own Python clients, run against the sandbox: they know nothing of it, and see a Google Cloud."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_fixture import AGENT, DEPLOYER, REPOSITORY, SandboxProcess

READER = "roles/artifactregistry.reader"
WHERE = ["--project=platform-images", "--location=asia-northeast1"]


class Gcloud:
    """gcloud, talking to a sandbox and to nothing else."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.environment = os.environ | sandbox.env | {
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_PROJECT": "shop-frontend",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        }  # fmt: skip

    def __call__(self, *arguments: str) -> Any:
        done = subprocess.run(
            ["gcloud", *arguments, "--format=json"], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def gcloud(sandbox_server: SandboxProcess, tmp_path: Path) -> Gcloud:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    return Gcloud(sandbox_server, tmp_path)


def test_gcloud_reads_and_changes_a_repositorys_policy(gcloud: Gcloud, sandbox_server: SandboxProcess) -> None:
    before = gcloud("artifacts", "repositories", "get-iam-policy", "containers", *WHERE)
    assert before["bindings"] == sandbox_server.policies()[REPOSITORY]["bindings"]
    after = gcloud(
        "artifacts",
        "repositories",
        "add-iam-policy-binding",
        "containers",
        *WHERE,
        f"--member={DEPLOYER}",
        f"--role={READER}",
    )
    assert after["etag"] != before["etag"]
    assert DEPLOYER in sandbox_server.readers()


def test_gcloud_describes_projects_and_repositories(gcloud: Gcloud) -> None:
    assert gcloud("projects", "describe", "shop-frontend")["projectNumber"] == "123456789012"
    assert gcloud("artifacts", "repositories", "describe", "containers", *WHERE)["name"] == REPOSITORY
    listed = gcloud("artifacts", "repositories", "list", *WHERE)
    assert [each["mode"] for each in listed] == ["STANDARD_REPOSITORY", "VIRTUAL_REPOSITORY"]


def test_what_gcloud_exports_is_what_plan_reads(gcloud: Gcloud, sandbox_server: SandboxProcess, tmp_path: Path) -> None:
    import sys

    sandbox_server.deploy()
    text = 'protoPayload.serviceName="run.googleapis.com" severity>=ERROR'
    found = gcloud("logging", "read", text, "--project=shop-frontend", "--freshness=30d")
    assert len(found) == 1
    (tmp_path / "export.json").write_text(json.dumps(found, indent=2))
    command = [sys.executable, "-m", "remediate", "plan", str(tmp_path / "export.json"), "--format", "gcloud"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    commands = [line for line in lines if line.startswith("gcloud ")]
    assert len(commands) == 1
    subprocess.run(commands[0], shell=True, env=gcloud.environment, capture_output=True, check=True)
    assert DEPLOYER in sandbox_server.readers()


def test_the_official_clients_see_a_google_cloud(sandbox_server: SandboxProcess) -> None:
    from google.api_core.client_options import ClientOptions
    from google.api_core.exceptions import Conflict, Forbidden, NotFound
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import artifactregistry_v1, logging, resourcemanager_v3
    from google.iam.v1 import iam_policy_pb2

    options = ClientOptions(api_endpoint=sandbox_server.url)
    credentials = AnonymousCredentials()
    registry = artifactregistry_v1.ArtifactRegistryClient(
        transport="rest", credentials=credentials, client_options=options
    )
    assert registry.get_repository(name=REPOSITORY).format_.name == "DOCKER"
    assert len(list(registry.list_repositories(parent=REPOSITORY.rpartition("/repositories")[0]))) == 2
    policy = registry.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource=REPOSITORY))
    policy.bindings[0].members.append(AGENT)
    request = iam_policy_pb2.SetIamPolicyRequest(resource=REPOSITORY, policy=policy)
    registry.set_iam_policy(request=request)
    with pytest.raises(Conflict):
        registry.set_iam_policy(request=request)
    with pytest.raises(NotFound):
        registry.get_repository(name=REPOSITORY + "x")
    allowed = registry.test_iam_permissions(
        request=iam_policy_pb2.TestIamPermissionsRequest(
            resource=REPOSITORY, permissions=["artifactregistry.repositories.get"]
        )
    )
    assert list(allowed.permissions) == []

    projects = resourcemanager_v3.ProjectsClient(transport="rest", credentials=credentials, client_options=options)
    assert projects.get_project(name="projects/shop-frontend").name == "projects/123456789012"
    with pytest.raises(Forbidden):
        projects.get_project(name="projects/none")
    folders = resourcemanager_v3.FoldersClient(transport="rest", credentials=credentials, client_options=options)
    assert folders.get_folder(name="folders/310000000001").parent == "organizations/400000000001"

    logs = logging.Client(project="shop-frontend", credentials=credentials, client_options=options, _use_grpc=False)
    logs.logger("test").log_struct({"message": "hello"}, severity="ERROR")
    [entry] = list(logs.list_entries(filter_="severity>=ERROR"))
    assert entry.payload == {"message": "hello"}
