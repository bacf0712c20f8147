"""install.sh, the way without Terraform: what its --dry-run prints is compared with the module's plan, thing by thing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from remediate.cli.sweep import LEASES
from tests.deploy.paper import (
    FIVE,
    NUMBER,
    ORGANIZATION,
    PROJECT,
    REGION,
    SCOPES,
    SCRIPT,
    Paper,
    Plan,
    containers,
    environment,
    grants,
    permissions,
    ran,
)
from tests.sandbox_fixture import ROOT

BOTH = [(scope, mode) for scope in SCOPES for mode in ("dry-run", "enforce")]


Plans = dict[tuple[str, str], Plan]


@cache
def written(scope: str, mode: str, *more: str) -> str:
    """What it would run, one command a line."""
    reviewers = ",".join(FIVE["reviewers"])
    place = ",".join(SCOPES[scope])
    done = ran(
        f"--project={PROJECT}",
        f"--region={REGION}",
        f"--scope={place}",
        f"--reviewers={reviewers}",
        f"--mode={mode}",
        *more,
        "--dry-run",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def printed(scope: str, mode: str, *more: str) -> list[list[str]]:
    """The commands that it would run, as words, with Google's answers as they are in the plan."""
    text = written(scope, mode, *more).replace("PROJECT_NUMBER", NUMBER).replace("ORGANIZATION_NUMBER", ORGANIZATION)
    text = re.sub(
        r"SINK_OF_organizations/(\d+)", r"serviceAccount:service-org-\1@gcp-sa-logging.iam.gserviceaccount.com", text
    )
    text = re.sub(
        r"SINK_OF_folders/(\d+)", r"serviceAccount:service-folder-\1@gcp-sa-logging.iam.gserviceaccount.com", text
    )
    for answer, name in (
        ("TAG_KEY", "tagKeys/281"),
        ("TAG_VALUE_yes", "tagValues/282"),
        ("TAG_VALUE_deployers", "tagValues/283"),
    ):
        text = text.replace(answer, name)
    return [shlex.split(_plain(line))[1:] for line in text.splitlines() if line.startswith("gcloud ")]


def _plain(line: str) -> str:
    """Bash quotes what has line breaks as $'...', which shlex does not know."""
    return re.sub(r"\$'((?:[^'\\]|\\.)*)'", lambda each: shlex.quote(each[1].encode().decode("unicode_escape")), line)


def flag(words: list[str], name: str) -> str:
    return next((each.partition("=")[2] for each in words if each.startswith(f"--{name}=")), "")


KINDS = {
    "organizations": "google_organization",
    "resource-manager folders": "google_folder",
    "projects": "google_project",
    "pubsub topics": "google_pubsub_topic",
    "pubsub subscriptions": "google_pubsub_subscription",
    "secrets": "google_secret_manager_secret",
    "storage buckets": "google_storage_bucket",
    "artifacts repositories": "google_artifact_registry_repository",
    "run services": "google_cloud_run_v2_service",
    "run jobs": "google_cloud_run_v2_job",
    "logging views": "google_logging_log_view",
    "beta iap web": "google_iap_web_cloud_run_service",
}


@pytest.mark.parametrize(("scope", "mode"), BOTH)
def test_it_gives_everybody_what_terraform_gives_them(plans: Plans, scope: str, mode: str) -> None:
    given: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for words in printed(scope, mode):
        command = " ".join(words)
        if "add-iam-policy-binding" in words and not command.count(".serviceAgent"):  # a provisioner's, in the module
            kind = KINDS[command.partition(" add-iam-policy-binding")[0]]
            given[flag(words, "member")].add((flag(words, "role"), kind))
    assert given == grants(plans[scope, mode])


@pytest.mark.parametrize("scope", SCOPES)
def test_back_in_dry_run_it_takes_the_receivers_right_away(scope: str) -> None:
    for mode, places in (("enforce", 0), ("dry-run", len(SCOPES[scope]))):
        taken = [words for words in printed(scope, mode) if "remove-iam-policy-binding" in words and "--all" in words]
        taken = [words for words in taken if "remediate-review@" not in flag(words, "member")]  # from an older version
        assert len(taken) == places
        for words in taken:
            assert flag(words, "role").endswith("/roles/remediateWriter")
            assert flag(words, "member").startswith("serviceAccount:remediate-receiver@")


@pytest.mark.parametrize("scope", SCOPES)
def test_its_roles_hold_what_terraforms_hold(plans: Plans, scope: str) -> None:
    held = {}
    for words in printed(scope, "dry-run"):
        if words[:3] == ["iam", "roles", "create"]:
            owner = (
                f"projects/{flag(words, 'project')}"
                if flag(words, "project")
                else f"organizations/{flag(words, 'organization')}"
            )
            held[f"{owner}/roles/{words[3]}"] = set(flag(words, "permissions").split(","))
    assert held == permissions(plans[scope, "dry-run"])


