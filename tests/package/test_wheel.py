"""The wheel holds all of the package, and the command that it installs works in every folder."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import remediate
from tests.sandbox_fixture import ROOT

UV = Path(sys.executable).with_name("uv")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NO_NETWORK = re.compile(r"Failed to fetch|error sending request|dns error|network", re.IGNORECASE)


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(UV), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the backend of this environment; by a downloaded one where it has none."""
    out = tmp_path_factory.mktemp("wheel")
    own = ("--no-build-isolation",) if importlib.util.find_spec("hatchling") else ()
    done = uv("build", "--wheel", "--quiet", "--python", sys.executable, "--out-dir", str(out), *own)
    if done.returncode and not own and NO_NETWORK.search(done.stderr):
        pytest.skip("hatchling is not installed, and there is no network")
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`remediate`, installed into a fresh environment in the versions of requirements.txt.

    Without a network the environment takes what the package needs from this one.
    """
    fresh = tmp_path_factory.mktemp("environment") / "fresh"
    assert uv("venv", "--quiet", "--python", sys.executable, str(fresh)).returncode == 0
    into = ("pip", "install", "--quiet", "--python", str(fresh))
    done = uv(*into, "--constraints", "requirements.txt", str(wheel))
    if done.returncode and NO_NETWORK.search(done.stderr):
        done = uv(*into, "--no-deps", str(wheel))
        [site] = fresh.glob("lib/python*/site-packages")
        (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert done.returncode == 0, done.stderr
    return fresh / "bin" / "remediate"


def run(command: Path, *arguments: str, folder: Path = Path("/")) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("REMEDIATE_", "PYTHON"))}
    done = subprocess.run(
        [str(command), *arguments], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dependencies_are_those_of_requirements_in() -> None:
    lines = (ROOT / "requirements.in").read_text().splitlines()
    assert PROJECT["dependencies"] == [line for line in lines if not line.startswith("#")]


def test_the_version_is_written_once() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "remediate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == set(listed.stdout.split())
    for name in ("py.typed", "iam/roles.json", "review/style.css", "review/icon.svg", "review/templates/base.html"):
        assert f"remediate/{name}" in held


def test_the_wheel_bears_the_version_of_the_package(wheel: Path) -> None:
    assert wheel.name == f"remediate-{remediate.__version__}-py3-none-any.whl"


def test_the_installed_command_tells_its_version(command: Path) -> None:
    assert run(command, "--version") == f"remediate {remediate.__version__}\n"


def test_the_installed_command_plans_in_every_folder(command: Path) -> None:
    export = str(ROOT / "examples" / "denials.json")
    assert "gcloud artifacts repositories add-iam-policy-binding" in run(command, "plan", export, "--format", "gcloud")
    here = run(command, "plan", "denials.json", folder=ROOT / "examples")
    assert here == run(command, "plan", export)


def test_the_installed_package_has_its_roles_and_templates(command: Path) -> None:
    assert "predefined roles include artifactregistry.repositories.downloadArtifacts" in run(command, "roles", "list")
    code = (
        "from importlib.resources import files; import remediate.review.pages, remediate.wiring\n"
        "folder = files('remediate.review')\n"
        "print(*(name for name in ('style.css', 'icon.svg', 'templates/inbox.html') if folder.joinpath(name).is_file()))"
    )
    assert run(command.with_name("python"), "-c", code).split() == ["style.css", "icon.svg", "templates/inbox.html"]


def test_the_installed_command_needs_no_checkout(command: Path, tmp_path: Path) -> None:
    assert '"$schema"' in run(command, "policy", "schema", folder=tmp_path)
    assert '"$schema"' in run(command, "notices", "schema", folder=tmp_path)


def test_the_command_of_a_checkout_works_in_every_folder(tmp_path: Path) -> None:
    """What `make` writes to .venv/bin/remediate: called by a link, from a folder that holds another `remediate`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)
    command = ["make", "--silent", f"BIN={folder}", str(folder / "remediate")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "remediate.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "link").symlink_to(folder / "remediate")
    assert run(tmp_path / "link", "--version", folder=tmp_path) == f"remediate {remediate.__version__}\n"
    export = str(ROOT / "examples" / "denials.json")
    assert run(tmp_path / "link", "plan", export) == run(
        Path(sys.executable), "-m", "remediate", "plan", export, folder=ROOT
    )
