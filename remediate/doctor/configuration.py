"""Checks of settings, policy file, ledger and opt-in tag."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from remediate.doctor.codes import Code
from remediate.doctor.environment import environment, firestore_path, secrets
from remediate.doctor.finding import APPLY, Finding, report_missing, report_unknown
from remediate.doctor.installation import INDEXES
from remediate.doctor.names import command
from remediate.doctor.requirements import DECIDES
from remediate.doctor.resources import Database, Indexes, RunJob, RunService, TagValue, bindings, newest_first
from remediate.doctor.snapshot import LedgerFacts, LocalFacts, Snapshot
from remediate.errors import BadInput
from remediate.settings import load_settings

_SHARED = tuple(
    f"REMEDIATE_{each}"
    for each in (
        "MODE POLICY POLICY_CONFIRMED LEDGER ORGANIZATION REVIEWERS OPERATORS IDENTITIES OPT_IN_TAG DOMAINS "
        "WORKFORCE_POOLS GRANT_DAYS TROUBLESHOOTER UNKNOWN_DEPLOYER LOG_VIEW"
    ).split()
)
"""The settings that all deployed parts have to share."""
_LOCAL = tuple(f"REMEDIATE_{each}" for each in ("POLICY", "LEDGER", "ORGANIZATION", "OPT_IN_TAG"))
"""The settings of local commands that have to match the receiver's."""
_HIDDEN = "a placeholder for a value that is stored in a secret"
_ME = '--member="user:$(gcloud config get-value account)"'  # the shell fills in the caller
_TAG_TEST = re.compile(r"resource\.matchTag(?:Id)?\('[^']*', *'[^']*'\)\Z")


def local(facts: LocalFacts) -> Iterator[Finding]:
    """The settings of this environment are valid."""
    for problem in facts.problems:
        variable = _variable(problem)
        meant = re.search(r"did you mean (\w+)\?", problem)
        fix = f"unset {variable}" if "unknown setting" in problem else f"export {variable}=..."
        if meant:
            fix = f'export {meant[1]}="${variable}"; {fix}'
        yield Finding(Code.SETTINGS_INVALID, problem, fix)


def policy(place: str, fault: str) -> Iterator[Finding]:
    """The policy file is valid. `fault` says why not; where it is a missing permission, nothing is known."""
    if ": 403 " in fault:
        bucket = command(place.removeprefix("gs://").partition("/")[0])
        fix = f"gcloud storage buckets add-iam-policy-binding gs://{bucket} {_ME} --role=roles/storage.objectViewer"
        yield Finding(Code.NOT_KNOWN, f"{fault}; it needs storage.objects.get", fix)
    elif fault:
        yield Finding(Code.POLICY_UNREADABLE, fault, command("remediate", "policy", "check", place))


def ledger(facts: LedgerFacts) -> Iterator[Finding]:
    """The ledger answers, and has this version's schema."""
    project = facts.url.removeprefix("firestore://").partition("/")[0]
    if facts.refused:
        what = f"{facts.url} cannot be read ({facts.fault}); it needs datastore.entities.get"
        fix = f"gcloud projects add-iam-policy-binding {project} {_ME} --role=roles/datastore.viewer"
        yield Finding(Code.NOT_KNOWN, what, fix)
    elif facts.fault:
        databases = command("gcloud", "firestore", "databases", "list", f"--project={project}")
        file = command("ls", "-l", facts.url.removeprefix("sqlite:///"))
        fix = databases if firestore_path(facts.url) else file
        yield Finding(Code.LEDGER_UNREACHABLE, f"{facts.url}: {facts.fault}", fix)
    elif facts.schema is not None and facts.schema != facts.newest:
        newer = facts.schema > facts.newest
        what = f"{facts.url} has schema {facts.schema}; this version has {facts.newest}"
        migrate = f"REMEDIATE_LEDGER={command(facts.url)} remediate list"
        code = Code.LEDGER_NEWER if newer else Code.LEDGER_OLDER
        yield Finding(code, what, "git pull && make test" if newer else migrate)


