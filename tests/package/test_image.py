"""`make image`: the builder that is there gets the files that the service needs; where none is, one sentence says so."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit_entries import activity, push_body
from tests.sandbox_fixture import ROOT
from tests.wire.function_fixture import PUBSUB_TYPE

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
TOOLS = ("basename", "bash", "cat", "chmod", "dirname", "env", "find", "mktemp", "rm", "sed", "sort", "tar")
BUILDER = """#!/usr/bin/env bash
# A builder that writes down its words, and the files of the folder that it is given.
case "$1" in info) exit "${INFO:-0}" ;; esac
echo "$(basename "$0") $*" > "$TOLD/words"
for last; do :; done
(cd "$last" && find . -type f | sort) > "$TOLD/files"
"""


class Machine:
    """A machine on which these builders are installed, and nothing else but what every machine has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)

    def install(self, *builders: str) -> None:
        for name in builders:
            (self.bin / name).write_text(BUILDER)
            (self.bin / name).chmod(0o755)

    def build(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {"PATH": str(self.bin), "TOLD": str(self.folder), "TMPDIR": str(self.folder), **environment}
        return subprocess.run(
            [str(DEPLOY / "image.sh"), *arguments], env=settings, capture_output=True, text=True, check=False
        )

    @property
    def words(self) -> list[str]:
        return (self.folder / "words").read_text().split()

    @property
    def files(self) -> set[str]:
        return {name.removeprefix("./") for name in (self.folder / "files").read_text().split()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_builder_one_sentence_says_so(machine: Machine) -> None:
    done = machine.build()
    assert done.returncode == 1
    assert done.stderr.startswith("make image: nothing here can build an image")
    assert done.stderr.count("\n") == 1


def test_a_client_without_its_daemon_is_no_builder(machine: Machine) -> None:
    machine.install("docker", "pack")
    assert machine.build(INFO="1").returncode == 1


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
def test_a_builder_gets_the_dockerfile_and_what_the_service_needs(machine: Machine, builder: str) -> None:
    machine.install(builder)
    done = machine.build("shop/remediate:1")
    assert done.returncode == 0, done.stderr
    assert machine.words[:5] == [builder, "build", "--tag", "shop/remediate:1", "--file"]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "main.py", "requirements.txt", "remediate"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert machine.files == set(listed.stdout.split())
    assert not list(machine.folder.glob("tmp.*")), "what was staged is removed"


def test_pack_builds_it_as_a_deploy_does(machine: Machine) -> None:
    machine.install("docker", "pack")
    done = machine.build()
    assert done.returncode == 0, done.stderr
    assert machine.words[:3] == ["pack", "build", "remediate"]
    deployed = set(re.findall(r"^ +- (--(?:builder|env)=\S+)", (DEPLOY / "build.yaml").read_text(), re.M))
    assert deployed
    assert {word for word in machine.words if word.startswith(("--builder", "--env"))} == deployed


def test_the_image_runs_as_nobody_and_holds_locked_requirements() -> None:
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", DOCKERFILE, re.M)
    assert "--require-hashes --requirement requirements.txt" in DOCKERFILE
    copied = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for word in line.split()[:-1]}
    assert copied == {"main.py", "requirements.txt", "remediate"}


def test_the_command_of_the_image_serves_the_function(tmp_path: Path) -> None:
    """Its files, its environment and its command, without the container: functions-framework imports the function."""
    shutil.copy(ROOT / "main.py", tmp_path)
    shutil.copytree(ROOT / "remediate", tmp_path / "remediate", ignore=shutil.ignore_patterns("__pycache__"))
    assert 'CMD ["functions-framework"]' in DOCKERFILE
    [variables] = re.findall(r"^ENV (.*?)^WORKDIR", DOCKERFILE, re.M | re.S)
    settings = dict(re.findall(r"([A-Z_]+)=(\S+)", variables))
    assert (settings["FUNCTION_TARGET"], settings["PORT"]) == ("on_denial", "8080")
    code = (
        "import json, os, sys, functions_framework\n"
        "app = functions_framework.create_app(os.environ['FUNCTION_TARGET'])\n"
        "event = {'ce-type': sys.argv[1], 'ce-id': '1', 'ce-source': '//pubsub.googleapis.com/x', 'ce-specversion': '1.0'}\n"
        "print(app.test_client().post('/', json=json.load(sys.stdin), headers=event).status_code)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("REMEDIATE_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", code, PUBSUB_TYPE], cwd=tmp_path, env=clean | settings | {"REMEDIATE_LEDGER": "sqlite:///ledger.db"},
        input=json.dumps(push_body(activity("Something else."))), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "200", done.stdout


def test_the_script_is_clean_shell() -> None:
    checker = Path(sys.executable).with_name("shellcheck")
    if not checker.exists():
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([str(checker), str(DEPLOY / "image.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
