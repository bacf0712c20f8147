"""The items about the machine and the person that install: tools, credentials, quota project, rights, the build."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections import Counter
from enum import StrEnum
from pathlib import Path

import msgspec

from remediate import __version__
from remediate.cloud.caller import caller_address
from remediate.doctor.first_apply.calls import CredentialKind, Quota, Reply, credential_kind
from remediate.doctor.first_apply.items import Item, Verdict
from remediate.doctor.first_apply.result import Result, Target, judge, texts
from remediate.doctor.first_apply.words import BuildStatus, ErrorReason, Fact, Version, known, version
from remediate.doctor.resources import AllowPolicy, HeldPermissions, ProjectAncestry, members
from remediate.errors import RemediateError

_PATIENCE = 20.0  # seconds for `terraform version`
_LEAST = (1, 11)  # Terraform, as deploy/versions.tf requires
_VERSION_3: dict[str, object] = {"options": {"requestedPolicyVersion": 3}}


class Right(StrEnum):
    """The permissions that an apply needs, of which one each stands for a role of the README."""

    SET_PROJECT_POLICY = "resourcemanager.projects.setIamPolicy"
    ENABLE = "serviceusage.services.enable"
    BUCKETS = "storage.buckets.create"
    OBJECTS = "storage.objects.create"
    SINKS = "logging.sinks.create"
    ROLES = "iam.roles.create"
    SET_ORGANIZATION_POLICY = "resourcemanager.organizations.setIamPolicy"
    SET_FOLDER_POLICY = "resourcemanager.folders.setIamPolicy"


_ON_PROJECT = (Right.SET_PROJECT_POLICY, Right.ENABLE, Right.BUCKETS, Right.OBJECTS)
_ON_SCOPE = {
    "organizations": (Right.SINKS, Right.SET_ORGANIZATION_POLICY),
    "folders": (Right.SINKS, Right.SET_FOLDER_POLICY),
}
_REFUSES_QUOTA = {
    ErrorReason.USER_PROJECT_DENIED,
    ErrorReason.SERVICE_DISABLED,
    ErrorReason.CONSUMER_INVALID,
    ErrorReason.CONSUMER_SUSPENDED,
    ErrorReason.BILLING_DISABLED,
    ErrorReason.RATE_LIMIT_EXCEEDED,
}


def tools(_: Target) -> Result:
    """The versions that installed."""
    terraform, provider = _terraform()
    found: dict[str, Fact] = {
        "remediate": version(__version__),
        "python": version(platform.python_version()),
        "terraform": terraform,
        "google_provider": provider,
        "gcloud": _gcloud(),
    }
    new = terraform is not None and terraform.numbers[:2] >= _LEAST
    verdict = judge(new and found["gcloud"] is not None, bad=terraform is not None and not new)
    return Result(Item.TOOLS, verdict, found)


def _terraform() -> tuple[Version | None, Version | None]:
    """Terraform's version and that of the provider that this checkout locks."""
    lock = Path("deploy/.terraform.lock.hcl")
    text = lock.read_text(errors="replace") if lock.is_file() else ""
    own = text.partition('"registry.terraform.io/hashicorp/google"')[2].partition("\n}")[0]
    program = shutil.which("terraform")
    if program is None:
        return None, version(own)
    try:
        done = subprocess.run(  # noqa: S603  (no argument comes from outside)
            [program, "version"],
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"CHECKPOINT_DISABLE": "1"},  # asks nobody for newer versions
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, version(own)
    return version(done.stdout.decode(errors="replace").partition("\n")[0]), version(own)


def _gcloud() -> Version | None:
    """gcloud's version, from the file that it ships: gcloud itself takes seconds to start."""
    program = shutil.which("gcloud")
    shipped = Path(program).resolve().parents[1] / "VERSION" if program else None
    return version(shipped.read_text(errors="replace")) if shipped and shipped.is_file() else None


def caller(target: Target) -> Result:
    """What the credentials are, and on which project their calls are counted."""
    project, environ = target.snapshot.names.project, target.environ
    if target.snapshot.local:
        return Result(Item.CALLER, Verdict.NOT_KNOWN, {"credentials": CredentialKind.NOT_NEEDED})
    kind, quota = credential_kind()
    facts: dict[str, Fact] = {
        "credentials": kind,
        "quota_project_set": quota is not None,
        "quota_project_is_installation": quota == project,
        "user_project_override": environ.get("USER_PROJECT_OVERRIDE") == "true",
        "billing_project_is_installation": environ.get("GOOGLE_BILLING_PROJECT") == project,
    }
    good = kind is not CredentialKind.NONE and quota == project
    return Result(Item.CALLER, judge(good, bad=not good), facts)


