"""Allow policies, tags and roles by Google's clients and REST against the sandbox: what is seen, kept, and not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediate.cloud.projects import GoogleProjects
from remediate.cloud.roles import GoogleRoles, UnknownRoles
from remediate.cloud.troubleshooter import GoogleTroubleshooter
from remediate.errors import TerminalFault, TransientFault
from remediate.iam.access import predefined_readers
from remediate.iam.allow_policy import Binding
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.reasons import Reason
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import activity, denial, user_text
from tests.sandbox_fixture import ROOT, SandboxProcess

TAG = "400000000001/remediate/allowed"
ROLES = """
roles:
  - {name: projects/platform-images/roles/imageReader, permissions: [artifactregistry.repositories.downloadArtifacts]}
  - {name: organizations/400000000001/roles/nothing, permissions: [run.services.get]}
"""


@pytest.fixture
def tagged(tmp_path: Path) -> SandboxProcess:
    text = (ROOT / "sandbox" / "example.yaml").read_text() + ROLES
    text = text.replace('number: "210987654321"\n', f'number: "210987654321"\n    tags: [{TAG}]\n')
    (tmp_path / "organization.yaml").write_text(text)
    return SandboxProcess("--org", str(tmp_path / "organization.yaml"))


def test_allow_policies_are_read_once_a_minute_and_what_is_not_seen_is_unknown(sandbox_server: SandboxProcess) -> None:
    now = [0.0]
    projects = GoogleProjects(sandbox_server.url, 2.0, monotonic=lambda: now[0])
    found = projects.bindings("projects/platform-images")
    assert found == [Binding("roles/owner", ("user:platform-lead@example.com",))]
    assert projects.bindings("folders/310000000001") == []
    above = projects.bindings("organizations/400000000001") or []
    assert [each.role.rpartition("/")[2] for each in above] == ["remediateReader", "remediateWriter"]
    assert projects.bindings("organizations/1") is None
    assert projects.bindings("projects/platform-images") == found
    assert sandbox_server.requests("platform-images:getIamPolicy") == 1
    now[0] = 60
    assert projects.bindings("projects/platform-images") == found
    assert sandbox_server.requests("platform-images:getIamPolicy") == 2


def test_tags_are_read_by_either_name(tagged: SandboxProcess) -> None:
    try:
        projects = GoogleProjects(tagged.url, 2.0)
        images, shop = projects.find("platform-images"), projects.find("shop-frontend")
        assert images
        assert shop
        tags = projects.tags(images)
        assert tags
        assert TAG in tags
        assert any(tag.startswith("tagValues/") for tag in tags)
        assert projects.tags(shop) == frozenset()
    finally:
        tagged.close()


def test_custom_roles_are_looked_up_and_what_cannot_be_is_unknown(tagged: SandboxProcess) -> None:
    try:
        roles = GoogleRoles(tagged.url, 2.0)
        assert roles.holds("projects/platform-images/roles/imageReader") is True
        assert roles.holds("organizations/400000000001/roles/nothing") is False
        assert roles.holds("projects/platform-images/roles/never") is None
        assert roles.holds("projects/../../roles/x?y") is None
        assert roles.holds("projects/platform-images/roles/imageReader") is True
        assert tagged.requests("roles/imageReader") == 1
        assert UnknownRoles().holds("projects/platform-images/roles/imageReader") is None
    finally:
        tagged.close()


def test_the_shipped_roles_are_what_the_api_tells(sandbox_server: SandboxProcess) -> None:
    assert set(GoogleRoles(sandbox_server.url, 2.0).predefined_readers()) == predefined_readers()
    sandbox_server.faults({"match": "GET /v1/roles", "effect": "status", "code": 503, "times": None})
    with pytest.raises(TransientFault):
        list(GoogleRoles(sandbox_server.url, 0.2).predefined_readers())


def test_only_definite_answers_of_the_troubleshooter_count(tmp_path: Path) -> None:
    text = (ROOT / "sandbox" / "example.yaml").read_text()
    text = text.replace('number: "210987654321"\n', 'number: "210987654321"\n    denied: ["user:ana@example.com"]\n')
    (tmp_path / "organization.yaml").write_text(text)
    sandbox = SandboxProcess("--org", str(tmp_path / "organization.yaml"))
    try:
        troubleshooter = GoogleTroubleshooter(sandbox.url, 2.0)
        containers = Repository("platform-images", "asia-northeast1", "containers")
        assert troubleshooter.denied_by_policy(containers, Member("user:ana@example.com")) is True
        assert troubleshooter.denied_by_policy(containers, Member("user:security@example.com")) is False
        federated = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/x"
        assert troubleshooter.denied_by_policy(containers, Member(federated)) is None
        with pytest.raises(TerminalFault):
            troubleshooter.denied_by_policy(
                Repository("platform-images", "us", "never"), Member("user:ana@example.com")
            )
        settings = sandbox.env | {"REMEDIATE_LEDGER": f"sqlite:///{tmp_path}/l.db", "REMEDIATE_TROUBLESHOOTER": "on"}
        remediator = remediator_from(load_settings(settings))
        image = "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:today"
        denied = denial(activity(user_text(image), images=(image,), email="ana@example.com"))
        assert remediator.handle(denied).decision.reasons == (Reason.BARRED,)
    finally:
        sandbox.close()
