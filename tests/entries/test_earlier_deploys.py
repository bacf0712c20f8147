"""An earlier deploy is proven by what Google wrote about it, never by words that its caller typed."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediate.entries.earlier_deploys import Begun, DeployPlace, EarlierDeploy, completed_deploys, earlier_deploys
from remediate.entries.log_filter import deploys_by
from remediate.iam.member import Member
from remediate.iam.repository import Repository, parse_image
from sandbox.logfilter import compile_filter
from tests.audit_entries import DEPLOYER, NUMBER, PROJECT, deployed
from tests.entries.corpus import CORPUS, ENTRIES
from tests.forged import FORGED

AT = datetime(2026, 11, 1, 8, tzinfo=UTC)
BEFORE = datetime(2026, 11, 23, 8, tzinfo=UTC)
SINCE = BEFORE - timedelta(days=400)
APP = Repository(PROJECT, "asia-northeast1", "app")
GCR = Repository(PROJECT, "us", "gcr.io")
CI = Member(f"serviceAccount:{DEPLOYER}")
ANA = Member("user:ana@example.com")
POOL = Member(
    "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/subject/repo"
)
PATH = f"asia-northeast1-docker.pkg.dev/{PROJECT}/app/web:v1"
HELLO = "us-docker.pkg.dev/cloudrun/container/hello"


def place(repository: Repository = APP) -> DeployPlace:
    names = (repository, Repository(NUMBER, repository.location, repository.name))
    return DeployPlace((PROJECT, NUMBER), names)


def good(member: Member = CI, at: datetime = AT, **how: Any) -> dict[str, Any]:
    return deployed(member, PROJECT, APP, at, **how)


def found(
    *entries: Any, member: Member = CI, repository: Repository = APP, before: datetime = BEFORE
) -> list[EarlierDeploy | Begun]:
    raws = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in entries]
    return list(earlier_deploys(raws, place(repository), [member], SINCE, before))


def proves(*entries: Any, member: Member = CI, repository: Repository = APP) -> bool:
    return any(isinstance(each, EarlierDeploy) for each in found(*entries, member=member, repository=repository))


def preselected(entry: dict[str, Any], member: Member = CI, repository: Repository = APP) -> bool:
    """Whether the filter brings the entry before the judge at all."""
    times = SINCE.isoformat(), BEFORE.isoformat()
    return compile_filter(deploys_by(place(repository).repositories, [member], *times))(entry)


def changed(path: str, value: Any, entry: dict[str, Any] | None = None) -> dict[str, Any]:
    """The good entry with one field more, or another; `del` takes it out."""
    entry = deepcopy(entry or good())
    *steps, last = path.split("/")
    node: Any = entry
    for step in steps:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    if value == "del":
        del node[last]
    else:
        node[last] = value
    return entry


def with_image(image: str | None, **how: Any) -> dict[str, Any]:
    entry = good(**how)
    [*_, containers] = _containers(entry["protoPayload"]["request"])
    containers[:] = [{"image": image}] if image else []
    return entry


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    inner = [each for name, child in value.items() if name != "containers" for each in _containers(child)]
    return [*inner, *([value["containers"]] if "containers" in value else [])]


@pytest.mark.parametrize("member", [CI, ANA, POOL], ids=["service account", "user", "federated"])
@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["service", "job", "worker_pool"])
def test_a_deploy_that_went_well_is_proven(member: Member, api: str, kind: str) -> None:
    entry = good(member, api=api, kind=kind)
    [deploy] = found(entry, member=member)
    assert deploy == EarlierDeploy(member, AT, PATH, "deployed")
    assert preselected(entry, member)


def test_an_instance_is_a_kind_like_the_others() -> None:
    entry = good(api="v2")
    entry["protoPayload"]["methodName"] = "google.cloud.run.v2.Instances.CreateInstance"
    entry["protoPayload"]["request"] = {"instance": {"containers": [{"image": PATH}]}}
    assert proves(entry)
    assert preselected(entry)
    entry["protoPayload"]["request"] = {"service": {"template": {"containers": [{"image": PATH}]}}}
    assert not found(entry)  # another kind's field


@pytest.mark.parametrize("port", ["", ":443"])
@pytest.mark.parametrize("host", ["asia-northeast1-docker.pkg.dev", "docker.asia-northeast1.rep.pkg.dev"])
def test_every_host_is_preselected_and_judged_as_images_are_read(host: str, port: str) -> None:
    image = f"{host}{port}/{PROJECT}/app/web:v1"
    read = parse_image(image)
    assert preselected(with_image(image))
    assert proves(with_image(image)) == (read is not None and read.repository == APP)


def test_the_addresses_of_one_repository_are_all_its_own() -> None:
    region = "asia-northeast1-docker.pkg.dev"
    for image in (f"{region}/{NUMBER}/app/web:v1", f"{region}/{PROJECT}/app/a/b@sha256:{'0' * 64}"):
        assert proves(with_image(image))
        assert preselected(with_image(image))
    for image in (f"gcr.io/{PROJECT}/web", f"us-docker.pkg.dev/{PROJECT}/gcr.io/web", f"gcr.io/{NUMBER}/web"):
        assert proves(with_image(image), repository=GCR)
        assert preselected(with_image(image), repository=GCR)
        assert not proves(with_image(image))


@pytest.mark.parametrize("image", [
    f"us-docker.pkg.dev/{PROJECT}/app/web", f"asia-northeast1-docker.pkg.dev/{PROJECT}/app2/web",
    "asia-northeast1-docker.pkg.dev/other/app/web", f"evil.example.com/{PATH}", f"docker.io/{PATH}", f"{PATH} ", f" {PATH}",
    f"eu.gcr.io/{PROJECT}/app/web", f"{HELLO}?{PATH}", f"{HELLO}/asia-northeast1-docker.pkg.dev/{PROJECT}/app/web", None, "",
])  # fmt: skip
def test_another_image_proves_nothing(image: str | None) -> None:
    assert not found(with_image(image))


HIDDEN = with_image(HELLO)
SPEC = "protoPayload/request/service/spec/template"
META = "protoPayload/request/service/metadata"
CONTAINER = f"{SPEC}/spec/containers/0"
ATTACKS: dict[str, Any] = {
    "(a) an env value": changed(f"{CONTAINER}/env", [{"name": "X", "value": PATH}], HIDDEN),
    "an env value that looks like a container": changed(f"{CONTAINER}/env", [{"image": PATH}], HIDDEN),
    "an argument": changed(f"{CONTAINER}/args", [PATH], HIDDEN),
    "(b) an annotation": changed(f"{META}/annotations", {"x": PATH}, HIDDEN),
    "gcloud's own annotation": changed(f"{META}/annotations", {"client.knative.dev/user-image": PATH}, HIDDEN),
    "the template's annotation": changed(f"{SPEC}/metadata", {"annotations": {"containers": [{"image": PATH}]}}, HIDDEN),
    "a label": changed(f"{META}/labels", {"x": PATH}, HIDDEN),
    "a name": changed(f"{META}/name", PATH, HIDDEN),
    "the resource's name": changed("protoPayload/resourceName", PATH, HIDDEN),
    "a volume": changed(f"{SPEC}/spec/volumes", [{"containers": [{"image": PATH}]}], HIDDEN),
    "an init container": changed(f"{SPEC}/spec/initContainers", [{"image": PATH}], HIDDEN),
    "a neighbour of the resource": changed("protoPayload/request/job", good()["protoPayload"]["request"]["service"], HIDDEN),
    "the answer alone": changed("protoPayload/response", good()["protoPayload"]["request"]["service"], HIDDEN),
    "the metadata": changed("protoPayload/metadata", good()["protoPayload"]["request"], HIDDEN),
    "(c) a user's log": changed("logName", f"projects/{PROJECT}/logs/x%2Fcloudaudit.googleapis.com%2Factivity"),
    "a log whose name ends so": changed("logName", f"projects/{PROJECT}/logs/xcloudaudit.googleapis.com%2Factivity"),
    "a system event": changed("logName", f"projects/{PROJECT}/logs/cloudaudit.googleapis.com%2Fsystem_event"),
    "another project's log": changed("logName", "projects/other/logs/cloudaudit.googleapis.com%2Factivity"),
    "an organization's log": changed("logName", "organizations/4/logs/cloudaudit.googleapis.com%2Factivity"),
    "no log's name": changed("logName", "del"),
    "(d) a failed call at WARNING": changed("protoPayload/status", {"code": 7, "message": "no"}) | {"severity": "WARNING"},
    "a failed call at NOTICE": changed("protoPayload/status", {"code": 7}),
    "a status that is no status": changed("protoPayload/status", [7]),
    "a code that is text": changed("protoPayload/status", {"code": "7"}),
    "a code that is a list": changed("protoPayload/status", {"code": [7]}),
    "severity ERROR": changed("severity", "ERROR"),
    "severity CRITICAL": changed("severity", "CRITICAL"),
    "severity as a number": changed("severity", 500),
    "the warning of 2024": changed("protoPayload/status", {"message": f"User must have permission to read the image, {PATH}."}),
    "(e) a dry run of v1": changed("protoPayload/request/dryRun", "all"),
    "a dry run, spelled otherwise": changed("protoPayload/request/dry_run", ["All"]),
    "a dry run among options": changed("protoPayload/request/options", {"createOptions": {"dryRun": "all"}}),
    "a dry run by annotation": changed(f"{META}/annotations", {"run.googleapis.com/dry-run": "true"}),
    "a dry run in the metadata": changed("protoPayload/metadata", {"dryRun": True}),
    "a dry run in the address": changed(
        "protoPayload/requestMetadata/requestAttributes", {"path": "/apis/serving.knative.dev/v1/x?a=b&dryRun=all"}
    ),
    "a dry run of v2": changed("protoPayload/request/validateOnly", True, good(api="v2")),
    "a dry run of v2, by query": changed(
        "protoPayload/requestMetadata/requestAttributes", {"query": "validateOnly=true"}, good(api="v2")
    ),
    "an update of the scaling alone": with_image(None, api="v2"),
    "a mask that leaves the image out": changed("protoPayload/request/updateMask", "scaling,labels", good(api="v2")),
    "a mask as a message": changed("protoPayload/request/updateMask", {"paths": ["template.scaling"]}, good(api="v2")),
    "a mask of another shape": changed("protoPayload/request/update_mask", {"template": True}, good(api="v2")),
    "permission refused with code 0": changed("protoPayload/authorizationInfo/0/granted", False),
    "granted left out": changed("protoPayload/authorizationInfo/0/granted", "del"),
    "granted as text": changed("protoPayload/authorizationInfo/0/granted", "true"),
    "another service's permission": changed("protoPayload/authorizationInfo/0/permission", "iam.serviceAccounts.actAs"),
    "one refused beside one granted": changed("protoPayload/authorizationInfo", [
        {"permission": "run.services.get", "granted": True}, {"permission": "run.services.update"},
    ]),
    "no permission at all": changed("protoPayload/authorizationInfo", "del"),
    "permissions that are no list": changed("protoPayload/authorizationInfo", {"permission": "run.x", "granted": True}),
    "another service": changed("protoPayload/serviceName", "container.googleapis.com"),
    "another method": changed("protoPayload/methodName", "google.cloud.run.v1.Services.SetIamPolicy"),
    "a method that only begins so": changed("protoPayload/methodName", "google.cloud.run.v1.Services.ReplaceService2"),
    "one kind's method on another's list": changed("protoPayload/methodName", "google.cloud.run.v1.Services.ReplaceJob"),
    "a system event's method": changed("protoPayload/methodName", "/Services.ReplaceService"),
    "a deletion": changed("protoPayload/methodName", "google.cloud.run.v1.Services.DeleteService"),
    "another caller": changed("protoPayload/authenticationInfo", {"principalEmail": "mallory@example.com"}),
    "a caller that only contains the member": changed("protoPayload/authenticationInfo/principalEmail", f"x{DEPLOYER}"),
    "no caller": changed("protoPayload/authenticationInfo", {}),
    "the member only behind the call": changed("protoPayload/authenticationInfo", {
        "principalEmail": "mallory@example.com", "serviceAccountDelegationInfo": [{"principalEmail": DEPLOYER}],
    }),
    "two callers": changed("protoPayload/authenticationInfo/principalSubject", "user:mallory@example.com"),
    "a part of a split entry": changed("split", {"uid": "u", "index": 0, "totalSplits": 2}),
    "a split of another shape": changed("split", "u"),
    "later than the denial": good(at=BEFORE),
    "too long ago": good(at=SINCE - timedelta(seconds=1)),
    "no time": changed("timestamp", "del"),
    "a time without a zone": changed("timestamp", "2026-11-01T08:00:00"),
    "the first of two alone": changed("operation", {"id": "op", "first": True}, good(api="v2")),
    "the last of two alone": changed("operation", {"id": "op", "last": True}, good(api="v2")),
    "one in the middle": changed("operation", {"id": "op"}, good(api="v2")),
    "an operation of another shape": changed("operation", ["first"], good(api="v2")),
    "no JSON": b"{]",
    "no object": b"[]",
    "nested without end": b'{"protoPayload":' * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_proves_nothing(attack: Any) -> None:
    assert not proves(attack)


def test_the_attacks_differ_from_a_proof_by_one_thing() -> None:
    assert proves(good())
    assert proves(good(api="v2"))
    for name in ("(a) an env value", "(b) an annotation"):
        assert preselected(ATTACKS[name])  # else the judge was not asked at all


@pytest.mark.parametrize(("path", "value"), [
    ("protoPayload/status", {}), ("protoPayload/status", {"code": 0}), ("severity", "del"), ("severity", "INFO"),
    ("protoPayload/request/dryRun", ""), ("protoPayload/request/validateOnly", False),
    (f"{CONTAINER}/env", [{"name": "DRY_RUN", "value": "true"}]),
    (f"{CONTAINER}/env", [{"name": "X", "valueFrom": {"secretKeyRef": {"key": "1", "name": "s"}}}]),
    ("protoPayload/authenticationInfo/principalSubject", f"serviceAccount:{DEPLOYER}"),
    ("protoPayload/authenticationInfo/principalSubject", POOL.id),
    ("protoPayload/authenticationInfo/principalEmail", DEPLOYER.upper()),
    ("protoPayload/requestMetadata", {"requestAttributes": {"time": "2026-11-01T08:00:00Z", "auth": {}}}),
    ("logName", f"projects/{NUMBER}/logs/cloudaudit.googleapis.com%2Factivity"),
])  # fmt: skip
def test_what_a_good_entry_may_say_besides(path: str, value: Any) -> None:
    assert proves(changed(path, value))


@pytest.mark.parametrize("mask", ["template", "labels,template", "*", "template.containers", {"paths": ["template"]}])
def test_a_mask_that_covers_the_containers_deploys_them(mask: Any) -> None:
    assert proves(changed("protoPayload/request/updateMask", mask, good(api="v2")))


def test_an_impersonated_account_deployed_and_not_who_stands_behind_it() -> None:
    entry = changed("protoPayload/authenticationInfo/principalSubject", POOL.id)
    assert proves(entry)
    assert not found(entry, member=POOL)
    workforce = changed(
        "protoPayload/authenticationInfo", {"principalEmail": "ana@example.com", "principalSubject": POOL.id}
    )
    assert proves(workforce, member=POOL)
    assert not found(workforce, member=ANA)


# Operations of two entries


def pair(**last: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A v2 call's first entry, with the request, and its last, with the outcome alone."""
    first = changed("operation", {"id": "op-78", "producer": "run.googleapis.com", "first": True}, good(api="v2"))
    payload = {name: first["protoPayload"][name] for name in ("serviceName", "methodName", "resourceName")}
    end = first | {"protoPayload": payload, "timestamp": (AT + timedelta(minutes=1)).isoformat(), "insertId": "last"}
    end["operation"] = {"id": "op-78", "producer": "run.googleapis.com", "last": True}
    for path, value in last.items():
        end = changed(path.replace("__", "/"), value, end)
    return first, end


