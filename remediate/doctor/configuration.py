"""What the parts are told: settings that are accepted, agree with each other, and keep the doors shut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from remediate.doctor.codes import Code
from remediate.doctor.environment import environment, secrets
from remediate.doctor.finding import APPLY, Finding, command, not_known
from remediate.doctor.installation import INDEXES
from remediate.doctor.names import IDENTITIES, Site
from remediate.doctor.resources import (
    Absent,
    AllowPolicy,
    Database,
    Indexes,
    Job,
    Service,
    TagValue,
    Unknown,
    newest_first,
)
from remediate.doctor.snapshot import Installation, LedgerFacts, Local
from remediate.errors import BadInput
from remediate.settings import load_settings

_SAME = (
    "MODE",
    "POLICY",
    "POLICY_CONFIRMED",
    "LEDGER",
    "ORGANIZATION",
    "REVIEWERS",
    "OPERATORS",
    "IDENTITIES",
    "OPT_IN_TAG",
    "DOMAINS",
    "WORKFORCE_POOLS",
    "GRANT_DAYS",
    "TROUBLESHOOTER",
    "UNKNOWN_DEPLOYER",
)
"""What every part has to be told alike."""
_MINE = ("POLICY", "LEDGER", "ORGANIZATION", "OPT_IN_TAG")
"""What your own commands act by: what is set here and differs there misleads."""
_HIDDEN = "a stand-in for a value that is kept in a secret"


def local(found: Local) -> Iterator[Finding]:
    """The settings of this environment are accepted."""
    for problem in found.problems:
        yield Finding(Code.SETTINGS_INVALID, problem, _cure(problem))


def policy(found: Local) -> Iterator[Finding]:
    """The policy file can be read, and compiles."""
    if found.policy_fault and found.settings and found.settings.policy:
        yield from policy_at(found.settings.policy, found.policy_fault)


def policy_at(place: str, fault: str) -> Iterator[Finding]:
    """What is said of a policy file that cannot be taken; one that may not be read here may be well."""
    if ": 403 " in fault:
        me = '--member="user:$(gcloud config get-value account)"'
        bucket = command(place.removeprefix("gs://").partition("/")[0])
        fix = f"gcloud storage buckets add-iam-policy-binding gs://{bucket} {me} --role=roles/storage.objectViewer"
        yield Finding(Code.NOT_KNOWN, f"{fault}; it needs storage.objects.get", fix)
    else:
        yield Finding(Code.POLICY_UNREADABLE, fault, command("remediate", "policy", "check", place))


def ledger(found: LedgerFacts) -> Iterator[Finding]:
    """The ledger answers, and is stored as this version stores it."""
    if found.refused:
        project = found.url.removeprefix("firestore://").partition("/")[0]
        me = '--member="user:$(gcloud config get-value account)"'
        fix = f"gcloud projects add-iam-policy-binding {project} {me} --role=roles/datastore.viewer"
        what = f"{found.url} cannot be read ({found.fault}); it needs datastore.entities.get"
        yield Finding(Code.NOT_KNOWN, what, fix)
    elif found.fault:
        yield Finding(Code.LEDGER_UNREACHABLE, f"{found.url}: {found.fault}", _ledger_cure(found.url))
    elif found.schema is not None and found.schema > found.newest:
        what = f"{found.url} has schema {found.schema}, and this version knows up to {found.newest}"
        yield Finding(Code.LEDGER_NEWER, what, "git pull && make test")
    elif found.schema is not None and found.schema < found.newest:
        what = f"{found.url} has schema {found.schema}, and this version writes {found.newest}"
        fix = f"REMEDIATE_LEDGER={command(found.url)} remediate list"
        yield Finding(Code.LEDGER_OLDER, what, fix)


def parts(found: Installation) -> Iterator[Finding]:
    """Every deployed part is told what this version accepts, and all are told the same."""
    told = {name: part for name, part in _parts(found).items() if isinstance(part, Service | Job)}
    for name, part in told.items():
        known = environment(part) | dict.fromkeys(secrets(part) & {"REMEDIATE_SECRET"}, _HIDDEN)
        try:
            load_settings({each: value for each, value in known.items() if _ours(each)} | {"K_SERVICE": name})
        except BadInput as error:
            for problem in str(error).splitlines():
                variable = problem.partition("=")[0].split()[0]
                if variable in secrets(part):
                    continue  # it is set, to what nobody sees
                gone = "is no setting" in problem
                fix = _told(found.site, name, f"--remove-env-vars={variable}" if gone else _set(variable, "..."))
                yield Finding(Code.SETTINGS_INVALID, f"{name}: {problem}", fix)
    first = next(iter(told), None)
    for name, part in told.items():
        assert first is not None
        for variable in (f"REMEDIATE_{each}" for each in _SAME):
            ours, theirs = environment(told[first]).get(variable), environment(part).get(variable)
            if variable in secrets(told[first]) | secrets(part):
                continue  # what nobody sees cannot be compared
            if ours != theirs:
                what = f"{variable} is {ours or 'not set'} for {first} and {theirs or 'not set'} for {name}"
                change = _set(variable, ours or theirs or "")
                where = name if ours else first
                yield Finding(Code.SETTINGS_DISAGREE, what, _told(found.site, where, change))


def doors(found: Installation) -> Iterator[Finding]:
    """The settings that keep others out are set."""
    site = found.site
    if isinstance(found.receiver, Service):
        said = environment(found.receiver)
        if "REMEDIATE_ORGANIZATION" not in {*said, *secrets(found.receiver)} and site.by_sink:
            number = next((each.partition("/")[2] for each in site.watched if each.startswith("organ")), "NUMBER")
            change = f"--update-env-vars=REMEDIATE_ORGANIZATION={number}"
            what = f"REMEDIATE_ORGANIZATION is not set for {site.name}-receiver"
            yield Finding(Code.ORGANIZATION_UNSET, what, _told(site, f"{site.name}-receiver", change))
        if said.get("REMEDIATE_LEDGER", "").startswith("sqlite:") and not found.local:
            change = f"--update-env-vars=REMEDIATE_LEDGER=firestore://{site.project}/{site.name}"
            what = f"the ledger of {site.name}-receiver is {said['REMEDIATE_LEDGER']}"
            yield Finding(Code.LEDGER_EPHEMERAL, what, _told(site, f"{site.name}-receiver", change))
    if isinstance(found.review, Service):
        name, said = f"{site.name}-review", environment(found.review)
        if "REMEDIATE_REVIEWERS" not in {*said, *secrets(found.review)}:
            change = "--update-env-vars=REMEDIATE_REVIEWERS=example.com"
            what = f"REMEDIATE_REVIEWERS is not set for {name}"
            yield Finding(Code.REVIEWERS_UNSET, what, _told(site, name, change))
        listed = {each.strip().casefold() for each in said.get("REMEDIATE_IDENTITIES", "").split(",")}
        ours = [site.account(who) for who in IDENTITIES[:3]]
        missing = [each for each in ours if each not in listed]
        if missing and "REMEDIATE_IDENTITIES" not in secrets(found.review):
            change = _set("REMEDIATE_IDENTITIES", ",".join(ours))
            what = f"REMEDIATE_IDENTITIES of {name} does not name {', '.join(missing)}"
            yield Finding(Code.IDENTITIES_UNSET, what, _told(site, name, change))
        if "REMEDIATE_SECRET" not in said and "REMEDIATE_SECRET" not in secrets(found.review):
            change = f"--update-secrets=REMEDIATE_SECRET={name}:latest"
            what = f"REMEDIATE_SECRET is not set for {name}"
            yield Finding(Code.SECRET_UNSET, what, _told(site, name, change))


def mine(found: Installation, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is set in this environment is what the deployed receiver is told."""
    if not isinstance(found.receiver, Service):
        return
    deployed = environment(found.receiver)
    for variable in (f"REMEDIATE_{each}" for each in _MINE):
        if (here := environ.get(variable)) and here != deployed.get(variable):
            what = f"{variable} is {here} here, and {deployed.get(variable, 'not set')} for {found.site.name}-receiver"
            there = deployed.get(variable)
            fix = f"export {command(f'{variable}={there}')}" if there else f"unset {variable}"
            yield Finding(Code.SETTINGS_DIFFER, what, fix)


