"""Every check in the order in which an entry travels; what does not exist in an installation is left out, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from remediate.doctor import access, configuration, routing, services, signals
from remediate.doctor.codes import Code
from remediate.doctor.finding import Checked, Finding, command, not_known
from remediate.doctor.names import Site
from remediate.doctor.resources import Absent, Service, Unknown
from remediate.doctor.snapshot import Installation, LedgerFacts, Local

CONFIGURATION, LEDGER, APIS, ROUTING = "configuration", "ledger", "APIs and quotas", "the way of an entry"
SERVICES, IDENTITIES, CANARY = "services", "identities", "synthetic denial"
_LAPTOP = "no installation is named: --project (or GOOGLE_CLOUD_PROJECT) and --region (or CLOUDSDK_RUN_REGION) name one"
_UNSETTLED = "the settings of this environment are not accepted: see above"

_SILENT = "the receiver cannot be asked: see there"

_Checks = tuple[tuple[str, str, Callable[[Installation], Iterator[Finding]]], ...]
_TOLD: _Checks = (
    (CONFIGURATION, "settings of the deployed parts", configuration.parts),
    (CONFIGURATION, "settings that keep others out", configuration.doors),
)
_SINKS: _Checks = (
    (ROUTING, "sink takes this version's filter from everything below", routing.sinks),
    (ROUTING, "the sink's writer alone publishes to the topic", routing.publishers),
)
_ALWAYS: _Checks = (
    (ROUTING, "trigger hands events to the receiver", routing.triggers),
    (ROUTING, "subscription delivers, and keeps what it cannot deliver", routing.subscriptions),
    (ROUTING, "no dead letters wait", routing.dead_letters),
    (SERVICES, "receiver", services.receiver),
    (SERVICES, "review pages behind Identity-Aware Proxy", services.review),
    (SERVICES, "sweep and its schedule", services.sweep),
    (SERVICES, "the trail's log is kept", services.trail),
    (IDENTITIES, "service accounts without keys", access.accounts),
    (IDENTITIES, "rights: nothing missing, nothing superfluous", access.rights),
)


def on_this_machine(local: Local) -> Iterator[Checked]:
    """The checks that need no Google Cloud."""
    yield _checked(CONFIGURATION, "settings of this environment", configuration.local(local))
    if local.settings is None:
        yield _left_out(CONFIGURATION, "policy file", "the settings are not accepted")
    elif local.settings.policy is None:
        yield _left_out(CONFIGURATION, "policy file", "REMEDIATE_POLICY is not set here: the built-in rules decide")
    else:
        yield _checked(CONFIGURATION, f"policy file {local.settings.policy}", configuration.policy(local))


def of_the_ledger(ledger: LedgerFacts | None, found: Installation | None = None) -> Iterator[Checked]:
    """The checks of the ledger that is in use."""
    if ledger is None:
        why = "which one is in use cannot be seen" if found else "the settings are not accepted"
        yield _left_out(LEDGER, "reachable and migrated", why)
        return
    if found and isinstance(found.database, Absent):
        yield _left_out(LEDGER, "reachable and migrated", "there is no such database")
        return
    made = ledger.schema is not None or ledger.fault
    note = ledger.url if made else f"{ledger.url}: not there yet, and made by the first entry"
    yield Checked(LEDGER, "reachable and migrated", tuple(configuration.ledger(ledger)), note)


def of_an_installation(found: Installation, environ: Mapping[str, str]) -> Iterator[Checked]:
    """The checks of what is deployed."""
    deployed = isinstance(found.receiver, Service)
    for section, title, check in _TOLD:
        yield _checked(section, title, check(found)) if deployed else _no_receiver(title)
    if deployed:
        yield _checked(CONFIGURATION, "this environment means what is deployed", configuration.mine(found, environ))
    title = "opt-in tag"
    if found.tag is None:
        why = "REMEDIATE_OPT_IN_TAG is not set: no registry has to opt in" if deployed else _SILENT
        yield _left_out(CONFIGURATION, title, why)
    else:
        yield _checked(CONFIGURATION, title, configuration.tag(found))
    if found.database is None:
        yield _left_out(LEDGER, "database and indexes", "the ledger is no Firestore database" if deployed else _SILENT)
    else:
        yield _checked(LEDGER, "database and indexes", configuration.database(found))
    yield _checked(APIS, "APIs enabled", signals.apis(found))
    yield _checked(APIS, "quota headroom", signals.quotas(found))
    for section, title, check in _SINKS:
        why = "a single project is watched by audit log triggers"
        yield _checked(section, title, check(found)) if found.site.by_sink else _left_out(section, title, why)
    for section, title, check in _ALWAYS:
        if check is routing.subscriptions and not found.subscriptions:
            yield _left_out(section, title, "no trigger names one")
        else:
            yield _checked(section, title, check(found))


def without_an_installation(*, named: bool) -> Iterator[Checked]:
    """What is left out where none is named, or the settings that it would be looked at with are not accepted."""
    for section in (APIS, ROUTING, SERVICES, IDENTITIES, CANARY):
        yield _left_out(section, "all of it", _UNSETTLED if named else _LAPTOP)


def without_a_scope(site: Site, fact: Unknown | Absent) -> Iterator[Checked]:
    """What is left where it cannot be told what is watched: the wrong scope would make wrong of what is right."""
    if isinstance(fact, Unknown):
        finding = not_known(fact)
    else:
        what = f"there is neither a receiver nor a sweep: {site.service('receiver')}, {site.job}"
        listed = command("gcloud", "run", "services", "list", f"--project={site.project}")
        finding = Finding(Code.SERVICE_MISSING, what, listed)
    yield Checked(SERVICES, "what is watched", (finding,))
    for section in (APIS, ROUTING, IDENTITIES, CANARY):
        yield _left_out(section, "all of it", "what is watched is not known; --scope says it")


def told_once(checks: Iterable[Checked]) -> Iterator[Checked]:
    """The checks with each finding under the first that found it; one that only repeats says so."""
    seen: set[Finding] = set()
    for check in checks:
        fresh = tuple(dict.fromkeys(each for each in check.findings if each not in seen))
        seen |= {*fresh}
        if check.findings and not fresh:
            yield Checked(check.section, check.title, note="could not be checked: see above", left_out=True)
        else:
            yield Checked(check.section, check.title, fresh, check.note, check.left_out)


def _checked(section: str, title: str, findings: Iterator[Finding]) -> Checked:
    return Checked(section, title, tuple(dict.fromkeys(findings)))


def _left_out(section: str, title: str, why: str) -> Checked:
    return Checked(section, title, note=why, left_out=True)


def _no_receiver(title: str) -> Checked:
    return _left_out(CONFIGURATION, title, _SILENT)