def joined(first: dict[str, Any], *ends: dict[str, Any]) -> list[EarlierDeploy]:
    begun = [each for each in found(first) if isinstance(each, Begun)]
    return completed_deploys(begun, [json.dumps(each).encode() for each in ends], place())


def test_two_entries_of_one_operation_prove_together() -> None:
    first, last = pair()
    assert not proves(first, last)
    assert joined(first, last) == [EarlierDeploy(CI, AT, PATH, "deployed")]
    assert joined(first, pair(protoPayload__authenticationInfo={"principalEmail": DEPLOYER})[1])


BAD_ENDS: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "the first again": (pair()[0],),
    "a failure": (pair(protoPayload__status={"code": 7, "message": "no"})[1],),
    "a failure beside a success": (pair()[1], pair(protoPayload__status={"code": 13})[1]),
    "severity ERROR": (pair(severity="ERROR")[1],),
    "another operation": (pair(operation={"id": "op-79", "last": True})[1],),
    "an operation that only begins so": (pair(operation={"id": "op-78x", "last": True})[1],),
    "not the last": (pair(operation={"id": "op-78"})[1],),
    "a user's log": (pair(logName=f"projects/{PROJECT}/logs/x%2Fcloudaudit.googleapis.com%2Factivity")[1],),
    "another project's log": (pair(logName="projects/other/logs/cloudaudit.googleapis.com%2Factivity")[1],),
    "another service": (pair(protoPayload__serviceName="iam.googleapis.com")[1],),
    "another method": (pair(protoPayload__methodName="google.cloud.run.v2.Services.CreateService")[1],),
    "another resource": (pair(protoPayload__resourceName="projects/p/locations/l/services/other")[1],),
    "another caller": (pair(protoPayload__authenticationInfo={"principalEmail": "mallory@example.com"})[1],),
    "a permission refused": (pair(protoPayload__authorizationInfo=[{"permission": "run.services.update"}])[1],),
    "an end before its beginning": (pair(timestamp=(AT - timedelta(minutes=1)).isoformat())[1],),
}


