"""Checks of our service accounts: they exist, have no keys, and hold exactly the permissions that they need."""

from __future__ import annotations

import re
from collections.abc import Iterator

from remediate.decisions.policy import Mode
from remediate.doctor import resources as gcp
from remediate.doctor.codes import Code
from remediate.doctor.environment import environment
from remediate.doctor.finding import APPLY, Finding, report_missing, report_unavailable, report_unknown
from remediate.doctor.installation import TROUBLESHOOTER_ROLES
from remediate.doctor.names import IDENTITIES, command
from remediate.doctor.requirements import (
    ANCESTRY,
    DECIDES,
    IMPERSONATING,
    REQUIREMENTS,
    SET_POLICY,
    TAGS,
    WRITING_ROLES,
    Requirement,
)
from remediate.doctor.resources import Absent, AllowPolicy, Unknown, bindings, grants
from remediate.doctor.snapshot import Snapshot

_GOOGLE_AGENT = re.compile(r"serviceAccount:service-[0-9]+@gcp-sa-[a-z-]+\.iam\.gserviceaccount\.com\Z")
"""Google's own agents, such as Pub/Sub's, which signs a push subscription's tokens."""


def accounts(facts: Snapshot) -> Iterator[Finding]:
    """Each service account exists, is enabled, has no key, and no other identity can act as it."""
    names = facts.names
    for place, policy in facts.inherited_policies.items():
        for role, member in grants(policy, *IMPERSONATING[:4]):
            if not _GOOGLE_AGENT.match(member):
                what = f"{member} can act as every service account in {place} ({role})"
                yield Finding(Code.ACCOUNT_IMPERSONATED, what, names.change_binding("remove", place, member, role))
    for task in IDENTITIES:
        email, name = names.account(task), names.account_name(task)
        account, keys = facts.get(gcp.ServiceAccount, name), facts.get(gcp.AccountKeys, name)
        absent = Finding(Code.ACCOUNT_MISSING, f"service account {email} does not exist", APPLY)
        yield from report_missing(account, absent)
        if isinstance(account, gcp.ServiceAccount) and account.disabled:
            fix = names.gcloud("iam", "service-accounts", "enable", email)
            yield Finding(Code.ACCOUNT_DISABLED, f"service account {email} is disabled", fix)
        yield from report_unknown(facts.get(AllowPolicy, name))
        for role, member in grants(facts.get(AllowPolicy, name), *IMPERSONATING):
            if not _GOOGLE_AGENT.match(member):
                fix = names.change_binding("remove", name, member, role)
                yield Finding(Code.ACCOUNT_IMPERSONATED, f"{member} can act as {email} ({role})", fix)
        yield from report_unknown(keys)
        for key in keys.keys if isinstance(keys, gcp.AccountKeys) else ():
            own = key.name.rpartition("/")[2]
            fix = names.gcloud("iam", "service-accounts", "keys", "delete", own, f"--iam-account={email}")
            yield Finding(Code.ACCOUNT_KEYS, f"{email} has the key {own}", fix)


def receiver_mode(facts: Snapshot) -> Mode | None:
    """The mode that the receiver is deployed with; None where the switches decide, or the mode cannot be read."""
    if isinstance(facts.receiver, Absent):
        return Mode.DRY_RUN  # a receiver that does not exist enforces nothing
    mode = environment(facts.receiver).get("REMEDIATE_MODE")
    return Mode(mode) if mode in list(Mode) else None


def rights(facts: Snapshot) -> Iterator[Finding]:
    """Each service account holds what it needs at each place, and nothing else."""
    yield from report_unknown(facts.receiver)  # its mode decides what it may hold
    for policy in facts.policies.values():
        yield from report_unavailable(policy)
    for task in IDENTITIES:
        for place, policy in facts.policies.items():
            yield from _AccountAtPlace(facts, task, place, policy).findings()


