"""install.sh against a gcloud with a memory: from nothing, again, removed, and installed again within seven days."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.paper import PROJECT, REGION, SCOPES, SCRIPT, Plan, ran

Json = dict[str, Any]
STANDIN = Path(__file__).with_name("standin.py")
SCOPED = pytest.mark.parametrize("scope", SCOPES)
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Project:
    """A project that install.sh works on; `state` is what the stand-in remembers."""

    folder: Path
    scope: str

    def install(self, *more: str) -> subprocess.CompletedProcess[str]:
        for name, text in (
            ("gcloud", f'#!/bin/sh\nexec {sys.executable} -I -S {STANDIN} "$@"\n'),
            ("curl", "#!/bin/sh\ncat > /dev/null\n"),
        ):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        place = {"PATH": f"{self.folder}:{os.environ['PATH']}", "GCLOUD_STATE": str(self.folder / "state")}
        return subprocess.run(
            [SCRIPT, *arguments(self.scope), *more],
            env=os.environ | place | {"PAUSES": "0 0 0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @property
    def state(self) -> Json:
        found: Json = json.loads((self.folder / "state").read_text())
        return found

    def change(self, **values: Any) -> None:
        (self.folder / "state").write_text(json.dumps(self.state | values))


def arguments(scope: str) -> list[str]:
    who = ("--reviewers=ana@example.com,group:platform@example.com", "--operators=bo@example.com")
    return [f"--project={PROJECT}", f"--region={REGION}", f"--scope={','.join(SCOPES[scope])}", *who]


def right(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the stand-in remembers of an installation for the organization."""
    project = Project(tmp_path_factory.mktemp("kept"), "organization")
    right(project.install())
    return json.dumps(project.state)


@pytest.fixture
def installed(tmp_path: Path, kept: str) -> Project:
    """An installation for the organization."""
    (tmp_path / "state").write_text(kept)
    return Project(tmp_path, "organization")


def ours(state: Json) -> list[list[str]]:
    """The grants to anybody but Google's own agents in the project."""
    return [each for each in state["grants"] if not each[1].endswith(".serviceAgent")]


@SCOPED
@pytest.mark.parametrize(("mode", "delivery"), [("dry-run", "eventarc"), ("enforce", "push")])
def test_from_nothing_to_nothing_and_back_within_seven_days(
    tmp_path: Path, scope: str, mode: str, delivery: str
) -> None:
    project = Project(tmp_path, scope)
    how = (f"--mode={mode}", f"--delivery={delivery}")
    right(project.install(*how))  # the first time, although the builder's rights do not count at once
    first = project.state
    assert first["builds"] == 3
    right(project.install(*how))
    assert project.state == first  # a second install changes nothing

    told = right(project.install(*how, "--remove"))
    removed = project.state
    kept = {key for key, each in removed["things"].items() if not each.get("deleted")}
    tags = set() if scope == "project" else {"resource-manager"}  # projects may have it: their owners remove it
    assert {key.split()[0] for key in kept} == {"firestore", "secrets", *tags}
    assert all("versions" in key for key in kept if key.startswith("secrets"))
    assert ours(removed) == []
    assert "the database remediate" in told
    assert "every grant on a repository" in told
    again = right(project.install(*how, "--remove"))
    assert project.state == removed
    assert "# It is not there." in again

    right(project.install(*how))
    back = project.state
    assert not [key for key, each in back["things"].items() if each.get("deleted")]
    assert (back["things"].keys(), sorted(back["grants"])) == (first["things"].keys(), sorted(first["grants"]))

    assert "the database" not in right(project.install(*how, "--remove", "--with-ledger")).partition("# What stays:")[2]
    assert not [key for key in project.state["things"] if key.startswith("firestore")]


