"""Plans the Terraform module without a cloud: `Paper.plan(scope=..., mode=...)` gives every resource with its values."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox_fixture import ROOT

if TYPE_CHECKING:
    from tests.deploy.plugin import Provider

SCRIPT = ROOT / "deploy" / "install.sh"

Json = dict[str, Any]
PROJECT, NUMBER, REGION = "remediate-ops", "987654321098", "europe-west1"
ORGANIZATION = "400000000001"
SCOPES = {
    "organization": [f"organizations/{ORGANIZATION}"],
    "folders": ["folders/310000000001", "folders/310000000002"],
    "project": [f"projects/{PROJECT}"],
}
MODES = ("dry-run", "enforce")
FIVE: Json = {"project": PROJECT, "region": REGION, "reviewers": ["ana@example.com", "example.com"]}


def named(kind: str, values: Json) -> Json:
    """The names that Google Cloud would give, so that a plan shows which member gets access to what."""
    name, project = values.get("name"), values.get("project")
    match kind:
        case "google_service_account":
            email = f"{values['account_id']}@{project}.iam.gserviceaccount.com"
            return {
                "email": email,
                "member": f"serviceAccount:{email}",
                "id": f"projects/{project}/serviceAccounts/{email}",
            }
        case "google_project_service":
            return {"id": f"{project}/{values['service']}"}
        case "google_organization_iam_custom_role":
            return {"id": f"organizations/{values['org_id']}/roles/{values['role_id']}"}
        case "google_project_iam_custom_role":
            return {"id": f"projects/{project}/roles/{values['role_id']}"}
        case "google_logging_organization_sink" | "google_logging_folder_sink":
            where = f"org-{values['org_id']}" if "org_id" in values else f"folder-{values['folder'].split('/')[1]}"
            return {"writer_identity": f"serviceAccount:service-{where}@gcp-sa-logging.iam.gserviceaccount.com"}
        case "google_logging_project_sink":
            where = f"project-{project}"
            return {"writer_identity": f"serviceAccount:service-{where}@gcp-sa-logging.iam.gserviceaccount.com"}
        case "google_pubsub_topic" | "google_pubsub_subscription":
            return {"id": f"projects/{project}/{kind.rpartition('_')[2]}s/{name}"}
        case "google_cloud_run_v2_service" | "google_cloud_run_v2_job":
            place = f"projects/{project}/locations/{values['location']}"
            return {
                "id": f"{place}/{kind.rpartition('_')[2]}s/{name}",
                "uri": f"https://{name}-{NUMBER}.{REGION}.run.app",
            }
        case "google_eventarc_trigger":
            subscription = f"projects/{project}/subscriptions/eventarc-{REGION}-{name}-sub-001"
            topic = next((each["topic"] for outer in values["transport"] or [] for each in outer["pubsub"]), None)
            return {"transport": [{"pubsub": [{"topic": topic, "subscription": subscription}]}]}
        case "google_logging_project_bucket_config":
            return {"id": f"projects/{project}/locations/{values['location']}/buckets/{values['bucket_id']}"}
        case "google_logging_log_view":
            place = f"{values['parent']}/locations/{values['location']}/buckets/{values['bucket']}"
            return {"id": f"{place}/views/{name}"}
        case "google_artifact_registry_repository":
            return {"name": values["repository_id"]}
        case "google_secret_manager_secret":
            return {"id": f"projects/{project}/secrets/{values['secret_id']}"}
        case "google_tags_tag_key":
            return {"id": "tagKeys/281", "namespaced_name": f"{ORGANIZATION}/{values['short_name']}"}
        case "google_tags_tag_value":
            number = {"yes": 282, "deployers": 283}[values["short_name"]]
            return {"id": f"tagValues/{number}", "namespaced_name": f"{ORGANIZATION}/remediate/{values['short_name']}"}
        case "google_monitoring_notification_channel":
            return {"id": f"projects/{project}/notificationChannels/1"}
    return {}


def read(kind: str, values: Json) -> Json:
    """The values of data sources, which are also known before an apply."""
    match kind:
        case "data.google_project":
            return {"number": NUMBER, "id": f"projects/{PROJECT}"}
        case "data.google_folder":
            return {"organization": f"organizations/{ORGANIZATION}", "id": values["folder"]}
        case "data.google_logging_project_cmek_settings":
            return {"service_account_id": f"cmek-p{NUMBER}@gcp-sa-logging.iam.gserviceaccount.com"}
        case "ephemeral.random_password":
            return {"result": "x" * 48}
    return {}


class Plan:
    """A plan: `resources` by address, each with its type and values; `read` has the data sources; `expressions` what is written."""

    def __init__(self, shown: Json) -> None:
        self.resources: dict[str, Json] = {}
        for each in _all(shown["planned_values"]["root_module"]):
            self.resources[each["address"]] = each
        self.read = {
            each["address"]: each["values"]
            for each in _all(shown.get("prior_state", {}).get("values", {}).get("root_module", {}))
        }
        self.outputs = shown["planned_values"].get("outputs", {})
        self.expressions: dict[str, Json] = {
            each["address"]: each["expressions"]
            for each in shown["configuration"]["root_module"].get("resources", [])
            if "expressions" in each
        }

    def of(self, kind: str) -> dict[str, Json]:
        """The values of every resource of this type, by address."""
        return {name: each["values"] for name, each in self.resources.items() if each["type"] == kind}


def _all(module: Json) -> Iterator[Json]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _all(child)


class Paper:
    """Terraform with offline providers, and a copy of the module to plan in. `known`: names are known in advance."""

    def __init__(self, folder: Path, *, known: bool) -> None:
        def names(kind: str, values: Json) -> Json:
            return read(kind, values) or (named(kind, values) if known else {})

        self.folder = folder
        checkout = shutil.ignore_patterns(
            ".git", ".venv*", ".run", "__pycache__", ".*_cache", ".hypothesis", ".terraform*"
        )
        for part in ("deploy", "remediate"):
            shutil.copytree(ROOT / part, folder / part, ignore=checkout)
        for part in ("main.py", "requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / part, folder / part)
        (folder / "remediate" / "__pycache__").mkdir()
        (folder / "remediate" / "__pycache__" / "x.pyc").write_text("stale")
        self.providers = self._offline(names)
        reattached = {f"registry.terraform.io/hashicorp/{each.name}": each.reattached for each in self.providers}
        (folder / "terraform.rc").write_text("")
        self._environment = os.environ | {
            "TF_REATTACH_PROVIDERS": json.dumps(reattached),
            "TF_CLI_CONFIG_FILE": str(folder / "terraform.rc"),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
        }
        self._made = 0
        self._ready: set[str] = set()

    def _offline(self, names: Callable[[str, Json], Json]) -> list[Provider]:
        from tests.deploy.plugin import Provider  # gRPC is heavy, and every test session loads this file

        return [Provider(name, names) for name in ("google", "random")]

    def close(self) -> None:
        for each in self.providers:
            each.close()

    def terraform(self, where: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform in a folder of the copy."""
        return subprocess.run(
            ["terraform", f"-chdir={where}", *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def _run(self, where: str, *arguments: str) -> None:
        done = self.terraform(where, *arguments, "-input=false", "-no-color")
        assert done.returncode == 0, done.stderr

    def arrows(self, where: str = "deploy") -> dict[str, set[str]]:
        """What each resource waits for directly, by its address without an index, as Terraform orders an apply."""
        self._init(where)
        drawn = self.terraform(where, "graph")
        assert drawn.returncode == 0, drawn.stderr
        found: defaultdict[str, set[str]] = defaultdict(set)
        for one in re.findall(r'^\s*"([^"]+)" \[', drawn.stdout, re.M):
            found[one] = set()
        for one, other in re.findall(r'^\s*"([^"]+)" -> "([^"]+)";', drawn.stdout, re.M):
            found[one].add(other)
        return dict(found)

    def _init(self, where: str) -> None:
        if where not in self._ready:
            self._run(where, "init")
            self._ready.add(where)

    def plan(self, where: str = "deploy", **variables: Any) -> Plan:
        """The plan with these variables. Raises AssertionError with Terraform's output if planning fails."""
        self._made += 1
        given = self.folder / where / "given.auto.tfvars.json"
        given.write_text(json.dumps(variables))
        kept = str(self.folder / f"plan-{self._made}")
        try:
            self._init(where)
            self._run(where, "plan", f"-out={kept}")
            return Plan(json.loads(self.terraform(where, "show", "-json", kept).stdout))
        finally:
            given.unlink()


def behind(arrows: dict[str, set[str]], one: str) -> set[str]:
    """Everything that this resource waits for, directly or not."""
    found: set[str] = set()
    waiting = [one]
    while waiting:
        for each in arrows.get(waiting.pop(), set()) - found:
            found.add(each)
            waiting.append(each)
    return found


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paper]:
    """Terraform that plans with all names known."""
    yield from _paper(tmp_path_factory, known=True)


@pytest.fixture(scope="session")
def plans(paper: Paper) -> dict[tuple[str, str], Plan]:
    """The plan of every scope in every mode."""
    return {(scope, mode): paper.plan(scope=SCOPES[scope], mode=mode, **FIVE) for scope in SCOPES for mode in MODES}


@pytest.fixture(scope="session")
def blank_paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paper]:
    """Terraform that plans as before a first apply: names that Google Cloud assigns are unknown."""
    yield from _paper(tmp_path_factory, known=False)


