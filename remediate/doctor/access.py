"""Our identities: there, without keys, and holding exactly what they need. Facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from remediate.decisions.policy import Mode
from remediate.doctor.codes import Code
from remediate.doctor.environment import environment
from remediate.doctor.finding import APPLY, Finding, command, not_known, unseen
from remediate.doctor.installation import TROUBLESHOOTER_ROLES
from remediate.doctor.names import IDENTITIES, policy_words
from remediate.doctor.requirements import ANCESTRY, IMPERSONATING, NEEDS, SET_POLICY, TAGS, Need
from remediate.doctor.resources import Absent, Account, AllowPolicy, Binding, Keys, ProjectFacts, Role, Service, Unknown
from remediate.doctor.snapshot import Installation

_GOOGLES = re.compile(r"serviceAccount:service-[0-9]+@gcp-sa-[a-z-]+\.iam\.gserviceaccount\.com\Z")
"""Google's own agents, such as Pub/Sub's, which signs a push subscription's tokens."""


def accounts(found: Installation) -> Iterator[Finding]:
    """Each service account is there, works, has no key that could be copied, and nobody else acts as it."""
    project = f"--project={found.site.project}"
    for place, above in found.above.items():
        for role in IMPERSONATING[:4]:
            for member in above.members_of(role):
                if not _GOOGLES.match(member):
                    fix = command("gcloud", *policy_words(place, "remove"), f"--member={member}", f"--role={role}")
                    what = f"{member} may act as every service account in {place} ({role})"
                    yield Finding(Code.ACCOUNT_IMPERSONATED, what, fix)
    for who in IDENTITIES:
        email = found.site.account(who)
        match found.accounts.get(who):
            case Unknown() as fact:
                yield not_known(fact)
            case Absent():
                yield Finding(Code.ACCOUNT_MISSING, f"there is no service account {email}", APPLY)
            case Account(disabled=True):
                fix = command("gcloud", "iam", "service-accounts", "enable", email, project)
                yield Finding(Code.ACCOUNT_DISABLED, f"service account {email} is disabled", fix)
        policy = found.account_policies.get(who)
        if isinstance(policy, Unknown):
            yield not_known(policy)
        for binding in policy.bindings if isinstance(policy, AllowPolicy) else ():
            for member in binding.members if binding.role in IMPERSONATING else ():
                if _GOOGLES.match(member):
                    continue
                remove = ("gcloud", "iam", "service-accounts", "remove-iam-policy-binding", email, project)
                fix = command(*remove, f"--member={member}", f"--role={binding.role}")
                yield Finding(Code.ACCOUNT_IMPERSONATED, f"{member} may act as {email} ({binding.role})", fix)
        match found.keys.get(who):
            case Unknown() as fact:
                yield not_known(fact)
            case Keys(keys=keys):
                for key in keys:
                    own = key.name.rpartition("/")[2]
                    words = ("gcloud", "iam", "service-accounts", "keys", "delete", own, f"--iam-account={email}")
                    yield Finding(Code.ACCOUNT_KEYS, f"{email} has the key {own}", command(*words, project))


def mode_of(found: Installation) -> Mode | None:
    """The mode that the deployed receiver is told; None where the switches decide, or it cannot be seen."""
    if isinstance(found.receiver, Absent):
        return Mode.DRY_RUN  # what is not there enforces nothing
    said = environment(found.receiver).get("REMEDIATE_MODE") if isinstance(found.receiver, Service) else None
    return Mode(said) if said in list(Mode) else None


def rights(found: Installation) -> Iterator[Finding]:
    """Each identity holds at each place what it needs there, and nothing beyond."""
    if isinstance(found.receiver, Unknown):  # whose mode says what it may hold
        yield not_known(found.receiver)
    for policy in found.policies.values():
        yield from unseen(policy)
    told: set[tuple[Code, str]] = set()
    for who in IDENTITIES:
        for place, policy in found.policies.items():
            if isinstance(policy, AllowPolicy):
                for finding in _at(found, who, place, policy):
                    if (finding.code, finding.what) not in told:  # a role that many hold is told of once
                        told.add((finding.code, finding.what))
                        yield finding


def _at(found: Installation, who: str, place: str, policy: AllowPolicy) -> Iterator[Finding]:
    member = f"serviceAccount:{found.site.account(who)}"
    mode, here = mode_of(found), [need for need in NEEDS if need.identity == who and place in _places(found, need)]
    needed = [need for need in here if need.mode in (None, mode)]
    # Without a mode of its own the receiver is switched at run time: what enforcing needs is neither asked nor blamed.
    allowed_needs = [need for need in here if need.mode in (None, mode) or mode is None]
    allowed = {each for need in allowed_needs for each in (*need.permissions, *need.may)}
    carrying = {role for need in allowed_needs for role in need.roles}
    accepted = carrying | {role for need in allowed_needs for role in need.may_roles} | _troubleshooting(found, who)
    held: set[str] = set()
    certain = True
    for binding in policy.roles_of(member):
        role = found.roles.get(binding.role)
        if binding.role in accepted:
            held |= {each for need in here if binding.role in need.roles for each in need.permissions}
        elif isinstance(role, Role) and not role.deleted:
            held |= {*role.included_permissions}
            yield from _of_role(found, who, place, binding, role, needed, allowed)
        elif binding.role.startswith("roles/"):
            yield from _too_much(found, who, place, binding, None)
        elif isinstance(role, Unknown):
            certain = False
            yield not_known(role)
        else:
            what = f"{place}: {member} was given {binding.role}, which does not exist"
            yield Finding(Code.ROLE_MISSING, what, APPLY)
    if certain:
        for need in needed:
            missing = [each for each in _wanted(found, need, place) if each not in held]
            if missing:
                what = f"{place}: {member} lacks {', '.join(missing)}"
                yield Finding(Code.RIGHT_MISSING, what, _give(found, need, place, member, policy, missing))