@SCOPED
def test_another_delivery_takes_the_place_of_the_one_before(tmp_path: Path, scope: str) -> None:
    """No entry is delivered twice, and nothing of the other way is left."""
    project = Project(tmp_path, scope)

    def ways() -> tuple[int, int]:
        things = project.state["things"]
        pushing = f"pubsub subscriptions projects/{PROJECT} remediate-denials"
        return sum(each.startswith("eventarc triggers") for each in things), int(pushing in things)

    right(project.install())
    triggers = 8 if scope == "project" else 1
    assert ways() == (triggers, 0)
    right(project.install("--delivery=push"))
    assert ways() == (0, 1)
    right(project.install())
    assert ways() == (triggers, 0)


def test_a_locked_trail_stays_and_is_named(installed: Project) -> None:
    things = installed.state["things"]
    [bucket] = [key for key in things if key.startswith("logging buckets") and key.endswith("-trail")]
    things[bucket]["locked"] = True
    installed.change(things=things)
    assert "the log bucket remediate-trail: it is locked" in right(installed.install("--remove"))
    assert bucket in installed.state["things"]


@pytest.mark.parametrize(
    "denied", ["eventarc triggers delete", "logging sinks describe", "organizations remove-iam-policy-binding"]
)
def test_a_failure_ends_it_and_the_next_run_goes_on(installed: Project, denied: str) -> None:
    installed.change(denied=denied)
    done = installed.install("--remove")
    assert done.returncode == 1
    assert f"PERMISSION_DENIED: {denied}" in done.stderr
    assert "# Done." not in done.stdout
    if denied.startswith("organizations"):  # far on: what is gone by then is passed over
        installed.change(denied="")
        right(installed.install("--remove"))
        assert ours(installed.state) == []


def test_another_installations_right_on_its_own_trail_stays(installed: Project) -> None:
    right(installed.install("--name=another"))
    right(installed.install("--remove"))
    left = ours(installed.state)
    assert not [each for each in left if "remediate-" in str(each).replace(PROJECT, "")]
    assert sorted(each[3] for each in left if each[1] == "roles/logging.bucketWriter") == [
        f'^;^title=the {name} alone;expression=resource.name.endsWith("locations/{REGION}/buckets/another-{name}")'
        for name in ("denials", "trail")
    ]


def printed(scope: str, *more: str) -> list[list[str]]:
    done = ran(*arguments(scope), *more, "--dry-run")
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("gcloud ")]


@SCOPED
def test_a_dry_run_prints_a_deletion_for_what_the_install_prints_and_runs_none(scope: str) -> None:
    removing = printed(scope, "--remove", "--with-ledger")
    deleted = {word for words in removing for word in words if {"delete", "rm"} & set(words)}
    for words in printed(scope):
        if "create" in words and not {"identity", "indexes", "http", "tags"} & set(words):
            name = words[words.index("create") + 1]
            wanted = words if name.startswith("--database=") else [name]
            assert any(each == name or each.startswith(f"{name}@") for each in deleted), wanted
    ends = ran(*arguments(scope), "--remove", "--dry-run").stdout.splitlines()[-1]
    assert ends == "# Nothing was run. Leave out --dry-run to remove."


def test_with_ledger_belongs_to_remove() -> None:
    done = ran(*arguments("project"), "--with-ledger", "--dry-run")
    assert (done.returncode, "--with-ledger: belongs to --remove" in done.stderr) == (2, True)


def test_the_output_says_how_to_undelete(plans: dict[tuple[str, str], Plan]) -> None:
    told = plans["organization", "dry-run"].outputs["remove"]["value"]
    assert f"gcloud logging buckets undelete remediate-trail --project={PROJECT} --location={REGION}" in told
    assert f"gcloud logging buckets undelete remediate-denials --project={PROJECT} --location={REGION}" in told
    assert "terraform import 'google_logging_project_bucket_config.denials[0]'" in told
    assert "remediate-denials --" not in plans["project", "dry-run"].outputs["remove"]["value"]
    assert f"gcloud iam roles undelete remediateLedger --project={PROJECT}" in told
    assert "terraform state rm google_logging_project_bucket_config.trail" in told
