"""A plan predicts what the service proposes: who else the same deploy needs, for each of its repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediate.decisions.plan import Plan
from remediate.ledger.interface import Filter
from remediate.ledger.opening import open_ledger
from tests.audit_entries import REPOSITORY, activity, call_entry, denial, understood
from tests.service.world import World

IMAGES = (
    "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:v2",
    "us-docker.pkg.dev/platform-images/sidecars/envoy:v1",
)
SIDECARS = "projects/platform-images/locations/us/repositories/sidecars"


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_deploy_with_two_images_in_two_repositories_needs_four_grants(tmp_path: Path, api: str) -> None:
    entry = activity(images=IMAGES, api=api)
    plan = Plan()
    for each in (entry, call_entry("an-operation", insert_id="call")):  # the call tells the project's number
        plan.add(understood(each))
    planned = {(each.repository, each.member, each.predicted) for each in plan.report().grants}
    world = World(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}"))
    world.registry.policies[SIDECARS] = []
    world.instance().handle(denial(entry))
    proposed = {(each.repository, each.member, each.tally.predicted) for each in world.ledger.find(Filter())}
    assert planned == proposed
    assert sorted(repository for repository, _, _ in planned) == [REPOSITORY] * 2 + [SIDECARS] * 2