def _of_role(
    found: Installation, who: str, place: str, binding: Binding, role: Role, needed: list[Need], allowed: set[str]
) -> Iterator[Finding]:
    """What is wrong with a role that somebody holds here: all of it, or some of its permissions."""
    extra = sorted({*role.included_permissions} - allowed)
    if not extra:
        return
    carries = any({*_wanted(found, need, place)} <= {*role.included_permissions} for need in needed if need.permissions)
    if binding.role.startswith("roles/") or not carries:
        yield from _too_much(found, who, place, binding, role)
        return
    parent, _, own = binding.role.rpartition("/roles/")
    kind, _, number = parent.partition("/")
    listed = ",".join(extra)
    fix = command(
        *("gcloud", "iam", "roles", "update", own, f"--{kind.removesuffix('s')}={number}"),
        f"--remove-permissions={listed}",
    )
    code = Code.WRITES_IN_DRY_RUN if who == "receiver" and SET_POLICY in extra else Code.ROLE_SUPERFLUOUS
    yield Finding(code, f"{binding.role} holds {', '.join(extra)}, which {who} does not need", fix)


def _too_much(found: Installation, who: str, place: str, binding: Binding, role: Role | None) -> Iterator[Finding]:
    member = f"serviceAccount:{found.site.account(who)}"
    every = binding.role in ("roles/owner", "roles/artifactregistry.admin", "roles/artifactregistry.repoAdmin")
    writes = every or (role is not None and SET_POLICY in role.included_permissions)
    if who == "receiver" and writes and mode_of(found) is not Mode.ENFORCE:
        mode = mode_of(found) or "not set, and the switches decide"
        what = f"{place}: the receiver may write allow policies by {binding.role}, and its mode is {mode}"
        code = Code.WRITES_IN_DRY_RUN
    else:
        what = f"{place}: {member} holds {binding.role}, which it does not need there"
        code = Code.RIGHT_SUPERFLUOUS
    words = policy_words(place, "remove")
    condition = ("--all",) if binding.condition else ()
    yield Finding(code, what, command("gcloud", *words, f"--member={member}", f"--role={binding.role}", *condition))


def _places(found: Installation, need: Need) -> tuple[str, ...]:
    match need.where:
        case "project":
            return (found.site.here,)
        case "scope":
            return found.site.watched
        case "events":  # audit log events are handed out by Eventarc itself, to whoever may receive them
            return () if found.site.by_sink else (found.site.here,)
        case _:  # the organization above watched folders
            folders = found.site.watched[0].startswith("folders/")
            above = found.project.ancestors if isinstance(found.project, ProjectFacts) else ()
            return tuple(each for each in above if folders and each.startswith("organizations/"))


def _wanted(found: Installation, need: Need, place: str) -> list[str]:
    """What is needed at this place: a project's role holds nothing of what lies above, a folder's little."""
    kind = place.partition("/")[0]
    beyond = {"projects": ANCESTRY, "folders": ANCESTRY[2:], "organizations": ()}[kind]
    wanted = [each for each in need.permissions if each not in beyond]
    tagged = isinstance(found.receiver, Service) and "REMEDIATE_OPT_IN_TAG" in environment(found.receiver)
    return [*wanted, TAGS] if tagged and TAGS in need.may and kind != "projects" else wanted


def _troubleshooting(found: Installation, who: str) -> set[str]:
    on = isinstance(found.receiver, Service) and environment(found.receiver).get("REMEDIATE_TROUBLESHOOTER") == "on"
    return {*TROUBLESHOOTER_ROLES} if on and who in ("receiver", "review", "sweep") else set()


def _give(found: Installation, need: Need, place: str, member: str, policy: AllowPolicy, missing: Iterable[str]) -> str:
    """Add to the custom role that the member holds for this, or give the member that role."""
    words = ("gcloud", *policy_words(place, "add"), f"--member={member}")
    if not need.by:
        return command(*words, f"--role={need.roles[0]}", "--condition=None")
    own = found.site.role(need.by)
    for binding in policy.roles_of(member):
        parent, _, name = binding.role.rpartition("/roles/")
        if parent and name == own:
            kind, _, number = parent.partition("/")
            where = f"--{kind.removesuffix('s')}={number}"
            return command("gcloud", "iam", "roles", "update", own, where, f"--add-permissions={','.join(missing)}")
    above = found.project.ancestors if isinstance(found.project, ProjectFacts) else ()
    organizations = [each for each in (*found.site.watched, *above) if each.startswith("organizations/")]
    owner = found.site.here if place.startswith("projects/") or not organizations else organizations[0]
    condition = _condition(found, need)
    return command(*words, f"--role={owner}/roles/{own}", f"--condition={condition}")


def _condition(found: Installation, need: Need) -> str:
    """The condition under which others hold this role already; a policy with conditions wants an answer from gcloud."""
    own = f"/roles/{found.site.role(need.by)}"
    for policy in found.policies.values():
        for binding in policy.bindings if isinstance(policy, AllowPolicy) else ():
            if binding.role.endswith(own) and binding.condition:
                title, expression = binding.condition.get("title", own), binding.condition.get("expression")
                return f"^;^title={title};expression={expression}"
    return "None"