def test_it_says_what_is_ours() -> None:
    said = (
        f"--project={PROJECT}",
        f"--region={REGION}",
        "--scope=organizations/1",
        "--reviewers=example.com",
        "--dry-run",
    )
    told = ran(*said, "--domains=example.com,example.org", "--workforce-pools=staff").stdout
    assert told.count("@@REMEDIATE_DOMAINS=example.com\\,example.org@@REMEDIATE_WORKFORCE_POOLS=staff@@") == 5
    for wrong in ("--domains=ana@example.com", "--workforce-pools=Staff"):
        done = ran(*said, wrong)
        assert done.returncode == 2
        assert wrong in done.stderr


@pytest.mark.parametrize(("scope", "mode"), BOTH)
def test_what_runs_is_set_up_alike(plans: Plans, scope: str, mode: str) -> None:
    plan = containers(plans[scope, mode])
    deployed = [words for words in printed(scope, mode) if "deploy" in words]
    commands = {words[words.index("deploy") + 1]: words for words in deployed}
    assert {name.removeprefix("remediate-") for name in commands} == plan.keys()
    for name, values in plan.items():
        words = commands[f"remediate-{name}"]
        listed = flag(words, "set-env-vars").removeprefix("^@@^").split("@@")
        given: dict[str, str | None] = dict(each.partition("=")[::2] for each in listed)
        if secret := flag(words, "set-secrets"):
            given[secret.partition("=")[0]] = None
        assert given == environment(values)
        template = values["template"][0]
        inner = template["template"][0] if "jobs" in words else template
        [container] = inner["containers"]
        assert flag(words, "command") == ",".join(container["command"] or [])
        assert flag(words, "args") == ",".join(container["args"] or [])
        assert re.search(r"/remediate/remediate@DIGEST_OF_[0-9a-f]{12}$", flag(words, "image"))
        assert flag(words, "memory") == container["resources"][0]["limits"]["memory"]
        assert flag(words, "service-account").partition("@")[0] == inner["service_account"].partition("@")[0]
        if "jobs" in words:  # fewer retries of the hourly one end in false alarms
            assert flag(words, "max-retries") == str(inner["max_retries"]) == {"sweep": "3", "due": "0"}[name]
            assert f"{flag(words, 'task-timeout')}s" == inner["timeout"] == f"{LEASES[name].total_seconds():.0f}s"
        else:
            assert ("--cpu-throttling" in words) is container["resources"][0]["cpu_idle"]
            assert flag(words, "concurrency") == str(template["max_instance_request_concurrency"])
            assert flag(words, "max-instances") == str(template["scaling"][0]["max_instance_count"])
            assert ("--iap" in words) is bool(values["iap_enabled"])
            assert flag(words, "ingress") == {"INGRESS_TRAFFIC_ALL": "all"}.get(values["ingress"], "internal")


MADE = {
    "google_pubsub_topic": "pubsub topics create",
    "google_pubsub_subscription": "pubsub subscriptions create",
    "google_service_account": "iam service-accounts create",
    "google_eventarc_trigger": "eventarc triggers create",
    "google_secret_manager_secret": "secrets create",
    "google_firestore_index": "firestore indexes composite create",
    "google_firestore_database": "firestore databases create",
    "google_logging_project_bucket_config": "logging buckets create",
    "google_logging_log_view": "logging views create",
    "google_cloud_scheduler_job": "scheduler jobs create",
    "google_storage_bucket": "storage buckets create",
    "google_artifact_registry_repository": "artifacts repositories create",
}


