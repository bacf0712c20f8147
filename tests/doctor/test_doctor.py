"""What an operator types: `doctor`, its exit codes, its two formats, and how it finds the installation."""

from __future__ import annotations

import json
import shlex
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from remediate.doctor.codes import Code
from remediate.ledger.sqlite import SqliteLedger
from tests import warm
from tests.doctor.broken import BROKEN
from tests.doctor.installation import PROJECT, REGION, SINK, Installation, clean_environment
from tests.sandbox_fixture import ROOT

WHERE = ("--project", PROJECT, "--region", REGION)


def doctor(installation: Installation | None, *arguments: str, code: int = 0, **environ: str) -> str:
    """The output of a run, which must end with this exit code."""
    whole = clean_environment() | (installation.environ if installation else {}) | environ
    done = warm.run_text("remediate", "doctor", *arguments, env=whole)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr == ""  # quiet in a pipe
    return done.stdout if code != 2 else done.stderr


def report_json(installation: Installation | None, *arguments: str, code: int = 0, **environ: str) -> Any:
    return json.loads(doctor(installation, *arguments, "--format", "json", code=code, **environ))


def test_a_healthy_installation_exits_0_and_every_check_is_marked(installation: Installation) -> None:
    text = doctor(installation, *WHERE, "--no-canary")
    assert "✗" not in text
    assert text.count("✓") > 15
    assert "0 problem, 0 warning, 0 unknown" in text


def test_a_finding_exits_1_and_says_what_why_and_how(installation: Installation) -> None:
    installation.change({SINK: {"disabled": True}})
    text = doctor(installation, *WHERE, "--no-canary", code=1)
    assert "✗ sink" in text
    assert "sink_disabled (problem)" in text
    assert "what organizations/400000000001: sink remediate-denials is disabled" in text
    assert "why  No log entry reaches the service." in text
    fix = "gcloud logging sinks update remediate-denials --organization=400000000001 --no-disabled"
    assert f"fix  {fix}" in text
    report = report_json(installation, *WHERE, "--no-canary", code=1)
    [finding] = report["findings"]
    assert finding == {
        "code": "sink_disabled",
        "severity": "problem",
        "what": "organizations/400000000001: sink remediate-denials is disabled",
        "why": "No log entry reaches the service.",
        "fix": fix,
    }
    assert report["summary"]["problem"] == 1
    assert report["site"]["scopes"] == ["organizations/400000000001"]
    [check] = [each for each in report["checks"] if each["status"] == "found"]
    assert check["findings"] == [finding]


def test_what_is_unknown_exits_1_too(installation: Installation) -> None:
    installation.sandbox.faults({"match": "triggers/", "effect": "status", "code": 403, "times": None})
    report = report_json(installation, *WHERE, "--no-canary", code=1)
    assert [each["severity"] for each in report["findings"]] == ["unknown"]
    assert "? trigger" in doctor(installation, *WHERE, "--no-canary", code=1)


