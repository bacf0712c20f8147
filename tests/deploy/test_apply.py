"""`terraform apply` of the module against a stand-in cloud: from nothing, again, destroyed, and once more within seven days."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.paper import FIVE, MODES, NUMBER, SCOPES, Json, Paper
from tests.sandbox_fixture import ROOT

if TYPE_CHECKING:
    from tests.deploy.paper_cloud import Cloud
    from tests.deploy.plugin import Provider

VARIANTS: dict[str, Json] = {
    "eventarc": {},
    "push": {"delivery": "push"},
}
"""More variables that every scope and mode is applied with."""
pytestmark = [pytest.mark.external]
Done = subprocess.CompletedProcess[str]


class Site(Paper):
    """A project without anything in it, and a copy of the module that is applied there."""

    def __init__(self, folder: Path) -> None:
        from tests.deploy.paper_cloud import Cloud  # gRPC is heavy
        from tests.deploy.paper_gcloud import Commands

        self.cloud: Cloud = Cloud()
        super().__init__(folder, known=False)
        self._commands = Commands(folder / "bin", self.cloud)
        self._environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        self._environment.pop("PAUSES", None)

    def _offline(self, names: Callable[[str, Json], Json]) -> list[Provider]:  # noqa: ARG002
        from tests.deploy.plugin_apply import ApplyProvider

        return [ApplyProvider(name, self.cloud) for name in ("google", "random")]

    def close(self) -> None:
        self._commands.close()
        super().close()

    def prepare(self, **variables: Any) -> None:
        """What README.md says comes before the first apply."""
        [line] = [each for each in (ROOT / "README.md").read_text().splitlines() if "gcloud services enable" in each]
        assert self.shell(line).returncode == 0
        self.cloud.state["apis"].remove("iam.googleapis.com")  # the module itself enables it
        (self.folder / "deploy" / "given.auto.tfvars.json").write_text(json.dumps(FIVE | variables))
        self._init("deploy")

    def shell(self, line: str) -> Done:
        """A command as a person types it, beside the module's files."""
        return subprocess.run(
            line,
            shell=True,
            cwd=self.folder / "deploy",
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def apply(self, *options: str) -> Done:
        """Everything that is ready starts at once, so that what waits for nothing comes before the APIs are on."""
        return self.shell(f"terraform apply -auto-approve -input=false -no-color -parallelism=60 {' '.join(options)}")

    def applied(self) -> str:
        done = self.apply()
        assert done.returncode == 0, done.stderr
        return done.stdout

    def destroy(self) -> Done:
        return self.shell("terraform destroy -auto-approve -input=false -no-color")

    def changes(self) -> str:
        """The changes that a plan shows, if any."""
        done = self.shell("terraform plan -detailed-exitcode -input=false -no-color")
        assert done.returncode in (0, 2), done.stderr
        return done.stdout if done.returncode == 2 else ""

    def removal(self) -> dict[str, list[str]]:
        """The commands of `terraform output -raw remove`, by the remark before them. No line is indented."""
        found: dict[str, list[str]] = {}
        remark = ""
        for line in self.shell("terraform output -raw remove").stdout.splitlines():
            assert line == line.strip()
            if line.startswith("#"):
                remark = line
            else:
                found.setdefault(remark, []).append(line)
        return found

    def commands(self, *remarks: str) -> list[str]:
        """The commands behind the remarks that hold these words."""
        return [
            each for remark, lines in self.removal().items() for each in lines if any(it in remark for it in remarks)
        ]

    def edit(self, file: str, old: str, new: str = "") -> None:
        path = self.folder / "deploy" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    made = Site(tmp_path / "site")
    yield made
    made.close()


@pytest.mark.parametrize(("scope", "mode", "variant"), [*itertools.product(SCOPES, MODES, VARIANTS)])
def test_a_first_apply_succeeds_and_a_second_changes_nothing(site: Site, scope: str, mode: str, variant: str) -> None:
    site.prepare(scope=SCOPES[scope], mode=mode, **VARIANTS[variant])
    assert re.search(r"Apply complete! Resources: \d{2,} added, 0 changed, 0 destroyed", site.applied())
    written = len(site.cloud.writes)
    assert written > 70
    assert "Resources: 0 added, 0 changed, 0 destroyed" in site.applied()
    assert len(site.cloud.writes) == written


UNDELETE, AGAIN_DENIALS = "iam roles undelete", "The same for the bucket of denials"
KEEP_LEDGER, DELETE_LEDGER = "To go on with the ledger", "protected against deletion"


def trail_released(site: Site) -> str:
    """What it says to do with a locked trail."""
    return next(remark for remark in site.removal() if "If the trail is locked" in remark).rpartition(": ")[2]


def left(site: Site) -> set[str]:
    """What is still there: things by type, and grants by member."""
    things = {each.get("kind", key) for key, each in site.cloud.state["things"].items() if not each.get("deleted")}
    return things | {each[2] for each in site.cloud.state["grants"]}


PUBSUB, EVENTARC = (
    f"serviceAccount:service-{NUMBER}@gcp-sa-{each}.iam.gserviceaccount.com" for each in ("pubsub", "eventarc")
)
EVERYTHING: Json = {
    "delivery": "push",
    "registries": ["projects/shared-registry"],
    "deny_policy": True,
    "troubleshooter": True,
    "alert_emails": ["platform@example.com"],
    "slack_webhook_secret": "slack-webhook",
    "policy_file": str(ROOT / "deploy" / "policies" / "by-a-person.yaml"),
}
"""Options that make more resources."""


@pytest.mark.parametrize(
    ("scope", "mode", "more"),
    [("folders", "enforce", EVERYTHING), ("project", "enforce", {})],  # an organization: the two tests below
)
def test_what_was_destroyed_is_applied_again_within_seven_days(site: Site, scope: str, mode: str, more: Json) -> None:
    """The ledger goes on, the trail's bucket is had back, and Terraform undeletes the roles: as the output says."""
    site.prepare(scope=SCOPES[scope], mode=mode, **more)
    site.applied()
    commands = site.commands(UNDELETE, AGAIN_DENIALS, KEEP_LEDGER)
    assert site.destroy().returncode == 0
    agents = {PUBSUB} if "delivery" in more else {PUBSUB, EVENTARC}
    assert left(site) == agents | {"google_firestore_database"}
    for each in commands:
        done = site.shell(each)
        assert done.returncode == 0, done.stderr
    site.applied()
    assert site.changes() == ""


def test_with_its_ledger_deleted_it_is_applied_again_too(site: Site) -> None:
    """Google Cloud refuses the trail's bucket until it is undeleted."""
    site.prepare(scope=SCOPES["organization"])
    site.applied()
    database, buckets = site.commands(DELETE_LEDGER), site.commands(UNDELETE, AGAIN_DENIALS)
    assert site.destroy().returncode == 0
    for each in database:
        assert site.shell(each).returncode == 0, each
    assert left(site) == {PUBSUB, EVENTARC}
    refused = site.apply("-target=google_logging_project_bucket_config.trail")
    assert refused.returncode == 1
    assert "FAILED_PRECONDITION" in refused.stderr
    for each in buckets:
        assert site.shell(each).returncode == 0, each
    site.applied()


def test_a_locked_trail_stays_and_is_taken_up_again(site: Site) -> None:
    site.prepare(scope=SCOPES["organization"], trail_locked=True)
    site.applied()
    release, others = trail_released(site), site.commands(AGAIN_DENIALS, KEEP_LEDGER)
    done = site.destroy()
    assert done.returncode == 1
    assert "is protected" in done.stderr
    assert site.shell(release).returncode == 0
    assert site.destroy().returncode == 0
    assert left(site) == {PUBSUB, EVENTARC, "google_firestore_database", "google_logging_project_bucket_config"}
    for each in others:
        assert site.shell(each).returncode == 0, each
    site.applied()


@pytest.mark.parametrize(
    ("file", "old", "new", "error"),
    [
        (
            "identities.tf",
            "permissions = [for each in local.installation.ledger : each.permission]\n\n  depends_on = [google_project_service.used]",
            "permissions = [for each in local.installation.ledger : each.permission]",
            r"Error 403: Identity and Access Management \(IAM\) API has not been used in project",
        ),
        (
            "main.tf",
            '["iap", "pubsub"]',
            '["iap"]',
            r"Service account service-\d+@gcp-sa-pubsub.iam.gserviceaccount.com does not exist",
        ),
        (
            "main.tf",
            'agent in ["eventarc", "pubsub"]',
            'agent in ["pubsub"]',
            "Permission denied while using the Eventarc",
        ),
        ("main.tf", "google_project_service.used", "data.google_project.here", "SERVICE_DISABLED"),
        ("build.tf", "deploy/patiently.sh gcloud", "gcloud", r"could not resolve source: Error 403"),
    ],
    ids=[
        "a role before its API",
        "a grant without its agent",
        "an agent without its role",
        "an agent before its API",
        "an impatient build",
    ],
)
def test_what_does_not_wait_or_is_left_out_fails_in_a_first_apply(
    site: Site, file: str, old: str, new: str, error: str
) -> None:
    site.edit(file, old, new)
    site.prepare(scope=SCOPES["organization"])
    done = site.apply()
    assert done.returncode == 1
    assert re.search(error, re.sub(r"\s+", " ", done.stderr)), done.stderr


def test_what_google_cloud_leaves_out_of_its_answer_is_a_change_in_every_plan(site: Site) -> None:
    """So the module leaves it out too."""
    site.edit("dashboard.tf", "key => value if value != 0", "key => value")
    site.prepare(scope=SCOPES["organization"])
    site.applied()
    assert "google_monitoring_dashboard.overview will be updated in-place" in site.changes()
