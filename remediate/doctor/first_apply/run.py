"""Runs the checklist: the doctor, then what a command can settle of each item."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from remediate.doctor.canary import CanaryResult
from remediate.doctor.first_apply import deployed, installer, signals
from remediate.doctor.first_apply.calls import GoogleCalls
from remediate.doctor.first_apply.items import Item, Verdict
from remediate.doctor.first_apply.report import ChecklistReport
from remediate.doctor.first_apply.result import Result, Target
from remediate.doctor.names import ResourceNames
from remediate.doctor.run import run_doctor, send_canary
from remediate.doctor.snapshot import LocalFacts, Snapshot
from remediate.settings import Settings

_COMMANDS: dict[Item, Callable[[Target], Result]] = {
    Item.TOOLS: installer.tools,
    Item.CALLER: installer.caller,
    Item.QUOTA_PROJECT: installer.quota_project,
    Item.INSTALLER_RIGHTS: installer.installer_rights,
    Item.INHERITED_OWNER: installer.inherited_owner,
    Item.BUILD: installer.build,
    Item.DOCTOR: deployed.doctor,
    Item.TRIGGER: deployed.trigger,
    Item.LAUNCHER: deployed.launcher,
    Item.CANARY: deployed.canary,
    Item.IAP_POLICY: deployed.iap_policy,
    Item.IAP_REVIEWER: signals.iap_reviewer,
    Item.SWEEP: deployed.sweep,
    Item.LEDGER_ROLE: deployed.ledger_role,
    Item.DENIED_OPERATION: signals.denied_operation,
    Item.INSTANCE_LABELS: signals.instance_labels,
    Item.FIRST_PROPOSAL: signals.first_proposal,
    Item.TRAIL_BUCKET: signals.trail_bucket,
    Item.METRIC_RESOURCES: signals.metric_resources,
    Item.METRIC_NAMES: signals.metric_names,
    Item.UNREADABLE_PROJECT: signals.unreadable_project,
}


def run_checklist(
    local: LocalFacts,
    settings: Settings,
    names: ResourceNames,
    *,
    canary: bool,
    clock: Callable[[], datetime],
    wait: Callable[[float], None] = time.sleep,
    advance: Callable[[int, int], None] = lambda *_: None,
    waiting: Callable[[], None] = lambda: None,
    asking: Callable[[int, int], None] = lambda *_: None,
) -> ChecklistReport:
    """Run the doctor and every item of the checklist. Writes no policy; a synthetic denial leaves a refused record.

    `advance` and `waiting` are as for the doctor; `asking` gets the numbers of settled items and of all.
    """
    report = run_doctor(local, names, canary=canary, clock=clock, wait=wait, advance=advance, waiting=waiting)
    emulated = settings.endpoints.get("ARTIFACTREGISTRY", "").startswith("http://")
    snapshot = report.facts or Snapshot(report.names or names, emulated, {})
    calls = GoogleCalls(names.project, settings.endpoints, settings.timeout, local=emulated)
    target = Target(report, snapshot, calls, local.environ, clock())
    large: CanaryResult | None = None
    if report.canary is not None and report.canary.outcome is not None:
        _, large = send_canary(snapshot, settings, report.ledger, clock, wait, deployed.PADDING)
    results: list[Result] = []
    for item in Item:
        asking(len(results), len(Item))
        results.append(_settle(item, target, large))
    return ChecklistReport(target, tuple(results))


def _settle(item: Item, target: Target, large: CanaryResult | None) -> Result:
    if item.by_hand:
        return Result(item, Verdict.BY_HAND)
    if item is Item.MESSAGE_SIZE:
        return deployed.message_size(large)
    return _COMMANDS[item](target)