@pytest.mark.parametrize("ends", BAD_ENDS.values(), ids=BAD_ENDS)
def test_an_operation_is_proven_by_its_own_end_alone(ends: tuple[dict[str, Any], ...]) -> None:
    assert joined(pair()[0], *ends) == []


# In general

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(PATH),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_log_names = st.sampled_from(FORGED) | st.text(max_size=40) | st.builds(
    "projects/{}/logs/{}{}".format,
    st.sampled_from([PROJECT, "other", "", NUMBER]),
    st.sampled_from(["", "x", "x%2F", "x/", "-"]),
    st.sampled_from(["cloudaudit.googleapis.com%2Factivity", "cloudaudit.googleapis.com%2Factivity%2F", "activity"]),
)  # fmt: skip


@given(_log_names)
@example("projects/other/logs/cloudaudit.googleapis.com%2Factivity")
def test_an_entry_without_an_exact_source_never_proves(log_name: str) -> None:
    exact = [f"projects/{name}/logs/cloudaudit.googleapis.com%2Factivity" for name in (PROJECT, NUMBER)]
    assert proves(changed("logName", log_name)) == (log_name in exact)
    first, last = pair()
    assert bool(joined(first, changed("logName", log_name, last))) == (log_name in exact)


@given(st.sampled_from([
    "logName", "severity", "timestamp", "protoPayload", "protoPayload/status", "protoPayload/serviceName", "protoPayload/methodName",
    "protoPayload/authenticationInfo", "protoPayload/authorizationInfo", "protoPayload/request", "protoPayload/request/service",
    "operation", "split", "protoPayload/request/updateMask", "protoPayload/requestMetadata",
]), _json)  # fmt: skip
def test_any_value_in_any_field_is_judged_and_never_an_error(path: str, value: Any) -> None:
    entry = changed(path, value) if value != "del" else good()
    for api in ("v1", "v2"):
        entry = changed(path, value, good(api=api)) if value != "del" else entry
        for each in found(entry):
            assert isinstance(each, EarlierDeploy | Begun)