def parts(facts: Snapshot) -> Iterator[Finding]:
    """The settings of every deployed part are valid, and the parts share those that they have to share."""
    tasks = {
        "receiver": facts.receiver,
        "review": facts.review,
        "writer": facts.writer,
        "sweep": facts.sweep,
        "due": facts.due,
    }
    deployed = {task: part for task, part in tasks.items() if isinstance(part, RunService | RunJob)}
    for task, part in deployed.items():
        yield from _invalid_settings(facts, task, part)
    first = next(iter(deployed), "")
    for task, part in deployed.items():
        hidden = secrets(deployed[first]) | secrets(part)  # secrets cannot be compared
        for variable in (each for each in _SHARED if each not in hidden):
            ours, theirs = (environment(each).get(variable) for each in (deployed[first], part))
            if ours != theirs:
                name = facts.names.name
                what = f"{variable} is {ours or 'not set'} for {name}-{first}, {theirs or 'not set'} for {name}-{task}"
                fix = facts.names.update_part(task if ours else first, _set(variable, ours or theirs or ""))
                yield Finding(Code.SETTINGS_DISAGREE, what, fix)


def _invalid_settings(facts: Snapshot, task: str, part: RunService | RunJob) -> Iterator[Finding]:
    name = f"{facts.names.name}-{task}"
    known = environment(part) | dict.fromkeys(secrets(part) & {"REMEDIATE_SECRET"}, _HIDDEN)
    prefixes = ("REMEDIATE_", "CLOUDSDK_API_ENDPOINT_OVERRIDES_")
    try:
        load_settings({each: value for each, value in known.items() if each.startswith(prefixes)} | {"K_SERVICE": name})
    except BadInput as error:
        for problem in str(error).splitlines():
            variable = _variable(problem)
            if variable not in secrets(part):  # else it is set, to a hidden value
                change = f"--remove-env-vars={variable}" if "unknown setting" in problem else _set(variable, "...")
                fix = facts.names.update_part(task, change)
                yield Finding(Code.SETTINGS_INVALID, f"{name}: {problem}", fix)


def access_settings(facts: Snapshot) -> Iterator[Finding]:
    """The settings that restrict access are set."""
    names = facts.names
    values = {"receiver": environment(facts.receiver), "review": environment(facts.review)}
    hidden = {"receiver": secrets(facts.receiver), "review": secrets(facts.review)}
    number = next((each.partition("/")[2] for each in names.watched_scopes if each.startswith("organ")), "NUMBER")
    required = (
        ("receiver", "ORGANIZATION", Code.ORGANIZATION_UNSET, f"--update-env-vars=REMEDIATE_ORGANIZATION={number}"),
        ("review", "REVIEWERS", Code.REVIEWERS_UNSET, "--update-env-vars=REMEDIATE_REVIEWERS=example.com"),
        (
            "review",
            "WRITER_TOPIC",
            Code.WRITER_TOPIC_UNSET,
            f"--update-env-vars=REMEDIATE_WRITER_TOPIC={names.approvals_topic}",
        ),
        ("review", "SECRET", Code.SECRET_UNSET, f"--update-secrets=REMEDIATE_SECRET={names.name}-review:latest"),
    )
    for task, setting, code, change in required:
        deployed = isinstance(facts.receiver if task == "receiver" else facts.review, RunService)
        variable = f"REMEDIATE_{setting}"
        if deployed and variable not in {*values[task], *hidden[task]} and (task == "review" or names.has_sinks):
            fix = names.update_part(task, change)
            yield Finding(code, f"{variable} is not set for {names.name}-{task}", fix)
    url = values["receiver"].get("REMEDIATE_LEDGER", "")
    if url.startswith("sqlite:") and not facts.local:
        change = f"--update-env-vars=REMEDIATE_LEDGER=firestore://{names.project}/{names.name}"
        what = f"the ledger of {names.name}-receiver is {url}"
        yield Finding(Code.LEDGER_EPHEMERAL, what, names.update_part("receiver", change))
    if isinstance(facts.review, RunService) and "REMEDIATE_IDENTITIES" not in hidden["review"]:
        listed = {each.strip().casefold() for each in values["review"].get("REMEDIATE_IDENTITIES", "").split(",")}
        ours = [names.account(task) for task in DECIDES]
        if unlisted := [each for each in ours if each not in listed]:
            what = f"REMEDIATE_IDENTITIES of {names.name}-review does not list {', '.join(unlisted)}"
            fix = names.update_part("review", _set("REMEDIATE_IDENTITIES", ",".join(ours)))
            yield Finding(Code.IDENTITIES_UNSET, what, fix)


