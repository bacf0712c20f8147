"""Parses commands by gcloud's own parser, without running them: a wrong word, flag or missing argument is an error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import contextlib, io, json, os, sys
root = os.environ["GCLOUD_ROOT"]
sys.path[:0] = [root + "/lib", root + "/lib/third_party"]
from googlecloudsdk.gcloud_main import CreateCLI
parser = CreateCLI([])._CLI__top_element._parser
faults = []
for words in json.load(sys.stdin):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(words)
        faults.append("")
    except SystemExit:
        faults.append(said.getvalue() or "no such command")
    except Exception as error:
        faults.append(f"{type(error).__name__}: {error}")
print("\\n" + json.dumps(faults))
"""
_INNER = re.compile(r"\$\((gcloud (?:[^()]|\([^()]*\))*)\)")


def gcloud_faults(commands: list[list[str]], folder: Path) -> dict[str, str]:
    """What gcloud says against each command (without the word `gcloud`); none of those that it accepts."""
    found = shutil.which("gcloud")
    root = Path(found).resolve().parents[1] if found else None
    if root is None or not (root / "lib" / "googlecloudsdk").is_dir():
        pytest.skip("gcloud is not installed")
    environ = os.environ | {"GCLOUD_ROOT": str(root), "CLOUDSDK_CONFIG": str(folder)}
    given = json.dumps(commands)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], input=given, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    return {" ".join(words): fault for words, fault in zip(commands, answers, strict=True) if fault}


def command_lines(page: str) -> list[str]:
    """Each command of the `sh` blocks of a page in one line; an inner `$(gcloud ...)` is a command of its own."""
    lines = []
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            lines += _INNER.findall(line)
            lines += [part.strip() for part in _INNER.sub("X", line).split(" | ")]
    return [line for line in lines if line]
