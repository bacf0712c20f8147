"""The synthetic denial: what the doctor publishes, and what its result says about the installation.

It is about a repository and a service account that do not exist, both named `NAME-canary`, so it can only be refused.
Its insert id begins with `canary-`; no code gives that mark any trust. Its entry is in no log, so no rule grants by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from remediate.doctor.codes import Code
from remediate.doctor.finding import Finding
from remediate.doctor.names import ResourceNames, command
from remediate.entries.denial import CLOUD_RUN, Denial, understand
from remediate.entries.log_entry import read_entry
from remediate.entries.source import Log, Source
from remediate.errors import RemediateError
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.times import to_rfc3339

PATIENCE = 60.0  # seconds that a synthetic denial may take
SLOW = 30.0
_PAUSE = 1.0
_LOG_PAUSE = 4.0  # `entries.list` allows 60 calls a minute and project


class Canary(msgspec.Struct, frozen=True):
    """A synthetic denial, ready to be published."""

    insert_id: str
    repository: str
    member: str
    remediation: str
    denial_key: str
    entry: bytes


class ReceiverLogLine(msgspec.Struct, frozen=True):
    """The receiver's log line about the synthetic denial."""

    at: datetime
    milliseconds: float
    outcome: str
    reasons: tuple[str, ...]
    state: str | None


class CanaryTimings(msgspec.Struct, frozen=True):
    """Seconds from sending to each stage; None where the stage was not seen."""

    published: float | None = None
    received: float | None = None
    decided: float | None = None
    recorded: float | None = None


class CanaryResult(msgspec.Struct, frozen=True):
    """What happened to the synthetic denial."""

    insert_id: str
    stages: CanaryTimings
    outcome: str | None = None
    """The decision; anything but `refuse` is a finding."""
    logs_fault: str = ""
    ledger_fault: str = ""

    @property
    def summary(self) -> str:
        """Its timings and outcome in a line."""
        stages = msgspec.structs.asdict(self.stages)
        seen = ", ".join(f"{stage} {_duration(seconds)}" for stage, seconds in stages.items())
        return f"{self.insert_id}: {seen}; decided: {self.outcome or 'not known'}"


def synthetic_denial(names: ResourceNames, now: datetime, token: str, padding: int = 0) -> Canary:
    """The synthetic denial of this installation. `token` makes it unique, `padding` longer by that many bytes."""
    name, insert_id = f"{names.name}-canary", f"canary-{token}"
    image = f"{names.region}-docker.pkg.dev/{names.project.replace(':', '/')}/{name}/synthetic:{token}"
    entry = {
        "insertId": insert_id,
        "logName": Source(Log.ACTIVITY, names.project).name,
        "timestamp": to_rfc3339(now),
        "receiveTimestamp": to_rfc3339(now),
        "severity": "ERROR",
        "labels": {"synthetic": "remediate doctor"},
        "resource": {
            "type": "cloud_run_revision",
            "labels": {"project_id": names.project, "location": names.region, "service_name": name},
        },
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": CLOUD_RUN,
            "methodName": "google.cloud.run.v2.Services.CreateService",
            "resourceName": f"{names.location_path}/services/{name}",
            "authenticationInfo": {"principalEmail": names.account("canary")},
            "requestMetadata": {"callerSuppliedUserAgent": "remediate doctor (synthetic)"},
            "request": {"service": {"template": {"containers": [{"image": image}]}}},
            "status": {"code": 7, "message": f"User must have permission to read the image, {image}."},
            **({"metadata": {"padding": "x" * padding}} if padding else {}),
        },
    }
    raw = msgspec.json.encode(entry)
    denial = understand(read_entry(raw))
    assert isinstance(denial, Denial), denial
    assert denial.entry.key is not None
    grant = denial.grant
    return Canary(insert_id, str(denial.repository), grant.member.id, grant.id, denial.entry.key, raw)


def watch(
    sent: Canary,
    find_line: Callable[[str, datetime], ReceiverLogLine | None],
    find_record: Callable[[Canary], Remediation | None],
    started: datetime,
    published: float,
    clock: Callable[[], datetime],
    wait: Callable[[float], None],
) -> CanaryResult:
    """Watch the synthetic denial until its record and its log line are found, or the time is over."""
    line: ReceiverLogLine | None = None
    record: Remediation | None = None
    recorded: float | None = None
    faults = {"line": "", "record": ""}
    next_line = _LOG_PAUSE
    while (passed := (clock() - started).total_seconds()) < PATIENCE:
        if record is None and not faults["record"]:
            try:
                record = find_record(sent)
                recorded = (clock() - started).total_seconds() if record else None
            except RemediateError as fault:
                faults["record"] = str(fault)
        if line is None and not faults["line"] and (passed >= next_line or record):
            next_line = passed + _LOG_PAUSE
            try:
                line = find_line(sent.insert_id, started)
            except RemediateError as fault:
                faults["line"] = str(fault)
        if (record or faults["record"]) and (line or faults["line"] or passed > (recorded or passed) + 3 * _LOG_PAUSE):
            break
        wait(_PAUSE)
    decided = max(0.0, (line.at - started).total_seconds()) if line else None
    received = max(0.0, decided - line.milliseconds / 1000) if line and decided is not None else None
    if line and line.state and decided is not None:  # the receiver logs after it records
        recorded = min(recorded, decided) if recorded is not None else decided
    outcome = line.outcome if line else ("refuse" if record and record.state is State.REFUSED else None)
    if record and record.state is not State.REFUSED:
        outcome = str(record.state)
    stages = CanaryTimings(
        *(None if each is None else round(each, 3) for each in (published, received, decided, recorded))
    )
    return CanaryResult(sent.insert_id, stages, outcome, faults["line"], faults["record"])


def canary_findings(names: ResourceNames, sent: Canary, result: CanaryResult) -> Iterator[Finding]:
    """What the result says about the installation."""
    stages = result.stages
    receiver = f'resource.labels.service_name="{names.name}-receiver"'
    read = names.gcloud("logging", "read", receiver, "--freshness=1h")
    if result.outcome is None and stages.recorded is None:
        if result.logs_fault and result.ledger_fault:
            what = (
                f"{sent.insert_id} was published; neither the ledger ({result.ledger_fault}) nor the log "
                f"({result.logs_fault}) can be read here"
            )
            words = ("gcloud", "projects", "add-iam-policy-binding", names.project, "--role=roles/logging.viewer")
            me = '--member="user:$(gcloud config get-value account)"'
            yield Finding(Code.NOT_KNOWN, what, f"{command(*words)} {me}")
        else:
            what = f"{sent.insert_id} was published; {PATIENCE:.0f} seconds later there was no decision"
            yield Finding(Code.CANARY_LOST, what, read)
        return
    if result.outcome not in (None, "refuse"):
        what = f"{sent.insert_id} ({sent.repository}, which does not exist) ended as {result.outcome}, not as refuse"
        yield Finding(Code.CANARY_MISJUDGED, what, f"remediate show {sent.remediation}")
    last = max(each for each in (stages.recorded, stages.decided, 0.0) if each is not None)
    if last > SLOW:
        yield Finding(Code.CANARY_SLOW, f"{sent.insert_id} took {last:.0f} seconds to arrive", read)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not seen"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
