"""Every check in a table, in the order of an entry's path; a check with nothing to look at is skipped with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from remediate.doctor import access, configuration, log_view, routing, services, signals
from remediate.doctor.codes import Code
from remediate.doctor.environment import environment, firestore_path
from remediate.doctor.finding import CheckResult, Finding, report_unknown
from remediate.doctor.names import ResourceNames
from remediate.doctor.resources import Absent, Database, RunService, Unknown
from remediate.doctor.snapshot import LedgerFacts, LocalFacts, Snapshot

CONFIGURATION, LEDGER, APIS, ROUTING = "configuration", "ledger", "APIs and quotas", "event delivery"
SERVICES, IDENTITIES, CANARY = "services", "identities", "synthetic denial"
SECTIONS = (CONFIGURATION, LEDGER, APIS, ROUTING, SERVICES, IDENTITIES, CANARY)

NO_RECEIVER = "the settings of the receiver cannot be read: see services"
_NO_PROJECT = "no installation named: set --project (or GOOGLE_CLOUD_PROJECT) and --region (or CLOUDSDK_RUN_REGION)"
_NO_SETTINGS = "the settings of this environment are not valid: see above"
_NO_SCOPE = "what is watched is not known: set --scope"


def check(section: str, title: str, findings: Iterable[Finding] = (), *, skip: str = "", note: str = "") -> CheckResult:
    """One check with its findings, or with the reason to skip it."""
    if skip:
        return CheckResult(section, title, note=skip, skipped=True)
    return CheckResult(section, title, tuple(dict.fromkeys(findings)), note)


def local_checks(local: LocalFacts) -> Iterator[CheckResult]:
    """The checks that need no Google Cloud."""
    yield check(CONFIGURATION, "settings of this environment", configuration.local(local))
    place = local.settings.policy if local.settings else None
    if local.settings and place:
        yield check(CONFIGURATION, f"policy file {place}", configuration.policy(place, local.policy_fault))
    else:
        unset = "REMEDIATE_POLICY is not set here: the built-in rules decide"
        yield check(CONFIGURATION, "policy file", skip=unset if local.settings else "the settings are not valid")


def ledger_check(ledger: LedgerFacts | None, facts: Snapshot | None = None) -> CheckResult:
    """The check of the ledger in use."""
    title, skip, note = "reachable and migrated", "", ""
    if ledger is None:
        skip = "the ledger in use is not known" if facts else "the settings are not valid"
    elif facts and any(isinstance(fact, Absent) for fact in facts.all(Database).values()):
        skip = "the database does not exist"
    else:
        exists = ledger.schema is not None or ledger.fault
        note = ledger.url if exists else f"{ledger.url}: does not exist yet; the first entry creates it"
    return check(LEDGER, title, configuration.ledger(ledger) if ledger else (), skip=skip, note=note)


def installation_checks(facts: Snapshot, environ: Mapping[str, str]) -> list[CheckResult]:
    """The checks of what is deployed."""
    deployed, settings = isinstance(facts.receiver, RunService), environment(facts.receiver)
    database = firestore_path(settings.get("REMEDIATE_LEDGER", ""))
    receiver = "" if deployed else NO_RECEIVER
    tag = receiver or ("" if settings.get("REMEDIATE_OPT_IN_TAG") else "REMEDIATE_OPT_IN_TAG is not set")
    firestore = receiver or ("" if database else "the ledger is not a Firestore database")
    sink = "" if facts.names.has_sinks else "audit log triggers watch a single project"
    view = receiver or sink or ("" if facts.log_view else "REMEDIATE_LOG_VIEW is not set: the projects' logs are read")
    subscription = "" if facts.event_subscriptions else "no trigger with a subscription is known"
    pushes = "a push subscription delivers, without Eventarc" if facts.pushes else ""
    matches = "local settings match the receiver's"
    rows = (
        (CONFIGURATION, "settings of the deployed parts", configuration.parts(facts), receiver),
        (CONFIGURATION, "settings that restrict access", configuration.access_settings(facts), receiver),
        *([(CONFIGURATION, matches, configuration.differences(facts, environ), "")] if deployed else ()),
        (CONFIGURATION, "opt-in tag", configuration.tag(facts), tag),
        (LEDGER, "database and indexes", configuration.database(facts, database or ""), firestore),
        (APIS, "APIs enabled", signals.apis(facts), ""),
        (APIS, "quota headroom", signals.quotas(facts), ""),
        (ROUTING, "sink selects denials in everything watched", routing.sinks(facts), sink),
        (ROUTING, "only the sink's writer can publish to the topic", routing.publishers(facts), sink),
        (ROUTING, "log view has the denials, for the service alone", log_view.checks(facts), view),
        (ROUTING, "trigger calls the receiver", routing.triggers(facts), pushes),
        (ROUTING, "subscription delivers and keeps dead letters", routing.subscriptions(facts), subscription),
        (ROUTING, "no dead letters wait", routing.dead_letters(facts), ""),
        (SERVICES, "receiver", services.receiver(facts), ""),
        (SERVICES, "review pages behind Identity-Aware Proxy", services.review(facts), ""),
        (SERVICES, "writer and what wakes it", services.writer(facts), ""),
        (SERVICES, "sweep and its schedule", services.sweep(facts), ""),
        (SERVICES, "sweep of what is due and its schedule", services.sweep(facts, "due"), ""),
        (SERVICES, "audit trail's log is kept", services.trail(facts), ""),
        (IDENTITIES, "service accounts without keys", access.accounts(facts), ""),
        (IDENTITIES, "permissions: none missing, none superfluous", access.rights(facts), ""),
    )
    return [check(section, title, findings, skip=skip) for section, title, findings, skip in rows]


def skipped_sections(*, named: bool) -> list[CheckResult]:
    """The sections that are skipped where no installation is named, or where the settings are not valid."""
    why = _NO_SETTINGS if named else _NO_PROJECT
    return [check(section, "all of it", skip=why) for section in (APIS, ROUTING, SERVICES, IDENTITIES, CANARY)]


def unknown_scope_checks(names: ResourceNames, fact: Unknown | Absent) -> list[CheckResult]:
    """The checks where it is not known what is watched: with a wrong scope, correct resources would look wrong."""
    what = f"neither the receiver nor the sweep exists: {names.service('receiver')}, {names.job()}"
    absent = Finding(Code.SERVICE_MISSING, what, names.gcloud("run", "services", "list"))
    findings = report_unknown(fact) if isinstance(fact, Unknown) else [absent]
    skipped = [check(section, "all of it", skip=_NO_SCOPE) for section in (APIS, ROUTING, IDENTITIES, CANARY)]
    return [check(SERVICES, "what is watched", findings), *skipped]


def sort_and_deduplicate(results: Iterable[CheckResult]) -> Iterator[CheckResult]:
    """The checks by section, each finding under the first check that found it."""
    seen: set[Finding] = set()
    for result in sorted(results, key=lambda each: SECTIONS.index(each.section)):
        fresh = tuple(each for each in result.findings if each not in seen)
        seen |= {*fresh}
        if result.findings and not fresh:
            yield check(result.section, result.title, skip="could not be checked: see above")
        else:
            yield CheckResult(result.section, result.title, fresh, result.note, result.skipped)
