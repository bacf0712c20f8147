"""The attacks of the threat model, run against the real function in enforce mode: none ends in a write by a rule.

Each attack runs under the widest policy file that can be written, so that only invariants and limits stand in its way.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.audit_entries import DEPLOYER, PROJECT, activity, push_body, user_text
from tests.sandbox_fixture import SandboxProcess
from tests.wire.function_fixture import FunctionProcess

ORGANIZATION = "400000000001"
IMAGE = "asia-northeast1-docker.pkg.dev/shop-frontend/app/admin:v1"
REPOSITORY = "projects/shop-frontend/locations/asia-northeast1/repositories/app"
WIDEST = "rules:\n  - name: everything\n    when: 'true'\n    then: grant\n"
ACTIVITY = "cloudaudit.googleapis.com%2Factivity"

Json = dict[str, Any]


def denied(**changed: Any) -> Json:
    """The control: a deploy of the project's own image that the widest file grants."""
    return activity(user_text(IMAGE), images=(IMAGE,), **changed)


def in_log(name: str) -> Json:
    return denied() | {"logName": name}


def saying(message: str, **changed: Any) -> Json:
    return activity(message, images=(IMAGE,), **changed)


def payload(**changed: Any) -> Json:
    entry = copy.deepcopy(denied())
    entry["protoPayload"] |= changed
    return entry


ECHO = user_text(IMAGE)
REFUSED = [{"permission": "run.services.update", "resource": f"namespaces/{PROJECT}/services/web", "granted": False}]

FORGED_LOGS = {
    f"log {name}": in_log(name)
    for name in (
        f"projects/{PROJECT}/logs/x%2F{ACTIVITY}",
        f"projects/{PROJECT}/logs/{ACTIVITY}%2Fx",
        f"projects/{PROJECT}/logs/my-{ACTIVITY}",
        f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2factivity",
        f"projects/{PROJECT}/logs/cloudaudit.googleapis.com/activity",
        f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%252Factivity",
        f"projects/{PROJECT}/logs/{ACTIVITY}\n",
        f"projects/platform-images/logs/{ACTIVITY}",
        f"organizations/{ORGANIZATION}/logs/{ACTIVITY}",
        f"folders/300000000001/logs/{ACTIVITY}",
        f"billingAccounts/0123/logs/{ACTIVITY}",
        f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Fdata_access",
        f"projects/999999999999/logs/{ACTIVITY}",
        f"/projects/{PROJECT}/logs/{ACTIVITY}",
    )
}
ECHOES = {
    "echo in a refused service name": saying(
        f"Permission 'run.services.update' denied on resource 'namespaces/{PROJECT}/services/{ECHO}' (or resource may not exist)."
    ),
    "echo in an actAs refusal": saying(f"Permission 'iam.serviceaccounts.actAs' denied on service account {ECHO}"),
    "echo in an organization policy": saying(f"Operation denied by custom org policy: [customConstraints/x: {ECHO}]."),
    "echo behind an unknown prefix": saying(f"The label says: {ECHO}"),
    "echo with an unknown tail": saying(f"{ECHO} And then something else happened: quota."),
    "echo in a revision's name": saying(
        f"Ready condition status changed to False for Revision {ECHO} with message: Container failed to start."
    ),
}
CALLERS = {
    "no authorization": payload(authorizationInfo=[]),
    "refused authorization": payload(authorizationInfo=REFUSED),
    "authorization for another service": payload(
        authorizationInfo=[
            {"permission": "run.services.update", "resource": f"namespaces/{PROJECT}/services/other", "granted": True}
        ]
    ),
    "another permission": payload(
        authorizationInfo=[
            {
                "permission": "iam.serviceAccounts.actAs",
                "resource": f"namespaces/{PROJECT}/services/web",
                "granted": True,
            }
        ]
    ),
    "a person of another domain": denied(email="mallory@gmail.com"),
    "a service account of another organization": denied(email="exfil@evil-project.iam.gserviceaccount.com"),
    "a pool of another organization": denied(
        email=None,
        subject="principal://iam.googleapis.com/projects/999999999999/locations/global/workloadIdentityPools/evil/subject/x",
    ),
    "a workforce pool that is not ours": denied(
        email=None, subject="principal://iam.googleapis.com/locations/global/workforcePools/evil/subject/x"
    ),
    "an agent identity": denied(
        email=None, subject=f"principal://agents.global.org-{ORGANIZATION}.system.id.goog/resources/aiplatform/x"
    ),
}


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionProcess]:
    folder = tmp_path_factory.mktemp("attacks")
    (folder / "widest.yaml").write_text(WIDEST)
    sandbox = SandboxProcess()
    started = FunctionProcess(
        sandbox,
        folder,
        REMEDIATE_MODE="enforce",
        REMEDIATE_ORGANIZATION=ORGANIZATION,
        REMEDIATE_POLICY=str(folder / "widest.yaml"),
        REMEDIATE_DOMAINS="example.com",
    )
    yield started
    started.close()
    sandbox.close()


ATTACKS = FORGED_LOGS | ECHOES | CALLERS


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_in_no_write(function: FunctionProcess, name: str) -> None:
    assert function.sandbox
    before = function.sandbox.policies()
    entry = ATTACKS[name] | {"insertId": f"attack-{list(ATTACKS).index(name)}"}
    logged = entry["logName"].startswith(f"projects/{PROJECT}/logs/") and "\n" not in entry["logName"]
    assert function.push(push_body(entry), logged=logged) in range(200, 300)
    assert function.sandbox.policies() == before
    if name in FORGED_LOGS:
        assert function.lines()[-1]["reasons"] == ["other_log"]


def test_the_control_is_granted(function: FunctionProcess) -> None:
    assert function.sandbox
    assert function.push(push_body(denied(insert_id="control"))) == 200
    assert function.sandbox.readers(REPOSITORY) == [f"serviceAccount:{DEPLOYER}"]