def database(found: Installation) -> Iterator[Finding]:
    """The database is there, in Firestore's own mode, and has the indexes that lists need."""
    site = found.site
    match found.database:
        case Unknown() as fact:
            yield not_known(fact)
        case Absent(name=name):
            yield Finding(Code.DATABASE_MISSING, f"there is no database {name}", APPLY)
            return
        case Database(type=kind, name=name) if kind != "FIRESTORE_NATIVE":
            yield Finding(Code.DATABASE_MODE, f"{name} is in mode {kind}", APPLY)
    if isinstance(found.indexes, Unknown):
        yield not_known(found.indexes)
    elif isinstance(found.indexes, Indexes):
        ready = {index.paths for index in found.indexes.indexes if index.state == "READY" and index.newest_first}
        for wanted in INDEXES:
            if wanted not in ready:
                own = found.database.name.rpartition("/")[2] if isinstance(found.database, Database) else site.name
                words = ("gcloud", "firestore", "indexes", "composite", "create", "--collection-group=remediations")
                orders = ("descending" if path in newest_first(wanted) else "ascending" for path in wanted)
                fields = (f"--field-config=field-path={p},order={o}" for p, o in zip(wanted, orders, strict=True))
                fix = command(*words, *fields, f"--database={own}", f"--project={site.project}")
                yield Finding(Code.INDEX_MISSING, f"the index on {', '.join(wanted)} is not ready", fix)


