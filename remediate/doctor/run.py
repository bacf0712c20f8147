"""One visit of the doctor: what is known here, what is deployed, how a synthetic denial comes through; one report."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from remediate.doctor import canary as canaries
from remediate.doctor import checks, configuration, ledger_probe
from remediate.doctor.canary import Canary, Flight, Line
from remediate.doctor.canary_delivery import CanaryPath
from remediate.doctor.codes import Code
from remediate.doctor.collect import Survey
from remediate.doctor.environment import environment
from remediate.doctor.finding import Checked, Finding, command
from remediate.doctor.names import Site
from remediate.doctor.resource_api import GoogleDeployment
from remediate.doctor.resources import Service, Topic, Trigger
from remediate.doctor.snapshot import Installation, LedgerFacts, Local
from remediate.errors import BadInput, RemediateError, TerminalFault, TransientFault
from remediate.ledger.interface import Ledger
from remediate.records.remediation import Remediation
from remediate.settings import Settings, load_settings


class Report(msgspec.Struct, frozen=True):
    """All that a visit found. `site` is None where no project is named."""

    site: Site | None
    checks: tuple[Checked, ...]
    flight: Flight | None = None

    @property
    def findings(self) -> list[Finding]:
        """Every finding, each once."""
        return [finding for check in self.checks for finding in check.findings]


def local_facts(environ: Mapping[str, str]) -> Local:
    """What this environment says, with the policy file that it names tried."""
    try:
        settings = load_settings(environ)
    except BadInput as error:
        return Local(environ, None, tuple(str(error).splitlines()))
    fault = _policy_fault(settings.policy, settings) if settings.policy is not None else ""
    return Local(environ, settings, policy_fault=fault)


def visit(
    local: Local,
    site: Site | None,
    *,
    canary: bool,
    clock: Callable[[], datetime],
    wait: Callable[[float], None] = time.sleep,
    advance: Callable[[int, int], None] = lambda *_: None,
    waiting: Callable[[], None] = lambda: None,
) -> Report:
    """Look at everything.

    `advance` hears how many questions are answered, of how many so far; `waiting` is called where the rest is patience.
    """
    done = [*checks.on_this_machine(local)]
    settings = local.settings
    if settings is None or site is None:
        ledger = ledger_probe.look(settings.ledger, settings.endpoints, settings.timeout) if settings else None
        rest = (*checks.of_the_ledger(ledger), *checks.without_an_installation(named=site is not None))
        return Report(site, _sorted([*done, *rest]))
    beside = settings.endpoints.get("ARTIFACTREGISTRY", "").startswith("http://")
    look_again = command("python", "-m", "remediate", "doctor", *site.flags)
    reader = GoogleDeployment(site.project, settings.endpoints, settings.timeout, local=beside, again=look_again)
    survey = Survey(reader, clock(), advance)
    scoped = site if site.scopes else survey.scoped(site, settings.organization)
    if not isinstance(scoped, Site):
        rest = (*checks.of_the_ledger(_own_ledger(local)), *checks.without_a_scope(site, scoped))
        return Report(site, _sorted([*done, *rest]))
    site = scoped
    found = survey.installation(site, local=beside)
    deployed = environment(found.receiver).get("REMEDIATE_LEDGER") if isinstance(found.receiver, Service) else None
    used = deployed or (settings.ledger if local.environ.get("REMEDIATE_LEDGER") else None)
    ledger = ledger_probe.look(used, settings.endpoints, settings.timeout) if used else None
    done += [*checks.of_the_ledger(ledger, found), *checks.of_an_installation(found, local.environ)]
    done.append(_deployed_policy(found, settings))
    flight = None
    if not canary:
        done.append(_left_out("not asked for: --canary sends it"))
    elif why := _cannot_fly(found):
        done.append(_left_out(why))
    else:
        waiting()
        flown, flight = _fly(found, settings, ledger, clock, wait)
        done.append(flown)
    return Report(site, _sorted(done), flight)


def _own_ledger(local: Local) -> LedgerFacts | None:
    """The ledger that this environment names itself; None where it names none."""
    settings = local.settings
    if settings is None or not local.environ.get("REMEDIATE_LEDGER"):
        return None
    return ledger_probe.look(settings.ledger, settings.endpoints, settings.timeout)


def _deployed_policy(found: Installation, settings: Settings) -> Checked:
    """The policy file that the receiver names, read as the receiver reads it."""
    title = "policy file of the receiver"
    place = environment(found.receiver).get("REMEDIATE_POLICY") if isinstance(found.receiver, Service) else None
    why = ""
    if not isinstance(found.receiver, Service):
        why = "the receiver cannot be asked: see there"
    elif place is None:
        why = "it names none: the built-in rules decide"
    elif not place.startswith("gs://"):
        why = f"{place} is a file of its image, and cannot be read from here"
    elif found.local and "STORAGE" not in settings.endpoints:
        why = "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE is not set beside a Google Cloud on this machine"
    if place is None or why:
        return Checked(checks.CONFIGURATION, title, note=why, left_out=True)
    fault = _policy_fault(place, settings)
    findings = tuple(configuration.policy_at(place, fault)) if fault else ()
    return Checked(checks.CONFIGURATION, title, findings, place)


def _policy_fault(place: str, settings: Settings) -> str:
    """Why a policy file cannot be taken; empty where it can."""
    from remediate.cloud.storage import read_policy
    from remediate.decisions.policy_file import parse_policy

    try:
        parse_policy(read_policy(place, settings.endpoints.get("STORAGE")), place)
    except RemediateError as error:
        return str(error)
    return ""


def _cannot_fly(found: Installation) -> str:
    """Why no synthetic denial is sent; empty where one is."""
    if not found.site.by_sink:
        return "a single project's triggers are fed by Eventarc alone: nobody else can publish what they take"
    if not isinstance(found.topic, Topic) or not all(isinstance(each, Trigger) for each in found.triggers.values()):
        return "it has no way to go: see above"
    return ""


def _fly(
    found: Installation,
    settings: Settings,
    ledger: LedgerFacts | None,
    clock: Callable[[], datetime],
    wait: Callable[[float], None],
) -> tuple[Checked, Flight | None]:
    site, path = found.site, CanaryPath(found.site, settings.endpoints, settings.timeout)
    sent = canaries.canary(site, clock(), secrets.token_hex(6))
    title = f"a denial of {sent.member.partition(':')[2]} comes through"
    skip = command("python", "-m", "remediate", "doctor", *site.flags, "--no-canary")
    try:
        if not path.free(sent.repository):
            fix = f"gcloud artifacts repositories describe {sent.repository}"
            return Checked(
                checks.CANARY, title, (Finding(Code.CANARY_NAME_TAKEN, f"{sent.repository} exists", fix),)
            ), None
        started = clock()
        path.publish(sent.entry)
        published = (clock() - started).total_seconds()
    except (TerminalFault, TransientFault) as fault:
        needs = "artifactregistry.repositories.get there and pubsub.topics.publish on the topic"
        what = f"no synthetic denial could be sent ({fault}); it needs {needs}"
        return Checked(checks.CANARY, title, (Finding(Code.NOT_KNOWN, what, skip),)), None
    watcher = _Watcher(path, _opened(ledger, beside=found.local))
    flight = canaries.follow(sent, watcher, started, published, clock, wait)
    return Checked(checks.CANARY, title, tuple(canaries.judged(site, sent, flight)), told(flight)), flight


class _Watcher:
    def __init__(self, path: CanaryPath, ledger: Ledger | str) -> None:
        self._path = path
        self._ledger = ledger

    def line(self, insert_id: str, since: datetime) -> Line | None:
        return self._path.line(insert_id, since)

    def record(self, canary: Canary) -> Remediation | None:
        if isinstance(self._ledger, str):
            raise TerminalFault(self._ledger)
        counted = self._ledger.is_counted(canary.denial_key, canary.remediation)
        return self._ledger.get(canary.remediation) if counted else None


def _opened(ledger: LedgerFacts | None, *, beside: bool) -> Ledger | str:
    """The ledger, where opening it changes nothing; or why it is not opened."""
    if ledger is None:
        return "which ledger is in use is not known"
    if ledger.fault or ledger.schema != ledger.newest:
        return ledger.fault or "it is not stored as this version stores it"
    if beside and not ledger.url.startswith("sqlite:") and "FIRESTORE_EMULATOR_HOST" not in os.environ:
        return "beside a Google Cloud on this machine, FIRESTORE_EMULATOR_HOST is not set"
    from remediate.ledger.opening import open_ledger

    try:
        return open_ledger(ledger.url)
    except RemediateError as error:
        return str(error)


def told(flight: Flight) -> str:
    """Its stages in a line."""
    stages = msgspec.structs.asdict(flight.stages)
    seen = [f"{stage} {_shown(at)}" for stage, at in stages.items()]
    return f"{flight.insert_id}: {', '.join(seen)}; decided: {flight.outcome or 'not known'}"


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return "not seen"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _left_out(why: str) -> Checked:
    return Checked(checks.CANARY, "a denial comes through", note=why, left_out=True)


def _sorted(done: Iterable[Checked]) -> tuple[Checked, ...]:
    """By section, in the order in which an entry travels; each finding once."""
    order = (
        checks.CONFIGURATION, checks.LEDGER, checks.APIS, checks.ROUTING, checks.SERVICES,
        checks.IDENTITIES, checks.CANARY,
    )  # fmt: skip
    return tuple(checks.told_once(sorted(done, key=lambda check: order.index(check.section))))