@pytest.mark.parametrize("scope", SCOPES)
def test_it_makes_what_terraform_makes(plans: Plans, scope: str) -> None:
    plan = plans[scope, "dry-run"]
    commands = [" ".join(words) for words in printed(scope, "dry-run")]
    fields = re.findall(r"^curl .*/collectionGroups/(\S+?)\\?\?", written(scope, "dry-run"), re.M)
    kept = plan.of("google_firestore_field").values()
    assert sorted(fields) == sorted(f"{each['collection']}/fields/{each['field']}" for each in kept)
    for kind, command in MADE.items():
        assert len(plan.of(kind)) == sum(each.startswith(command) for each in commands), kind
    sinks = [
        each
        for kind in ("organization", "folder", "project")
        for each in plan.of(f"google_logging_{kind}_sink").values()
    ]
    made = [words for words in printed(scope, "dry-run") if words[:3] == ["logging", "sinks", "create"]]
    assert sorted((each["name"], each["destination"]) for each in sinks) == sorted(
        (words[3], words[4]) for words in made
    )
    assert sorted(_normal(each["filter"]) for each in sinks) == sorted(
        _normal(flag(words, "log-filter")) for words in made
    )
    viewers = [
        (each["name"], each["bucket"], each["location"], each["role"], member)
        for each in plan.of("google_logging_log_view_iam_binding").values()
        for member in each["members"]
    ]
    assert sorted(viewers) == sorted(
        (words[3], *(flag(words, each) for each in ("bucket", "location", "role", "member")))
        for words in printed(scope, "dry-run")
        if words[:3] == ["logging", "views", "add-iam-policy-binding"]
    )
    assert len(viewers) == (0 if scope == "project" else 4)
    for bucket in plan.of("google_logging_project_bucket_config").values():
        [words] = [
            each
            for each in printed(scope, "dry-run")
            if each[:3] == ["logging", "buckets", "create"] and each[3] == bucket["bucket_id"]
        ]
        assert flag(words, "retention-days") == str(bucket["retention_days"])
    triggers = [each["name"] for each in plan.of("google_eventarc_trigger").values()]
    dead = [words for words in printed(scope, "dry-run") if words[:3] == ["pubsub", "subscriptions", "update"]]
    assert sorted(words[3] for words in dead) == sorted(f"SUBSCRIPTION_OF_{each}" for each in triggers)
    [enabled] = [words for words in printed(scope, "dry-run") if words[:2] == ["services", "enable"]]
    assert {each for each in enabled if each.endswith(".com")} == {
        each["service"] for each in plan.of("google_project_service").values()
    }