def tag(found: Installation) -> Iterator[Finding]:
    """Where registries opt in by a tag, the tag is there, and IAM holds the writers to it."""
    said = environment(found.receiver).get("REMEDIATE_OPT_IN_TAG", "") if isinstance(found.receiver, Service) else ""
    if isinstance(found.tag, Unknown):
        yield not_known(found.tag)
    said, _, newcomers = said.partition(",")
    if isinstance(found.tag, Absent):
        key, _, value = said.rpartition("/")
        words = ("gcloud", "resource-manager", "tags", "values")
        made = command(*words, "create", value, f"--parent={key}") if "/" in key else command(*words, "describe", said)
        yield Finding(Code.TAG_MISSING, f"there is no tag value {said}", made)
    if isinstance(found.tag, TagValue):
        own = f"/roles/{found.site.role('Writer')}"
        names = {found.tag.name, newcomers, found.tag.namespaced_name.rpartition("/")[0]} - {""}
        for place in found.site.watched:
            policy = found.policies.get(place)
            for binding in policy.bindings if isinstance(policy, AllowPolicy) else ():
                expression = binding.condition.get("expression", "")
                if binding.role.endswith(own) and not _held_to(expression, names):
                    what = f"{place}: {binding.role} is bound without the condition that the project has {said}"
                    yield Finding(Code.TAG_NOT_ENFORCED, what, APPLY)


_TESTED = re.compile(r"resource\.matchTag(?:Id)?\('[^']*', *'[^']*'\)\Z")


def _held_to(expression: str, names: set[str]) -> bool:
    """Whether a condition is true of projects with the tag alone: each of its alternatives tests one of its names."""
    tests = expression.split(" || ")
    return all(_TESTED.match(test) and any(f"'{name}'" in test for name in names) for test in tests)


def _parts(found: Installation) -> dict[str, object]:
    name = found.site.name
    return {f"{name}-receiver": found.receiver, f"{name}-review": found.review, f"{name}-sweep": found.sweep}


def _ours(variable: str) -> bool:
    return variable.startswith(("REMEDIATE_", "CLOUDSDK_API_ENDPOINT_OVERRIDES_"))


def _set(variable: str, value: str) -> str:
    """The words that set a variable; commas in it ask for another sign between pairs ("gcloud topic escaping")."""
    return f"--update-env-vars={'^;^' if ',' in value else ''}{variable}={value}"


def _told(site: Site, name: str, change: str) -> str:
    kind = "jobs" if name.endswith("-sweep") else "services"
    words = ("gcloud", "run", kind, "update", name, change)
    return command(*words, f"--region={site.region}", f"--project={site.project}")


def _cure(problem: str) -> str:
    """A bad or unknown variable is unset; one that is missing is set."""
    variable = problem.partition("=")[0].split()[0]
    return f"export {variable}=..." if "is not set" in problem else f"unset {variable}"


def _ledger_cure(url: str) -> str:
    if url.startswith("firestore://"):
        project = url.removeprefix("firestore://").partition("/")[0]
        return command("gcloud", "firestore", "databases", "list", f"--project={project}")
    return command("ls", "-l", url.removeprefix("sqlite:///"))
