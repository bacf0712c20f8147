"""Output for other tools does not change by a byte: the plan, the schemas, the list, the hashes of one fixed story.

`UPDATE_GOLDEN=1 pytest tests/golden` rewrites the files; their diff shows what changes for those tools.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remediate.decisions.policy import Mode
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from tests import warm
from tests.audit_entries import DEPLOYER, activity, denial, user_text
from tests.service.helpers import DAY, cross, same
from tests.service.world import REVIEWER, World

HERE = Path(__file__).parent
OTHER = "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/api:v9"


def printed(*words: str, ledger: str = "") -> str:
    """The output of a command in an environment that sets only the ledger."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REMEDIATE_")}
    done = warm.run_text("remediate", *words, env=clean | {"REMEDIATE_LEDGER": ledger})
    assert done.returncode == 0, done.stderr
    return done.stdout


def told_story(path: Path) -> str:
    """Fill a ledger with a grant, an approval, a rejection, a revocation, an expiry and a proposal; returns its URL."""
    url = f"sqlite:///{path}"
    world = World(open_ledger(url))
    world.instance(Mode.ENFORCE).handle(same("1"))
    first = world.instance().handle(cross("2")).remediation
    assert first
    world.instance().approve(first.id, actor=REVIEWER, note="the shop's own base image", max_duration=30 * DAY)
    [agent] = first.tally.partners
    world.instance().reject(agent, actor=REVIEWER, note="not yet")
    world.now += DAY
    granted = world.instance(Mode.ENFORCE).handle(same("1")).remediation
    assert granted
    world.instance().revoke(granted.id, actor=DEPLOYER, note="the job is gone")
    other = activity(user_text(OTHER), images=(OTHER,), email="ana@example.com", insert_id="3")
    world.instance().handle(denial(other))
    world.now += 30 * DAY
    list(world.instance().sweep())
    world.check_trail()
    return url


def hashes(url: str) -> str:
    ledger = open_ledger(url)
    records = sorted(ledger.find(Filter()), key=lambda each: each.id)
    return "".join(f"{step.remediation} {step.seq} {step.hash}\n" for each in records for step in ledger.trail(each.id))


@pytest.mark.parametrize("name", ["plan.json", "notices-schema.json", "policy-schema.json", "list.json", "hashes.txt"])
def test_what_other_tools_read_stays_as_it_is(name: str, tmp_path: Path) -> None:
    match name:
        case "plan.json":
            text = printed("plan", "examples/denials.json", "--format", "json")
        case "list.json":
            text = printed("list", "--format", "json", "--all", ledger=told_story(tmp_path / "ledger.db"))
        case "hashes.txt":
            text = hashes(told_story(tmp_path / "ledger.db"))
        case _:
            text = printed(name.partition("-")[0], "schema")
    golden = HERE / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
