"""What runs, by the plan: the image and what it is built of, settings, CPU, schedules."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from remediate.settings import load_settings
from tests.deploy.paper import (
    FIVE,
    MODES,
    ORGANIZATION,
    PROJECT,
    REGION,
    SCOPES,
    Paper,
    Plan,
    containers,
    environment,
    grants,
    who,
)
from tests.sandbox_fixture import ROOT

DEPLOY = ROOT / "deploy"
SET_POLICY = "artifactregistry.repositories.setIamPolicy"
SCOPED = pytest.mark.parametrize("scope", SCOPES)
MODED = pytest.mark.parametrize("mode", MODES)


BUILT = "data.google_artifact_registry_docker_image.built"


@SCOPED
def test_one_image_runs_in_all_four_by_its_digest(plans: dict[tuple[str, str], Plan], scope: str) -> None:
    """Not by its tag: a tag can be given to another image, and a new image under the same tag makes no new revision."""
    plan = plans[scope, "dry-run"]
    running = containers(plan)
    assert running.keys() == {"receiver", "review", "sweep", "due", "writer"}
    for name, values in running.items():
        assert "docker.pkg.dev" not in json.dumps(values)
        resource = name.replace("due", "sweep")  # one block for both jobs
        [found] = [
            json.dumps(each)
            for address, each in plan.expressions.items()
            if re.fullmatch(rf"google_cloud_run_v2_(?:service|job)\.{resource}", address)
        ]
        assert f'"image": {{"references": ["{BUILT}.self_link", "{BUILT}"]}}' in found
    asked = plan.resources[BUILT]["values"]
    image = _image(plan)
    assert image.startswith(f"{REGION}-docker.pkg.dev/{PROJECT}/remediate/remediate:")
    assert image.endswith(f"/{asked['repository_id']}/{asked['image_name']}")
    assert not any("build_config" in values and values["build_config"] for values in running.values())


def test_what_runs_waits_for_the_build_and_its_digest(blank_paper: Paper) -> None:
    arrows = blank_paper.arrows()
    for each in ("service.receiver", "service.review", "service.writer", "job.sweep"):
        assert BUILT in arrows[f"google_cloud_run_v2_{each}"]
    assert "terraform_data.image" in arrows[BUILT]


# Settings of notices, which may not be documented yet.
COMING = ("REMEDIATE_NOTIFY_TOPIC", "REMEDIATE_REVIEW_URL", "REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK")


@SCOPED
@MODED
def test_what_runs_starts_with_the_settings_that_it_is_given(
    plans: dict[tuple[str, str], Plan], scope: str, mode: str
) -> None:
    documented = re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.M)
    for name, values in containers(plans[scope, mode]).items():
        given = {key: "s" * 48 if value is None else value for key, value in environment(values).items()}
        ours = {
            key: value
            for key, value in given.items()
            if key.startswith("REMEDIATE_") and (key in documented or key not in COMING)
        }
        assert set(ours) <= set(documented)
        settings = load_settings({**ours, "K_SERVICE": "1"})
        assert settings.mode == mode
        assert settings.ledger == f"firestore://{PROJECT}/remediate"
        assert settings.organization == (None if scope == "project" else ORGANIZATION)
        assert settings.reviewers == ("user:ana@example.com", "example.com")
        assert set(settings.identities) == {
            who(each).lower() for each in ("receiver", "review", "sweep", "writer", "trigger", "builder")
        }
        assert (settings.iap_audience is not None) is (name == "review")
        assert (settings.writer_topic is not None) is (name == "review")
        if name not in ("sweep", "due"):  # a request more than threads would wait inside, unseen by the autoscaler
            template = values["template"][0]
            assert str(template["max_instance_request_concurrency"]) == given["THREADS"]


@pytest.mark.parametrize(("given", "always"), [({}, False), ({"cpu_always": True}, True)])
def test_the_services_keep_their_cpu_between_requests_where_that_is_set(
    paper: Paper, given: dict[str, Any], always: bool
) -> None:
    plan = paper.plan(scope=SCOPES["organization"], **FIVE, **given)
    idle = [
        values["template"][0]["containers"][0]["resources"][0]["cpu_idle"]
        for values in plan.of("google_cloud_run_v2_service").values()
    ]
    assert idle == [not always] * len(idle)


def test_each_sweep_has_its_schedule_and_its_arguments(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["folders"], **FIVE, due_schedule="*/10 * * * *", sweep_since="2d")
    scopes = [f"--scope={each}" for each in SCOPES["folders"]]
    arguments = {"sweep": ["sweep", "--since", "2d", *scopes], "due": ["sweep", "--due"]}
    times = {"sweep": "7 * * * *", "due": "*/10 * * * *"}
    running = containers(plan)
    schedules = {
        each["name"].removeprefix("remediate-"): each for each in plan.of("google_cloud_scheduler_job").values()
    }
    assert schedules.keys() == arguments.keys()
    for task, words in arguments.items():
        [container] = running[task]["template"][0]["template"][0]["containers"]
        assert container["args"] == ["--", "python3", "-m", "remediate", *words]
        assert schedules[task]["schedule"] == times[task]
        assert schedules[task]["http_target"][0]["uri"].endswith(f"/jobs/remediate-{task}:run")
    assert environment(running["due"]) == environment(running["sweep"])


def test_receivers_share_the_minutes_look_ups(paper: Paper) -> None:
    for instances, each in ((1, "50"), (4, "12"), (1000, "1")):
        plan = paper.plan(scope=SCOPES["organization"], max_instances=instances, **FIVE)
        assert environment(containers(plan)["receiver"])["REMEDIATE_LOOKUPS_A_MINUTE"] == each


def test_a_group_reviews_by_its_domain(paper: Paper) -> None:
    plan = paper.plan(scope=SCOPES["organization"], **FIVE | {"reviewers": ["group:platform@example.com"]})
    assert environment(containers(plan)["review"])["REMEDIATE_REVIEWERS"] == "example.com"
    assert "group:platform@example.com" in grants(plan)


@pytest.mark.parametrize(
    "changed", ["main.py", "remediate/decisions/policy.py", "remediate/review/templates/base.html", "requirements.txt"]
)
def test_a_changed_source_is_another_image_and_nothing_else_is(paper: Paper, changed: str) -> None:
    """What names the image is what gcloudignore uploads: a change of it is built, whatever else lies beside it is not."""
    scope = SCOPES["organization"]
    before = _image(paper.plan(scope=scope, **FIVE))
    (paper.folder / "remediate" / "__pycache__" / "y.pyc").write_text("stale")
    (paper.folder / "requirements-dev.txt").write_text("changed")
    assert _image(paper.plan(scope=scope, **FIVE)) == before
    path = paper.folder / changed
    kept = path.read_text()
    path.write_text(kept + "\n")
    try:
        assert _image(paper.plan(scope=scope, **FIVE)) != before
    finally:
        path.write_text(kept)


def test_a_new_build_revision_is_another_image_of_the_same_source(paper: Paper) -> None:
    scope = SCOPES["project"]
    before, after = (_image(paper.plan(scope=scope, build_revision=each, **FIVE)) for each in ("", "2026-12-01"))
    assert after == f"{before}-2026-12-01"


def test_old_images_are_deleted_and_the_newest_stay(plans: dict[tuple[str, str], Plan]) -> None:
    [images] = plans["project", "dry-run"].of("google_artifact_registry_repository").values()
    newest, old = sorted(images["cleanup_policies"], key=lambda each: str(each["id"]))
    assert (newest["action"], newest["most_recent_versions"][0]["keep_count"]) == ("KEEP", 10)
    assert (old["action"], old["condition"][0]["tag_state"], old["condition"][0]["older_than"]) == (
        "DELETE",
        "ANY",
        "7776000s",
    )


def _image(plan: Plan) -> str:
    [image] = plan.of("terraform_data")["terraform_data.image"]["triggers_replace"]
    return str(image)


def test_what_is_uploaded_is_what_the_service_needs(tmp_path: Path) -> None:
    """gcloudignore has git's own syntax: git says what it leaves."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = tracked.stdout.split()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text((DEPLOY / "gcloudignore").read_text())
    for name in [*names, "remediate/__pycache__/x.pyc"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    left = subprocess.run(
        ["git", "ls-files", "-o", "--exclude-standard"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    wanted = {name for name in names if name.startswith("remediate/")}
    assert set(left.stdout.split()) == {"main.py", "requirements.txt", *wanted}