def _normal(text: str) -> str:
    return re.sub(r"[()\s]+", " ", text).strip()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("--scope=everything", "--scope=everything: expected"),
        ("--scope=projects/another-one", "watched from within"),
        ("--mode=yolo", "--mode=yolo: expected dry-run or enforce"),
        ("--reviewers=everybody", "--reviewers=everybody: expected"),
        ("--region=Belgium", "--region=Belgium: expected"),
        ("--project=X", "--project=X: expected"),
        ("--colour=blue", "unknown argument: --colour=blue"),
        ("--reviewers=group:example.com", "--reviewers=group:example.com: expected"),
        ("--reviewers=@example.com", "--reviewers=@example.com: expected"),
        ("--name=google-remediate", "not beginning with goog"),
        ("--registries=projects/images", "--registries=projects/images: expected none but for watched folders"),
        ("--registries=x", "--registries=x: expected projects/ID or folders/NUMBER"),
        ("--opt-in=perhaps", "--opt-in=perhaps: expected tag or none"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_done(wrong: str, told: str) -> None:
    right = [
        f"--project={PROJECT}",
        f"--region={REGION}",
        f"--scope=organizations/{ORGANIZATION}",
        "--reviewers=ana@example.com",
    ]
    done = ran(*right, wrong, "--dry-run")
    assert done.returncode == 2
    assert told in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("scope", SCOPES)
def test_a_dry_run_ends_with_how_to_install(scope: str) -> None:
    text = written(scope, "dry-run")
    assert text.endswith("\n# Nothing was run. Leave out --dry-run to install.\n")
    assert "Done" not in text


def test_it_is_clean_shell() -> None:
    checker = Path(sys.executable).with_name("shellcheck")
    if not checker.exists():
        pytest.skip("shellcheck is not installed")
    scripts = sorted(map(str, (ROOT / "deploy").glob("*.sh")))
    assert str(SCRIPT) in scripts
    done = subprocess.run([str(checker), "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_readme_shows_the_command_that_works() -> None:
    readme = (ROOT / "README.md").read_text()
    [block] = [each for each in re.findall(r"^```sh\n(.*?)^```", readme, re.M | re.S) if "install.sh" in each]
    done = subprocess.run(["bash", "-ec", block], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gcloud eventarc triggers create remediate-denials" in done.stdout


def test_readme_shows_five_variables_that_plan(paper: Paper) -> None:
    readme = (ROOT / "README.md").read_text()
    [given] = re.findall(r"cat > deploy/terraform.tfvars <<'END'\n(.*?)^END$", readme, re.M | re.S)
    (paper.folder / "deploy" / "terraform.tfvars").write_text(given)
    try:
        assert paper.plan().of("google_logging_organization_sink")
    finally:
        (paper.folder / "deploy" / "terraform.tfvars").unlink()
    assert len(given.splitlines()) == 5


GCLOUD = """#!/bin/sh
# A gcloud whose project has everything already, but for what the environment says.
echo "$*" >> "$GCLOUD_LOG"
case "$*" in
  *"remove-iam-policy-binding"*) echo "ERROR: $GCLOUD_SAYS" >&2; exit 1 ;;
  *"indexes composite create"*) echo "ERROR: $GCLOUD_INDEX" >&2; exit 1 ;;
  *"value(projectNumber)"*) echo 123456789012 ;;
  *"writerIdentity"*) echo serviceAccount:sink@gcp-sa-logging.iam.gserviceaccount.com ;;
  *"print-access-token"*) echo token ;;
  *"value(deleted)"*) echo "$GCLOUD_DELETED" ;;
  *"value(lifecycleState)"*) echo "$GCLOUD_LIFECYCLE" ;;
  *) echo fine ;;
esac
"""


def run_again(folder: Path, **says: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Install over what is there: how it ended, and the arguments of each gcloud, one line a call."""
    for name, text in (("gcloud", GCLOUD), ("curl", "#!/bin/sh\ncat > /dev/null\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    log = folder / "log"
    given = {
        "GCLOUD_LOG": str(log),
        "GCLOUD_SAYS": ABSENT,
        "GCLOUD_INDEX": THERE,
        "GCLOUD_DELETED": "",
        "GCLOUD_LIFECYCLE": "ACTIVE",
    }
    arguments = [f"--project={PROJECT}", f"--region={REGION}", "--scope=folders/1,folders/2", "--reviewers=example.com"]
    done = subprocess.run(
        [str(SCRIPT), *arguments],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | given | says,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done, log.read_text()


ABSENT = "Policy binding with the specified member and role not found!"
THERE = "ALREADY_EXISTS: index already exists"


@pytest.mark.parametrize(
    ("says", "index", "code"),
    [
        (ABSENT, THERE, 0),
        ("PERMISSION_DENIED: resourcemanager.organizations.setIamPolicy", THERE, 1),
        (ABSENT, "PERMISSION_DENIED: datastore.indexes.create", 1),
    ],
)
def test_run_again_it_brings_up_to_date_and_passes_over_no_failure(
    tmp_path: Path, says: str, index: str, code: int
) -> None:
    done, ran = run_again(tmp_path, GCLOUD_SAYS=says, GCLOUD_INDEX=index)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("# Done." in done.stdout) is (code == 0)
    assert "Nothing was run" not in done.stdout
    if code:
        assert "PERMISSION_DENIED" in done.stderr
        return
    assert ran.count("logging sinks update remediate-denials") == 2
    assert "logging sinks create" not in ran
    assert "undelete" not in ran


def test_what_was_removed_within_seven_days_is_had_back(tmp_path: Path) -> None:
    done, ran = run_again(tmp_path, GCLOUD_DELETED="True", GCLOUD_LIFECYCLE="DELETE_REQUESTED")
    assert done.returncode == 0, done.stderr
    lines = ran.splitlines()
    for role, owner in (
        ("remediateReader", "organization="),
        ("remediateLedger", f"project={PROJECT}"),
    ):
        [back] = [at for at, line in enumerate(lines) if line.startswith(f"iam roles undelete {role} --{owner}")]
        [changed] = [at for at, line in enumerate(lines) if line.startswith(f"iam roles update {role} ")]
        assert back < changed
    for name, sink in (("remediate-trail", "remediate-trail"), ("remediate-denials", "remediate-view")):
        [bucket] = [at for at, line in enumerate(lines) if line.startswith(f"logging buckets undelete {name} ")]
        assert bucket < min(at for at, line in enumerate(lines) if f"logging sinks update {sink}" in line)
    assert "logging buckets create" not in ran


def test_without_its_tools_it_says_which_before_anything_is_done(tmp_path: Path) -> None:
    for name in ("bash", "env", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    arguments = [f"--project={PROJECT}", f"--region={REGION}", "--scope=folders/1", "--reviewers=example.com"]
    done = subprocess.run(
        [str(SCRIPT), *arguments], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "gcloud is not installed" in done.stderr


def _as_the_linter_reads(words: list[str]) -> str:
    """It takes a word after a flag for the flag's value, and a quoted flag for a word."""
    first = [shlex.quote(each) for each in words if not each.startswith("--")]
    last = [each.partition("=") for each in words if each.startswith("--")]
    return " ".join(["gcloud", *first, *(name + sign + (value and shlex.quote(value)) for name, sign, value in last)])


@pytest.mark.parametrize("scope", SCOPES)
def test_gcloud_itself_takes_every_command(scope: str, tmp_path: Path) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    asked = tmp_path / "commands.json"
    commands = [*printed(scope, "dry-run"), *printed(scope, "dry-run", "--remove", "--with-ledger")]
    strings = [_as_the_linter_reads(words) for words in commands]
    asked.write_text(json.dumps([{"command_string": each} for each in strings]))
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={asked}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    told = json.loads(done.stdout)
    assert len(told) > 100
    assert [(each["command_string"], each["error_message"]) for each in told if not each["success"]] == []
