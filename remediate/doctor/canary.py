"""A synthetic denial, and how far it came: what is sent can end in nothing but a refusal, and everybody can tell it.

It is about a repository that does not exist, in the installation's own project, and a service account that does not
exist either; both are called `NAME-canary`, and the entry's id begins with `canary-`. The mark earns no trust anywhere:
no code path looks at it. The entry stands in no log, so that no rule would ever write on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

import msgspec

from remediate.doctor.codes import Code
from remediate.doctor.finding import Finding, command
from remediate.doctor.names import Site
from remediate.entries.denial import CLOUD_RUN, Denial, understand
from remediate.entries.log_entry import read_entry
from remediate.entries.source import Log, Source
from remediate.records.remediation import Remediation, State
from remediate.times import instant

PATIENCE = 60.0  # seconds that a synthetic denial may take
SLOW = 30.0
_PAUSE = 1.0
_LOG_PAUSE = 4.0  # `entries.list` takes 60 calls a minute and project


class Canary(msgspec.Struct, frozen=True):
    """A synthetic denial, ready to be published."""

    insert_id: str
    repository: str
    member: str
    remediation: str
    denial_key: str
    entry: bytes


class Line(msgspec.Struct, frozen=True):
    """The receiver's own log line about it."""

    at: datetime
    milliseconds: float
    outcome: str
    reasons: tuple[str, ...]
    state: str | None


class Stages(msgspec.Struct, frozen=True):
    """Seconds from the moment it was sent to each stage; None: not seen."""

    published: float | None = None
    received: float | None = None
    decided: float | None = None
    recorded: float | None = None


class Flight(msgspec.Struct, frozen=True):
    """What became of it."""

    insert_id: str
    stages: Stages
    outcome: str | None = None
    """What was decided: it has to be `refuse`."""
    logs_fault: str = ""
    ledger_fault: str = ""


class Watcher(Protocol):
    """Where a synthetic denial is seen on its way."""

    def line(self, insert_id: str, since: datetime) -> Line | None:
        """The receiver's log line about it, once it is there. Raises TerminalFault or TransientFault."""

    def record(self, canary: Canary) -> Remediation | None:
        """The record, once it counts this very denial. Raises as `line` does."""


def canary(site: Site, now: datetime, token: str) -> Canary:
    """The synthetic denial of this site. `token` tells it from all others."""
    name, insert_id = f"{site.name}-canary", f"canary-{token}"
    image = f"{site.region}-docker.pkg.dev/{site.project.replace(':', '/')}/{name}/synthetic:{token}"
    entry = {
        "insertId": insert_id,
        "logName": Source(Log.ACTIVITY, site.project).name,
        "timestamp": instant(now),
        "receiveTimestamp": instant(now),
        "severity": "ERROR",
        "labels": {"synthetic": "remediate doctor"},
        "resource": {
            "type": "cloud_run_revision",
            "labels": {"project_id": site.project, "location": site.region, "service_name": name},
        },
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": CLOUD_RUN,
            "methodName": "google.cloud.run.v2.Services.CreateService",
            "resourceName": f"{site.place}/services/{name}",
            "authenticationInfo": {"principalEmail": site.account("canary")},
            "requestMetadata": {"callerSuppliedUserAgent": "remediate doctor (synthetic)"},
            "request": {"service": {"template": {"containers": [{"image": image}]}}},
            "status": {"code": 7, "message": f"User must have permission to read the image, {image}."},
        },
    }
    raw = msgspec.json.encode(entry)
    denial = understand(read_entry(raw))
    assert isinstance(denial, Denial), denial
    assert denial.entry.key is not None
    ident = denial.grant.id
    return Canary(insert_id, str(denial.repository), denial.grant.member.id, ident, denial.entry.key, raw)


def follow(
    sent: Canary,
    watcher: Watcher,
    started: datetime,
    published: float,
    clock: Callable[[], datetime],
    wait: Callable[[float], None],
) -> Flight:
    """Watch it come through, until it is recorded and its line is there, or the time is over."""
    from remediate.errors import RemediateError

    line: Line | None = None
    record: Remediation | None = None
    recorded: float | None = None
    faults = {"line": "", "record": ""}
    next_line = _LOG_PAUSE
    while (passed := (clock() - started).total_seconds()) < PATIENCE:
        if record is None and not faults["record"]:
            try:
                record = watcher.record(sent)
                recorded = (clock() - started).total_seconds() if record else None
            except RemediateError as fault:
                faults["record"] = str(fault)
        if line is None and not faults["line"] and (passed >= next_line or record):
            next_line = passed + _LOG_PAUSE
            try:
                line = watcher.line(sent.insert_id, started)
            except RemediateError as fault:
                faults["line"] = str(fault)
        if (record or faults["record"]) and (line or faults["line"] or passed > (recorded or passed) + 3 * _LOG_PAUSE):
            break
        wait(_PAUSE)
    decided = max(0.0, (line.at - started).total_seconds()) if line else None
    received = max(0.0, decided - line.milliseconds / 1000) if line and decided is not None else None
    if line and line.state and decided is not None:  # the line is written once the record is
        recorded = min(recorded, decided) if recorded is not None else decided
    outcome = line.outcome if line else ("refuse" if record and record.state is State.REFUSED else None)
    if record and record.state is not State.REFUSED:
        outcome = str(record.state)
    stages = Stages(*(None if each is None else round(each, 3) for each in (published, received, decided, recorded)))
    return Flight(sent.insert_id, stages, outcome, faults["line"], faults["record"])


def judged(site: Site, sent: Canary, flight: Flight) -> Iterator[Finding]:
    """What its flight says about the installation."""
    stages = flight.stages
    receiver = f'resource.labels.service_name="{site.name}-receiver"'
    read = command("gcloud", "logging", "read", receiver, "--freshness=1h", f"--project={site.project}")
    if flight.outcome is None and stages.recorded is None:
        if flight.logs_fault and flight.ledger_fault:
            what = f"{sent.insert_id} was published, and neither the ledger ({flight.ledger_fault}) nor the log"
            words = ("gcloud", "projects", "add-iam-policy-binding", site.project, "--role=roles/logging.viewer")
            me = '--member="user:$(gcloud config get-value account)"'
            yield Finding(Code.NOT_KNOWN, f"{what} ({flight.logs_fault}) may be read here", f"{command(*words)} {me}")
            return
        what = f"{sent.insert_id} was published, and {PATIENCE:.0f} seconds later nobody had decided about it"
        yield Finding(Code.CANARY_LOST, what, read)
        return
    if flight.outcome not in (None, "refuse"):
        what = f"{sent.insert_id} ({sent.repository}, which does not exist) came to {flight.outcome}, not to a refusal"
        yield Finding(Code.CANARY_MISJUDGED, what, f"remediate show {sent.remediation}")
    last = max(each for each in (stages.recorded, stages.decided, 0.0) if each is not None)
    if last > SLOW:
        what = f"{sent.insert_id} took {last:.0f} seconds to come through"
        yield Finding(Code.CANARY_SLOW, what, read)