def differences(facts: Snapshot, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The settings of this environment match the receiver's."""
    deployed = environment(facts.receiver)
    for variable in _LOCAL:
        there = deployed.get(variable)
        if (here := environ.get(variable)) and here != there:
            what = f"{variable} is {here} here, {there or 'not set'} for {facts.names.name}-receiver"
            fix = f"export {command(f'{variable}={there}')}" if there else f"unset {variable}"
            yield Finding(Code.SETTINGS_DIFFER, what, fix)


def database(facts: Snapshot, path: str) -> Iterator[Finding]:
    """The database exists, is in native mode, and has the indexes that lists need."""
    fact, indexes = facts.get(Database, path), facts.get(Indexes, path)
    yield from report_missing(fact, Finding(Code.DATABASE_MISSING, f"database {path} does not exist", APPLY))
    if isinstance(fact, Database) and fact.type != "FIRESTORE_NATIVE":
        yield Finding(Code.DATABASE_MODE, f"{fact.name} is in mode {fact.type}", APPLY)
    yield from report_unknown(indexes)
    if isinstance(indexes, Indexes):
        ready = {index.paths for index in indexes.indexes if index.state == "READY" and index.has_list_order}
        own = path.rpartition("/")[2]
        create = ("firestore", "indexes", "composite", "create", "--collection-group=remediations")
        for wanted in (each for each in INDEXES if each not in ready):
            descending = newest_first(wanted)
            orders = {each: "descending" if each in descending else "ascending" for each in wanted}
            fields = (f"--field-config=field-path={each},order={order}" for each, order in orders.items())
            fix = facts.names.gcloud(*create, *fields, f"--database={own}")
            yield Finding(Code.INDEX_MISSING, f"the index on {', '.join(wanted)} is not ready", fix)


def tag(facts: Snapshot) -> Iterator[Finding]:
    """The opt-in tag exists, and IAM restricts the writers to projects that have it."""
    value, _, newcomers = environment(facts.receiver).get("REMEDIATE_OPT_IN_TAG", "").partition(",")
    fact, (key, _, short) = facts.get(TagValue, value), value.rpartition("/")
    words = ("create", short, f"--parent={key}") if "/" in key else ("describe", value)
    create = command("gcloud", "resource-manager", "tags", "values", *words)
    yield from report_missing(fact, Finding(Code.TAG_MISSING, f"tag value {value} does not exist", create))
    if isinstance(fact, TagValue):
        accepted = {fact.name, newcomers, fact.namespaced_name.rpartition("/")[0]} - {""}
        for place in facts.names.watched_scopes:
            for binding in bindings(facts.policies[place]):
                writer = binding.role.endswith(f"/roles/{facts.names.role('Writer')}")
                if writer and not _requires_tag(binding.condition.get("expression", ""), accepted):
                    what = f"{place}: {binding.role} is granted without the condition that projects have {value}"
                    yield Finding(Code.TAG_NOT_ENFORCED, what, APPLY)


def _requires_tag(expression: str, accepted: set[str]) -> bool:
    """Only projects with the tag meet the condition: each of its alternatives tests an accepted name."""
    tests = expression.split(" || ")
    return all(_TAG_TEST.match(test) and any(f"'{name}'" in test for name in accepted) for test in tests)


def _variable(problem: str) -> str:
    """The variable that a message about the settings names."""
    found = re.search(r"(?:REMEDIATE|CLOUDSDK)_\w+", problem)
    return found.group() if found else problem.partition("=")[0].split()[0]


def _set(variable: str, value: str) -> str:
    """The flag that sets a variable; a value with commas needs another separator ("gcloud topic escaping")."""
    return f"--update-env-vars={'^;^' if ',' in value else ''}{variable}={value}"
