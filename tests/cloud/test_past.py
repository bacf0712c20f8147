"""A member's past by Google's client against the sandbox: real deploys, real policy changes, and the words of an attacker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from remediate.cloud.interface import Cloud
from remediate.cloud.logs import GoogleLogs
from remediate.entries.denial import Denial
from remediate.service.history import History, Past
from remediate.times import to_rfc3339
from tests.audit_entries import activity, denial, user_text
from tests.fakes import MemoryRegistry, MemoryRoles, projects
from tests.sandbox_fixture import DEPLOYER, SandboxProcess

APP = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
ADMIN = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
READER = "roles/artifactregistry.reader"


def past(sandbox: SandboxProcess, **how: Any) -> Past:
    """Of the deployer, who is denied now."""
    found: Denial = denial(activity(user_text(ADMIN), images=(ADMIN,)))
    now = datetime.now(UTC)
    found = replace(found, entry=replace(found.entry, timestamp=to_rfc3339(now)))
    cloud = Cloud(MemoryRegistry(), projects(), MemoryRoles(), GoogleLogs(sandbox.url, 5.0))
    return History(cloud, lambda: now, **how).past(found, None)


def readers(sandbox: SandboxProcess, *members: str) -> None:
    policy = sandbox.call("GET", f"/v1/{APP}:getIamPolicy")[1]
    policy["bindings"] = [{"role": READER, "members": list(members)}] if members else []
    assert sandbox.call("POST", f"/v1/{APP}:setIamPolicy", {"policy": policy})[0] == 200


@pytest.mark.parametrize("kind", ["service", "job", "worker-pool"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_deploy_proves_itself_until_somebody_takes_the_access_away(
    sandbox_server: SandboxProcess, api: str, kind: str
) -> None:
    assert past(sandbox_server) == Past(False, False)
    assert sandbox_server.deploy(ADMIN, api=api, kind=kind)["exit_code"] == 1
    assert past(sandbox_server) == Past(False, False)  # what failed proves nothing
    readers(sandbox_server, DEPLOYER)
    assert sandbox_server.deploy(ADMIN, api=api, kind=kind)["exit_code"] == 0
    assert past(sandbox_server) == Past(True, False)
    readers(sandbox_server)
    own = ("serviceaccount:remediate@remediate-ops.iam.gserviceaccount.com",)
    assert past(sandbox_server) == Past(True, True)
    assert past(sandbox_server, own=own) == Past(True, False)
    readers(sandbox_server, DEPLOYER)
    assert past(sandbox_server) == Past(True, False)


def test_a_log_that_may_not_be_read_tells_nothing(sandbox_server: SandboxProcess) -> None:
    sandbox_server.faults({"match": "entries:list", "effect": "status", "code": 403, "times": None})
    assert past(sandbox_server) == Past(None, None)