class _AccountAtPlace:
    """What one service account holds in one allow policy, compared with what it needs there."""

    def __init__(self, facts: Snapshot, task: str, place: str, policy: object) -> None:
        self._facts, self._task, self._place, self._policy = facts, task, place, policy
        self._member = facts.names.member(task)
        mode = receiver_mode(facts)
        self._here = [each for each in REQUIREMENTS if each.identity == task and place in _places(facts, each)]
        self._needed = [each for each in self._here if each.mode in (None, mode)]
        # Without a mode the switches decide at run time: what enforcing needs is neither required nor superfluous.
        self._allowed = [each for each in self._here if each.mode in (None, mode) or mode is None]

    def findings(self) -> Iterator[Finding]:
        """What is superfluous, what does not exist, and what is missing."""
        if not isinstance(self._policy, AllowPolicy):
            return
        accepted = {role for each in self._allowed for role in (*each.roles, *each.optional_roles)}
        settings = environment(self._facts.receiver)
        if settings.get("REMEDIATE_TROUBLESHOOTER") == "on" and self._task in DECIDES:
            accepted |= {*TROUBLESHOOTER_ROLES}
        held: set[str] = set()
        certain = True
        for binding in self._own_bindings():
            role = self._facts.get(gcp.IamRole, binding.role)
            if binding.role in accepted:
                held |= {each for need in self._here if binding.role in need.roles for each in need.permissions}
            elif isinstance(role, gcp.IamRole) and not role.deleted:
                held |= {*role.included_permissions}
                yield from self._excess_findings(binding, role)
            elif binding.role.startswith("roles/"):
                yield self._superfluous_role(binding, None)
            elif isinstance(role, Unknown):
                certain = False
                yield from report_unknown(role)
            else:
                what = f"{self._place}: {self._member} is granted {binding.role}, which does not exist"
                yield Finding(Code.ROLE_MISSING, what, APPLY)
        for need in self._needed if certain else ():
            lacking = [each for each in self._needed_permissions(need) if each not in held]
            if lacking:
                what = f"{self._place}: {self._member} lacks {', '.join(lacking)}"
                yield Finding(Code.RIGHT_MISSING, what, self._grant_command(need, lacking))

    def _own_bindings(self) -> list[gcp.RoleBinding]:
        return [each for each in bindings(self._policy) if self._member in each.members]

    def _excess_findings(self, binding: gcp.RoleBinding, role: gcp.IamRole) -> Iterator[Finding]:
        """The permissions of a role that are not needed here, or the whole role."""
        allowed = {permission for each in self._allowed for permission in (*each.permissions, *each.optional)}
        extra = sorted({*role.included_permissions} - allowed)
        if not extra:
            return
        needed = ({*self._needed_permissions(each)} for each in self._needed if each.permissions)
        if binding.role.startswith("roles/") or not any(each <= {*role.included_permissions} for each in needed):
            yield self._superfluous_role(binding, role)
            return
        fix = _update_role(binding.role, f"--remove-permissions={','.join(extra)}")
        code = Code.ROLE_SUPERFLUOUS
        if SET_POLICY in extra:
            code = {"receiver": Code.WRITES_IN_DRY_RUN, "review": Code.PAGES_WRITE}.get(self._task, code)
        yield Finding(code, f"{binding.role} holds {', '.join(extra)}, which {self._task} does not need", fix)

    def _superfluous_role(self, binding: gcp.RoleBinding, role: gcp.IamRole | None) -> Finding:
        writes = binding.role in WRITING_ROLES or (role is not None and SET_POLICY in role.included_permissions)
        mode = receiver_mode(self._facts)
        if self._task == "receiver" and writes and mode is not Mode.ENFORCE:
            shown = mode or "not set (the switches decide)"
            what = f"{self._place}: the receiver can write allow policies through {binding.role}; its mode is {shown}"
            code = Code.WRITES_IN_DRY_RUN
        else:
            what = f"{self._place}: {self._member} holds {binding.role}, which it does not need there"
            code = Code.PAGES_WRITE if self._task == "review" and writes else Code.RIGHT_SUPERFLUOUS
        flags = ("--all",) if binding.condition else ()
        names = self._facts.names
        return Finding(code, what, names.change_binding("remove", self._place, self._member, binding.role, *flags))

    def _needed_permissions(self, need: Requirement) -> list[str]:
        """What is needed at this place: projects cannot hold permissions on what is above them, folders only some."""
        kind = self._place.partition("/")[0]
        beyond = {"projects": ANCESTRY, "folders": ANCESTRY[2:], "organizations": ()}[kind]
        wanted = [each for each in need.permissions if each not in beyond]
        tagged = "REMEDIATE_OPT_IN_TAG" in environment(self._facts.receiver)
        return [*wanted, TAGS] if tagged and TAGS in need.optional and kind != "projects" else wanted

    def _grant_command(self, need: Requirement, lacking: list[str]) -> str:
        """The command that adds to the custom role that the account holds for this, or grants that role."""
        names = self._facts.names
        if not need.custom_role:
            return names.change_binding("add", self._place, self._member, need.roles[0], "--condition=None")
        own = names.role(need.custom_role)
        for binding in self._own_bindings():
            if binding.role.endswith(f"/roles/{own}"):
                return _update_role(binding.role, f"--add-permissions={','.join(lacking)}")
        places = (*names.watched_scopes, *self._facts.ancestors)
        organization = next((each for each in places if each.startswith("organizations/")), names.project_path)
        owner = names.project_path if self._place.startswith("projects/") else organization
        flag = f"--condition={self._known_condition(own)}"
        return names.change_binding("add", self._place, self._member, f"{owner}/roles/{own}", flag)

    def _known_condition(self, own: str) -> str:
        """The condition on this role elsewhere; gcloud asks for one where a policy has conditions."""
        for policy in self._facts.policies.values():
            for binding in bindings(policy):
                if binding.role.endswith(f"/roles/{own}") and binding.condition:
                    title = binding.condition.get("title", f"/roles/{own}")
                    return f"^;^title={title};expression={binding.condition.get('expression')}"
        return "None"


def _update_role(role: str, change: str) -> str:
    parent, _, own = role.rpartition("/roles/")
    kind, _, number = parent.partition("/")
    return command("gcloud", "iam", "roles", "update", own, f"--{kind.removesuffix('s')}={number}", change)


def _places(facts: Snapshot, need: Requirement) -> tuple[str, ...]:
    names = facts.names
    match need.where:
        case "project":
            return (names.project_path,)
        case "scope":
            return names.watched_scopes
        case "events":  # Eventarc delivers audit log events itself, to accounts that may receive them
            return () if names.has_sinks else (names.project_path,)
        case _:  # the organization above watched folders
            folders = names.watched_scopes[0].startswith("folders/")
            return tuple(each for each in facts.ancestors if folders and each.startswith("organizations/"))
