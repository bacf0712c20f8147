"""`make demo` and README: the story ends as promised, and every command that a newcomer is told works as told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox_fixture import ROOT, SandboxProcess

README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is committed, or would be, with links to this environment's files, and its own `remediate`."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv*", ".run", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / ".venv" / "bin").mkdir(parents=True)
    for name in ("lib", "pyvenv.cfg"):
        (copy / ".venv" / name).symlink_to(BIN.parent / name)
    for path in BIN.iterdir():
        if path.name != "remediate":
            (copy / ".venv" / "bin" / path.name).symlink_to(path)
    subprocess.run(["make", "--silent", ".venv/bin/remediate"], cwd=copy, check=True)
    return copy


def installed(checkout: Path) -> dict[str, str]:
    """An environment in which `remediate` is on PATH: the checkout's."""
    return os.environ | {"PATH": f"{checkout / '.venv' / 'bin'}:{os.environ['PATH']}"}


@pytest.fixture
def story(checkout: Path) -> list[str]:
    """The lines of `python -m sandbox story --unattended`, which is what `make demo` runs."""
    command = [".venv/bin/python", "-m", "sandbox", "story", "--unattended"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def reads_as_json(line: str) -> bool:
    return line.strip().startswith('{"') and "severity" in line


def masked(line: str) -> str:
    return re.sub(r"web-00001-[0-9a-f]{3}", "web-00001-xxx", line.strip())


def test_the_demo_ends_as_readme_shows_it(story: list[str]) -> None:
    [shown] = blocks(README, "text")
    told = [masked(line) for line in story]
    for line in shown.splitlines():
        assert masked(line) in told, line
    for promised in ("  rejected: user:ana@example.com", "  revoked: serviceAccount:github", "granted -> expired"):
        assert any(promised in line for line in story), promised
    assert not any(map(reads_as_json, story))  # a reader of a terminal sees no JSON lines
    shown = next(line for line in reversed(story) if "# both that the deploy needs" in line)
    pinned = re.findall(r"r-\w+@\w+", shown)
    assert any(line.startswith(f"$ remediate approve {' '.join(pinned)} --as ") for line in story)
    again = next(number for number, line in enumerate(story) if "She tries again" in line)
    assert "function  ask: user:ana@example.com" in story[again + 1]
    assert "the denial is counted, and no reviewer is asked" in story[again + 2]
    assert any("two members added to one repository, nothing else changed" in line for line in story)
    assert "every allow policy says what it said before" in story[-1]


def test_what_make_run_leaves_up_takes_the_commands_it_shows(checkout: Path) -> None:
    command = [".venv/bin/python", "-m", "sandbox", "story"]
    process = subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    shown: list[str] = []
    for line in process.stdout:
        shown.append(line.strip())
        if "Ctrl-C ends everything" in line:
            break
    try:
        start = next(number for number, line in enumerate(shown) if "open a second terminal" in line)
        commands = [line for line in shown[start + 1 :] if line and not line.startswith(("#", "Decisions"))]
        assert commands[0] == ". .run/env"
        assert len(commands) == 7
        told = subprocess.run(
            ["sh", "-ec", "\n".join(commands)], cwd=checkout, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stdout + told.stderr
        assert "has been deployed and is serving" in told.stdout
        assert "0 problem, 0 warning, 0 unknown" in told.stdout
        assert "decided: refuse" in told.stdout
        [reviewing] = [block for block in blocks(README, "sh") if "list" in block and ".run/env" in block]
        again = subprocess.run(["sh", "-ec", reviewing], cwd=checkout, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "approved → granted" in again.stdout
    finally:
        process.send_signal(signal.SIGINT)
        last = process.stdout.read().splitlines()
        process.wait(20)
        process.stdout.close()
    assert process.returncode == 0
    assert "the settings of the second terminal are stale now" in last[-1]
    environment = checkout / ".run" / "env"
    assert environment.read_text().startswith("# This terminal now talks to the sandbox")
    stale = ". .run/env; remediate show 0; python -m sandbox deploy --project p --as a@example.com --image x"
    told = subprocess.run(["sh", "-c", stale], cwd=checkout, capture_output=True, text=True, check=False)
    [url] = re.findall(r"SANDBOX_URL=(\S+)", environment.read_text())
    cure = f"the sandbox at {url} has ended: run `make run` again, then `. .run/env` again"
    assert told.stderr.splitlines() == [f"remediate: {cure}", f"sandbox: {cure}"]


def test_readmes_plan_commands_work(checkout: Path) -> None:
    [block] = [block for block in blocks(README, "sh") if "examples/" in block]
    done = subprocess.run(
        ["sh", "-ec", block], cwd=checkout, env=installed(checkout), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "gcloud artifacts repositories add-iam-policy-binding" in done.stdout


def test_git_ignores_what_readme_writes_into_the_checkout() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    written = [name for block in blocks(README, "sh") for name in re.findall(r"^done > (\S+)$", block, re.M)]
    assert written == ["export.json"]
    assert set(written) <= {*ignored}


def test_readmes_export_works_with_gcloud(checkout: Path, sandbox_server: SandboxProcess, tmp_path: Path) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    sandbox_server.deploy()
    [block] = [block for block in blocks(README, "sh") if "gcloud logging read" in block]
    settings = {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": "shop-frontend",
    }
    environment = installed(checkout) | sandbox_server.env | settings
    done = subprocess.run(
        ["sh", "-ec", block], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 image-read denials" in done.stdout


def test_every_other_command_block_of_readme_is_a_make_target() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for block in blocks(README, "sh"):
        for line in block.splitlines():
            words = line.split()
            if words[:1] == ["make"]:
                assert words[1] in targets


def test_help_names_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "demo", "check", "test", "lint", "bench", "lock", "clean"):
        assert f"make {target}" in told