@given(_json)
def test_whatever_an_image_of_elsewhere_is_dressed_with_proves_nothing(value: Any) -> None:
    for path in (
        f"{CONTAINER}/env",
        f"{META}/annotations",
        f"{SPEC}/metadata",
        "protoPayload/response",
        "protoPayload/metadata",
    ):
        assert not found(changed(path, value if value != "del" else None, HIDDEN))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published entries is not beside this repository")
def test_published_entries_are_judged_and_none_proves_what_it_does_not_name() -> None:
    for path in ENTRIES:
        assert found(path.read_bytes(), member=ANA) == []


def test_a_call_that_only_moves_traffic_proves_no_reading() -> None:
    template = "protoPayload/request/service/spec/template/metadata"
    there = changed(template, {"name": "web-00001-abc"})
    assert proves(there)
    for which in ("latestReadyRevisionName", "latestCreatedRevisionName"):
        answered = changed("protoPayload/response", {"status": {which: "web-00001-abc"}}, there)
        assert not proves(answered)
        assert proves(changed(template, {"name": "web-00002-new"}, answered))


@pytest.mark.parametrize("which", ["latestReadyRevision", "latestCreatedRevision"])
@pytest.mark.parametrize("place", ["protoPayload/response", "protoPayload/response/metadata"])
def test_a_v2_call_that_only_moves_traffic_proves_no_reading(place: str, which: str) -> None:
    named = changed("protoPayload/request/service/template/revision", "web-00001-abc", good(api="v2"))
    assert proves(named)
    known = {which: f"projects/{PROJECT}/locations/us-east1/services/web/revisions/web-00001-abc"}
    answered = changed(place, known, changed("protoPayload/response", {}, named))
    assert not proves(answered)
    assert proves(changed("protoPayload/request/service/template/revision", "web-00002-new", answered))