def quota_project(target: Target) -> Result:
    """Whether Google takes calls above the project with the installation as quota project, and without any."""
    number = target.snapshot.project.number if isinstance(target.snapshot.project, ProjectAncestry) else None
    asked: dict[str, tuple[str, str, object]] = {"projects": ("CLOUDRESOURCEMANAGER", "/v3/projects:search", None)}
    if above := target.organization:
        asked["organization_roles"] = ("IAM", f"/v1/{above}/roles?pageSize=1", None)
        asked["organization_sinks"] = ("LOGGING", f"/v2/{above}/sinks?pageSize=1", None)
        asked["organization_tags"] = ("CLOUDRESOURCEMANAGER", f"/v3/tagKeys?parent={above}&pageSize=1", None)
    if number:
        asked["iap"] = ("IAP", f"/v1/projects/{number}/iap_web:getIamPolicy", _VERSION_3)
    facts: dict[str, Fact] = {}
    replies: list[Reply] = []
    ours: list[Reply] = []
    for name, (service, path, body) in asked.items():
        pair = {
            quota: target.calls.post(service, path, body, quota) if body else target.calls.get(service, path, quota)
            for quota in (Quota.OURS, Quota.NONE)
        }
        facts[name] = {"with": pair[Quota.OURS].answer, "without": pair[Quota.NONE].answer}
        ours.append(pair[Quota.OURS])
        replies += pair.values()
    good = all(each.answer.is_ok for each in ours)
    bad = any(each.answer.reason in _REFUSES_QUOTA for each in ours)
    return Result(Item.QUOTA_PROJECT, judge(good, bad=bad), facts, texts(*replies))


def installer_rights(target: Target) -> Result:
    """Which permissions of an apply the caller lacks."""
    names = target.snapshot.names
    wanted: dict[str, tuple[Right, ...]] = {names.project_path: _ON_PROJECT}
    for scope in names.scopes:
        if scope.partition("/")[0] in _ON_SCOPE:
            wanted[scope] = _ON_SCOPE[scope.partition("/")[0]]
    if names.has_sinks and (above := target.organization):
        wanted[above] = (*wanted.get(above, ()), Right.ROLES)
    missing: list[Right] = []
    replies: list[Reply] = []
    for place, rights in wanted.items():
        body = {"permissions": list(rights)}
        reply = target.calls.post("CLOUDRESOURCEMANAGER", f"/v3/{place}:testIamPermissions", body)
        replies.append(reply)
        if held := reply.read(HeldPermissions):
            missing += [each for each in rights if each not in held.permissions and each not in missing]
    read = all(each.answer.is_ok for each in replies)
    answers = tuple(each.answer for each in replies)
    facts: dict[str, Fact] = {"answers": answers, "missing": tuple(missing)}
    return Result(Item.INSTALLER_RIGHTS, judge(read and not missing, bad=bool(missing)), facts, texts(*replies))


def inherited_owner(target: Target) -> Result:
    """Whether the caller is Owner on the project itself or from above, and may write the source's bucket."""
    snapshot = target.snapshot
    bucket = f"{snapshot.names.project.replace(':', '-')}-{snapshot.names.name}"
    reply = target.calls.get("STORAGE", f"/storage/v1/b/{bucket}/iam/testPermissions?permissions={Right.OBJECTS.value}")
    held = reply.read(HeldPermissions)
    writes = held is not None and Right.OBJECTS in held.permissions
    facts: dict[str, Fact] = {"bucket": reply.answer, "may_write_bucket": writes if held else None}
    address = _address(target)
    for name, role in (("owner", "roles/owner"), ("storage_admin", "roles/storage.admin")):
        own = snapshot.get(AllowPolicy, snapshot.names.project_path)
        above = [each for place, each in snapshot.inherited_policies.items() if place != snapshot.names.project_path]
        facts[f"{name}_on_project"] = address in members(own, role) if address else None
        facts[f"{name}_from_above"] = any(address in members(each, role) for each in above) if address else None
    return Result(Item.INHERITED_OWNER, judge(writes, bad=held is not None and not writes), facts, texts(reply))


def _address(target: Target) -> str | None:
    """The caller as a member; None where it is not known, as in a sandbox."""
    if target.snapshot.local:
        return None
    try:
        address = caller_address()
    except RemediateError:
        return None
    return f"serviceAccount:{address}" if address.endswith(".gserviceaccount.com") else f"user:{address}"


class _Build(msgspec.Struct, frozen=True):
    status: str = ""


class _Builds(msgspec.Struct, frozen=True):
    builds: tuple[_Build, ...] = ()


def build(target: Target) -> Result:
    """How many builds failed before the first one that succeeded."""
    names = target.snapshot.names
    places = {"global": "global", "region": names.region}
    replies = {
        key: target.calls.get("CLOUDBUILD", f"/v1/{names.project_path}/locations/{place}/builds?pageSize=50")
        for key, place in places.items()
    }
    facts: dict[str, Fact] = {}
    counts: Counter[BuildStatus] = Counter()
    for key, reply in replies.items():
        found = reply.read(_Builds)
        own = Counter(known(BuildStatus, each.status) for each in found.builds) if found else Counter()
        facts[key] = {"answer": reply.answer, "builds": {each.value: number for each, number in own.items()}}
        counts += own
    failed = counts[BuildStatus.FAILURE] + counts[BuildStatus.TIMEOUT] + counts[BuildStatus.INTERNAL_ERROR]
    good = counts[BuildStatus.SUCCESS] > 0
    return Result(Item.BUILD, judge(good, bad=failed > 0), facts, texts(*replies.values()))
