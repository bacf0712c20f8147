"""Runs the doctor: local checks, checks of what is deployed, a synthetic denial; one report."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from remediate.doctor import canary as canaries
from remediate.doctor import checks, configuration, ledger_probe
from remediate.doctor.canary import Canary, CanaryResult
from remediate.doctor.canary_delivery import CanaryDelivery
from remediate.doctor.checks import CANARY, CONFIGURATION, LEDGER, check
from remediate.doctor.codes import Code
from remediate.doctor.collect import FactCollector
from remediate.doctor.environment import environment
from remediate.doctor.finding import CheckResult, Finding
from remediate.doctor.names import ResourceNames, command
from remediate.doctor.resource_api import ResourceApi
from remediate.doctor.resources import PubSubTopic, RunService, Trigger
from remediate.doctor.snapshot import LedgerFacts, LocalFacts, Snapshot
from remediate.errors import BadInput, RemediateError, TerminalFault, TransientFault
from remediate.ledger.interface import Filter, Ledger
from remediate.reasons import Reason
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.settings import Settings, load_settings


class DoctorReport(msgspec.Struct, frozen=True):
    """The result of a run. `names` is None where no installation is named."""

    names: ResourceNames | None
    checks: tuple[CheckResult, ...]
    canary: CanaryResult | None = None
    facts: Snapshot | None = None
    """What was read; None where nothing was asked."""
    ledger: LedgerFacts | None = None

    @property
    def findings(self) -> list[Finding]:
        """Every finding, each once."""
        return [finding for result in self.checks for finding in result.findings]


def local_facts(environ: Mapping[str, str]) -> LocalFacts:
    """The settings of this environment, with a try of the policy file that they name."""
    try:
        settings = load_settings(environ)
    except BadInput as error:
        return LocalFacts(environ, None, tuple(str(error).splitlines()))
    fault = _policy_fault(settings.policy, settings) if settings.policy is not None else ""
    return LocalFacts(environ, settings, policy_fault=fault)


def run_doctor(
    local: LocalFacts,
    names: ResourceNames | None,
    *,
    canary: bool,
    clock: Callable[[], datetime],
    wait: Callable[[float], None] = time.sleep,
    advance: Callable[[int, int], None] = lambda *_: None,
    waiting: Callable[[], None] = lambda: None,
) -> DoctorReport:
    """Run every check.

    `advance` gets the numbers of answered queries and of all so far; `waiting` is called before the synthetic denial.
    """
    settings = local.settings
    done = [*checks.local_checks(local)]
    facts: Snapshot | None = None
    used: LedgerFacts | None = None

    def report(more: Iterable[CheckResult], result: CanaryResult | None = None) -> DoctorReport:
        return DoctorReport(names, tuple(checks.sort_and_deduplicate([*done, *more])), result, facts, used)

    def probe(url: str | None) -> LedgerFacts | None:
        return ledger_probe.probe(url, settings.endpoints, settings.timeout) if settings and url else None

    if settings is None or names is None:
        ledger = checks.ledger_check(probe(settings.ledger if settings else None))
        return report([ledger, *checks.skipped_sections(named=names is not None)])
    own_ledger = settings.ledger if local.environ.get("REMEDIATE_LEDGER") else None
    emulated = settings.endpoints.get("ARTIFACTREGISTRY", "").startswith("http://")
    again = command("remediate", "doctor", *names.flags)
    api = ResourceApi(names.project, settings.endpoints, settings.timeout, local=emulated, again=again)
    collector = FactCollector(api, clock(), advance)
    scoped = names if names.scopes else collector.resolve_scopes(names, settings.organization)
    if not isinstance(scoped, ResourceNames):
        return report([checks.ledger_check(probe(own_ledger)), *checks.unknown_scope_checks(names, scoped)])
    names = scoped
    facts = collector.collect(names, local=emulated)
    used = probe(environment(facts.receiver).get("REMEDIATE_LEDGER") or own_ledger)
    done += [checks.ledger_check(used, facts), *checks.installation_checks(facts, local.environ)]
    done += [_registries(used, facts), _deployed_policy(facts, settings)]
    if skip := _no_canary(facts) if canary else "not requested: --canary sends one":
        return report([check(CANARY, "a denial arrives", skip=skip)])
    waiting()
    arrived, result = send_canary(facts, settings, used, clock, wait)
    return report([arrived], result)


def _deployed_policy(facts: Snapshot, settings: Settings) -> CheckResult:
    """The policy file that the receiver names, read as the receiver reads it."""
    place = environment(facts.receiver).get("REMEDIATE_POLICY")
    skip = ""
    if not isinstance(facts.receiver, RunService):
        skip = checks.NO_RECEIVER
    elif place is None:
        skip = "REMEDIATE_POLICY is not set for it: the built-in rules decide"
    elif not place.startswith("gs://"):
        skip = f"{place} is a file of its image and cannot be read from here"
    elif facts.local and "STORAGE" not in settings.endpoints:
        skip = "the other endpoints are on this machine, and CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE is not set"
    fault = _policy_fault(place, settings) if place and not skip else ""
    findings = configuration.policy(place or "", fault)
    return check(CONFIGURATION, "policy file of the receiver", findings, skip=skip, note=place or "")


def _registries(ledger: LedgerFacts | None, facts: Snapshot) -> CheckResult:
    """The projects of the registries that open proposals name and that the service may not see."""
    opened = _open_ledger(ledger, emulated=facts.local)
    if isinstance(opened, str):
        return check(LEDGER, _REGISTRIES, skip=opened)
    try:
        waiting = opened.page(Filter((State.PROPOSED,)), limit=_PROPOSALS).records
    except RemediateError as error:
        return check(LEDGER, _REGISTRIES, skip=str(error))
    unseen = sorted({each.grant.repository.project for each in waiting if Reason.REPOSITORY_UNSEEN in each.reasons})
    fix = "add {} to `registries` (install.sh: --registries) and apply, unless another organization owns it"
    found = [
        Finding(
            Code.REGISTRY_UNSEEN,
            f"a proposal names projects/{each}, which may not be seen",
            fix.format(f"projects/{each}"),
        )
        for each in unseen
    ]
    return check(LEDGER, _REGISTRIES, found)


_REGISTRIES = "registries of proposals can be seen"
_PROPOSALS = 500  # the newest ones, which the check reads


def _policy_fault(place: str, settings: Settings) -> str:
    """Why a policy file is not valid; empty where it is."""
    from remediate.cloud.storage import read_policy
    from remediate.decisions.policy_file import parse_policy

    try:
        parse_policy(read_policy(place, settings.endpoints.get("STORAGE")), place)
    except RemediateError as error:
        return str(error)
    return ""


def _no_canary(facts: Snapshot) -> str:
    """Why no synthetic denial can be sent; empty where one can."""
    if not facts.names.has_sinks:
        return "Eventarc alone can publish to a single project's triggers"
    topic = facts.get(PubSubTopic, facts.names.topic)
    triggered = facts.pushes or all(isinstance(each, Trigger) for each in facts.all(Trigger).values())
    if not isinstance(topic, PubSubTopic) or not triggered:
        return "the topic or a trigger is missing: see event delivery"
    return ""


def send_canary(
    facts: Snapshot,
    settings: Settings,
    ledger: LedgerFacts | None,
    clock: Callable[[], datetime],
    wait: Callable[[float], None],
    padding: int = 0,
) -> tuple[CheckResult, CanaryResult | None]:
    """Send one synthetic denial, with that many bytes of padding, and watch what becomes of it."""
    names, delivery = facts.names, CanaryDelivery(facts.names, settings.endpoints, settings.timeout)
    sent = canaries.synthetic_denial(names, clock(), secrets.token_hex(6), padding)
    title = f"a denial of {sent.member.partition(':')[2]} arrives"
    try:
        if not delivery.is_free(sent.repository):
            fix = f"gcloud artifacts repositories describe {sent.repository}"
            return check(CANARY, title, [Finding(Code.CANARY_NAME_TAKEN, f"{sent.repository} exists", fix)]), None
        started = clock()
        delivery.publish(sent.entry)
        published = (clock() - started).total_seconds()
    except (TerminalFault, TransientFault) as fault:
        needs = "artifactregistry.repositories.get there and pubsub.topics.publish on the topic"
        what = f"no synthetic denial could be sent ({fault}); it needs {needs}"
        fix = command("remediate", "doctor", *names.flags, "--no-canary")
        return check(CANARY, title, [Finding(Code.NOT_KNOWN, what, fix)]), None
    opened = _open_ledger(ledger, emulated=facts.local)

    def find_record(canary: Canary) -> Remediation | None:
        if isinstance(opened, str):
            raise TerminalFault(opened)
        counted = opened.is_counted(canary.denial_key, canary.remediation)
        return opened.get(canary.remediation) if counted else None

    result = canaries.watch(sent, delivery.find_line, find_record, started, published, clock, wait)
    return check(CANARY, title, canaries.canary_findings(names, sent, result), note=result.summary), result


def _open_ledger(ledger: LedgerFacts | None, *, emulated: bool) -> Ledger | str:
    """The ledger, or why it cannot be opened without changing it."""
    if ledger is None:
        return "the ledger in use is not known"
    if ledger.fault or ledger.schema != ledger.newest:
        return ledger.fault or "the ledger does not have this version's schema"
    if emulated and not ledger.url.startswith("sqlite:") and "FIRESTORE_EMULATOR_HOST" not in os.environ:
        return "the other endpoints are on this machine, and FIRESTORE_EMULATOR_HOST is not set"
    from remediate.ledger.opening import open_ledger

    try:
        return open_ledger(ledger.url)
    except RemediateError as error:
        return str(error)