NAMED_REVISION = f"projects/{PROJECT}/locations/us-east1/services/web/revisions/web-00001-abc"


@pytest.mark.parametrize("spelled", ["web-00001-abc", NAMED_REVISION])
def test_a_call_whose_last_entry_knows_its_revision_proves_nothing(spelled: str) -> None:
    operation = {"id": "projects/p/locations/l/operations/op1", "producer": "run.googleapis.com"}
    first = changed("protoPayload/request/service/template/revision", spelled, good(api="v2"))
    first |= {"operation": operation | {"first": True}}
    last = good(api="v2", at=AT + timedelta(seconds=9), insert_id="last") | {"operation": operation | {"last": True}}
    del last["protoPayload"]["request"], last["protoPayload"]["authorizationInfo"]
    begun = [each for each in found(first) if isinstance(each, Begun)]
    assert completed_deploys(begun, [json.dumps(last).encode()], place())
    last["protoPayload"]["response"] = {"name": "web", "latestCreatedRevision": NAMED_REVISION}
    assert not completed_deploys(begun, [json.dumps(last).encode()], place())


def test_every_revision_that_a_request_names_is_compared() -> None:
    whole = changed("protoPayload/request/service/template/revision", NAMED_REVISION, good(api="v2"))
    answered = changed("protoPayload/response", {"latestReadyRevision": NAMED_REVISION}, whole)
    assert not proves(answered)
    other = {"template": {"metadata": {"name": "other"}}}
    assert not proves(changed("protoPayload/request/service/spec", other, answered))
