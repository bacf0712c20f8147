"""The ingress rule of docs/hardened-organizations.md: gcloud takes it, and it lets in the calls that the service makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from remediate.doctor.requirements import DECIDES
from tests.sandbox_fixture import ROOT

PAGE = (ROOT / "docs" / "hardened-organizations.md").read_text()
INSTALLATION = yaml.safe_load((ROOT / "deploy" / "installation.yaml").read_text())
SERVICES = {"resourcemanager": "cloudresourcemanager"}
"""The service of a permission, where its name is another one than the permission's beginning."""


def rule() -> str:
    [found] = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    return str(found)


def test_the_rule_lets_in_every_call_of_the_service_by_the_accounts_that_make_them() -> None:
    [allowed] = yaml.safe_load(rule())
    called = {each["permission"].partition(".")[0] for each in INSTALLATION["calls"]}
    operations = allowed["ingressTo"]["operations"]
    assert {each["serviceName"] for each in operations} == {
        f"{SERVICES.get(each, each)}.googleapis.com" for each in called
    }
    accounts = {name: each["name"] for name, each in INSTALLATION["resources"]["accounts"].items()}
    callers = {accounts[each].replace("<name>", "remediate") for each in DECIDES}
    identities = set(allowed["ingressFrom"]["identities"])
    assert identities == {f"serviceAccount:{each}@PROJECT.iam.gserviceaccount.com" for each in callers}


def _gcloud(folder: Path, text: str) -> str:
    """What gcloud says about a file of ingress rules; it reads the file before it looks for credentials."""
    (folder / "rules.yaml").write_text(text)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")}
    words = ["gcloud", "access-context-manager", "perimeters", "update", "p", "--policy=1", "--quiet"]
    done = subprocess.run(
        [*words, f"--set-ingress-policies={folder / 'rules.yaml'}"],
        env=clean | {"CLOUDSDK_CONFIG": str(folder / "config"), "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stderr


def test_gcloud_takes_the_rule(tmp_path: Path) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    assert "Unrecognized fields: [ingressInto]" in _gcloud(tmp_path, rule().replace("ingressTo", "ingressInto"))
    told = _gcloud(tmp_path, rule())
    assert "parsing file" not in told
    assert "active account" in told