def test_on_a_laptop_it_checks_what_is_here_and_lists_what_it_skipped(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    report = report_json(None, REMEDIATE_LEDGER=ledger)
    left_out = {each["section"]: each["note"] for each in report["checks"] if each["status"] == "left_out"}
    assert {"APIs and quotas", "event delivery", "services", "identities", "synthetic denial"} <= left_out.keys()
    assert all(note for note in left_out.values())
    assert report["site"] is None
    assert not (tmp_path / "ledger.db").exists()  # looking makes nothing


def test_a_sqlite_ledger_is_read_and_not_migrated(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "ledger.db"
    for version, code in ((1, "ledger_older"), (99, "ledger_newer")):
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        report = report_json(None, code=1, REMEDIATE_LEDGER=f"sqlite:///{path}")
        assert [each["code"] for each in report["findings"]] == [code]
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    path.unlink()
    SqliteLedger(path)
    assert report_json(None, REMEDIATE_LEDGER=f"sqlite:///{path}")["findings"] == []
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database at all" * 100)
    assert (
        report_json(None, code=1, REMEDIATE_LEDGER=f"sqlite:///{damaged}")["findings"][0]["code"]
        == "ledger_unreachable"
    )


def test_settings_that_are_not_accepted_are_findings_each(installation: Installation) -> None:
    report = report_json(installation, *WHERE, code=1, REMEDIATE_MODE="Enforce", REMEDIATE_TIMEOUT="soon")
    assert [each["code"] for each in report["findings"]] == ["settings_invalid"] * 2
    assert {each["fix"] for each in report["findings"]} == {"export REMEDIATE_MODE=...", "export REMEDIATE_TIMEOUT=..."}


def test_a_broken_policy_file_has_a_finding_with_the_place_in_it(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("rules:\n  - name: x\n    when: image.projekt == 'x'\n    then: grant\n")
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    [finding] = report_json(None, code=1, REMEDIATE_POLICY=str(path), REMEDIATE_LEDGER=ledger)["findings"]
    assert finding["code"] == "policy_unreadable"
    assert "projekt" in finding["what"]
    assert finding["fix"] == f"remediate policy check {path}"


def test_local_commands_on_another_ledger_are_a_finding(installation: Installation, tmp_path: Path) -> None:
    report = report_json(installation, *WHERE, "--no-canary", code=1, REMEDIATE_LEDGER=f"sqlite:///{tmp_path}/x.db")
    [finding] = report["findings"]
    assert finding["code"] == "settings_differ"
    assert finding["fix"] == "export REMEDIATE_LEDGER=firestore://remediate-ops/remediate"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--project", "Remediate"), "--project 'Remediate'"),
        (("--project", PROJECT), "--region"),
        (("--project", PROJECT, "--region", "europe"), "--region 'europe'"),
        ((*WHERE, "--name", "R_1"), "--name 'R_1'"),
        ((*WHERE, "--scope", "organisation/1"), "--scope 'organisation/1'"),
        ((*WHERE, "--scope", "projects/shop-frontend"), "--scope 'projects/shop-frontend'"),
        ((*WHERE, "--scope", "organizations/1", "--scope", "folders/1"), "--scope"),
        (("--canary",), "--canary"),
        (("--name", "other"), "--project and --region"),
        ((*WHERE, "--format", "csv"), "--format"),
    ],
)
def test_bad_input_is_named_with_what_is_accepted(arguments: tuple[str, ...], named: str) -> None:
    assert named in " ".join(doctor(None, *arguments, code=2).replace("│", " ").split())


@pytest.mark.parametrize(
    "environ",
    [
        {"GOOGLE_CLOUD_PROJECT": PROJECT, "CLOUDSDK_RUN_REGION": REGION},
        {"CLOUDSDK_CORE_PROJECT": PROJECT, "CLOUDSDK_RUN_REGION": REGION},
        {"REMEDIATE_LEDGER": f"firestore://{PROJECT}/remediate", "CLOUDSDK_RUN_REGION": REGION},
    ],
)
def test_the_installation_is_named_by_the_environment(installation: Installation, environ: dict[str, str]) -> None:
    report = report_json(installation, "--no-canary", code=0, **environ)
    assert (report["site"]["project"], report["site"]["region"]) == (PROJECT, REGION)


class _Metadata(BaseHTTPRequestHandler):
    answers: ClassVar = {
        "/computeMetadata/v1/project/project-id": PROJECT,
        "/computeMetadata/v1/instance/region": f"projects/444444444444/regions/{REGION}",
    }

    def do_GET(self) -> None:
        text = self.answers.get(self.path, "") if self.headers["Metadata-Flavor"] == "Google" else ""
        self.send_response(200 if text else 404)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def metadata() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("part", [{"K_SERVICE": "remediate-review"}, {"CLOUD_RUN_JOB": "remediate-sweep"}])
def test_inside_the_service_it_knows_where_it_is_and_sends_nothing(
    installation: Installation, metadata: str, part: dict[str, str]
) -> None:
    ledger = f"firestore://{PROJECT}/remediate"
    report = report_json(installation, code=0, GCE_METADATA_HOST=metadata, REMEDIATE_LEDGER=ledger, **part)
    assert report["site"] == {
        "project": PROJECT,
        "region": REGION,
        "name": "remediate",
        "scopes": report["site"]["scopes"],
    }
    assert report["canary"] is None


def test_a_file_as_ledger_in_a_real_cloud_run_is_a_finding(installation: Installation) -> None:
    from dataclasses import replace

    from remediate.doctor import configuration
    from remediate.doctor.collect import FactCollector
    from remediate.doctor.resource_api import ResourceApi
    from remediate.wiring import clock

    installation.set_env(REMEDIATE_LEDGER="sqlite:////ledger.db")
    at = {name.rpartition("_")[2]: url.rstrip("/") for name, url in installation.sandbox.env.items()}
    collector = FactCollector(ResourceApi(PROJECT, at, 5, local=True, again="doctor"), clock())
    found = collector.collect(installation.names, local=True)
    assert list(configuration.access_settings(found)) == []
    assert [each.code for each in configuration.access_settings(replace(found, local=False))][:1] == [
        Code.LEDGER_EPHEMERAL
    ]


def test_a_registry_that_a_proposal_names_and_that_may_not_be_seen_is_a_finding(
    installation: Installation, tmp_path: Path
) -> None:
    from remediate.decisions.policy import decide
    from remediate.decisions.variables import ASSUMED
    from remediate.records.lifecycle import open_remediation
    from remediate.records.states import State
    from remediate.wiring import clock
    from tests.audit_entries import activity, denial

    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = SqliteLedger(tmp_path / "ledger.db")
    for exists in (True, None):
        entry = denial(activity(insert_id=str(exists), email=f"deployer-{exists}@example.com"))
        decision = decide(entry, msgspec.structs.replace(ASSUMED, repository_exists=exists))
        record, step = open_remediation(entry, decision, State.PROPOSED, actor="remediate", now=clock())
        ledger.commit(record, trail=(step,))
        installation.set_env(REMEDIATE_LEDGER=url)
        found = [each for each in installation.run().findings if each.code is Code.REGISTRY_UNSEEN]
        assert len(found) == (exists is None)
    assert "projects/platform-images" in found[0].what
    assert found[0].fix.startswith("add projects/platform-images to `registries`")


def test_beside_a_google_cloud_on_this_machine_no_real_one_is_ever_asked(installation: Installation) -> None:
    environ = {name: value for name, value in installation.environ.items() if not name.endswith("_EVENTARC")}
    installation.environ = environ
    [finding] = installation.run().findings
    assert finding.code is Code.NOT_KNOWN
    assert finding.fix == "export CLOUDSDK_API_ENDPOINT_OVERRIDES_EVENTARC=http://HOST:PORT/"


@pytest.mark.parametrize("code", Code)
def test_every_code_is_documented_and_says_why(code: Code) -> None:
    assert code.why.endswith(".")
    assert f"| `{code}` | {code.severity} | {code.why} |" in (ROOT / "docs" / "doctor.md").read_text()


def test_the_example_organization_has_this_versions_filter(installation: Installation) -> None:
    from remediate.entries.log_filter import DENIALS

    assert installation.sandbox.call("GET", SINK)[1]["filter"] == DENIALS


def _commands() -> dict[str, Any]:
    """Every gcloud command and flag there is, from the completion data that gcloud ships."""
    found = shutil.which("gcloud")
    tree = Path(found).resolve().parents[1] / "data" / "cli" / "gcloud_completions.py" if found else None
    if tree is None or not tree.is_file():
        pytest.skip("gcloud is not installed")
    return dict(json.loads(tree.read_text().partition("STATIC_COMPLETION_CLI_TREE = ")[2]))


def test_every_cure_is_a_command_that_gcloud_knows(installation: Installation) -> None:
    tree, seen, wrong = _commands(), 0, []
    for _, patch, _ in BROKEN:
        installation.reset()
        installation.change(patch(installation) if callable(patch) else patch)
        for finding in installation.run().findings:
            for words in _gcloud(finding.fix):
                seen += 1
                node, flags = tree, {**tree["flags"]}
                while words and words[0] in node["commands"]:
                    node = node["commands"][words.pop(0)]
                    flags |= node["flags"]
                if node["commands"]:
                    wrong.append(("no command", finding.fix))
                for word in words:
                    flag, _, value = word.partition("=")
                    choices = flags.get(flag)
                    if isinstance(choices, list) and choices and value not in choices:
                        wrong.append((word, finding.fix))
                    if flag.startswith("--") and not {flag, flag.replace("--no-", "--")} & flags.keys():
                        wrong.append((flag, finding.fix))
    assert wrong == []
    assert seen > 60


def _gcloud(fix: str) -> list[list[str]]:
    parts = [shlex.split(part) for part in fix.split(" && ")] if "log-filter" not in fix else [shlex.split(fix)]
    return [words[1:] for words in parts if words[0] == "gcloud"]


def test_a_firestore_ledger_is_read_and_not_migrated(firestore: str) -> None:
    from remediate.doctor import ledger_probe
    from remediate.ledger.opening import open_ledger

    missing = ledger_probe.probe(firestore, {}, 5)
    assert (missing.schema, missing.fault) == (None, "")
    assert ledger_probe.probe(firestore, {}, 5) == missing
    open_ledger(firestore).modes()
    created = ledger_probe.probe(firestore, {}, 5)
    assert (created.schema, created.fault) == (created.newest, "")