def _paper(factory: pytest.TempPathFactory, *, known: bool) -> Iterator[Paper]:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    made = Paper(factory.mktemp("paper"), known=known)
    yield made
    made.close()


def grants(plan: Plan) -> dict[str, set[tuple[str, str]]]:
    """All grants of a plan: member to (role, resource type), from `_member` and `_binding` resources."""
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for each in plan.resources.values():
        kind = re.sub(r"_iam_(member|binding)$", "", each["type"])
        if kind != each["type"]:
            values = each["values"]
            for member in values.get("members") or [values["member"]]:
                found[member].add((values["role"], kind))
    return found


def permissions(plan: Plan) -> dict[str, set[str]]:
    """The permissions of each custom role, by its name."""
    return {
        values["id"]: set(values["permissions"])
        for kind in ("google_organization_iam_custom_role", "google_project_iam_custom_role")
        for values in plan.of(kind).values()
    }


def environment(values: dict[str, Any]) -> dict[str, str | None]:
    """A container's variables; those from a secret are None."""
    template = values["template"][0]
    [container] = (template["template"][0] if "template" in template else template)["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def who(name: str) -> str:
    return f"serviceAccount:remediate-{name}@{PROJECT}.iam.gserviceaccount.com"


def containers(plan: Plan) -> dict[str, dict[str, Any]]:
    """The services and the jobs, by part: receiver, review, sweep, due."""
    parts = (*plan.of("google_cloud_run_v2_service").values(), *plan.of("google_cloud_run_v2_job").values())
    return {values["name"].removeprefix("remediate-"): values for values in parts}


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
