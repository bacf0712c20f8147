"""What the pages say in words: one sentence for a proposal, times as people tell them, links, equivalent commands."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timedelta
from urllib.parse import quote

from remediate.errors import BadInput
from remediate.image import Repository
from remediate.remediation import Remediation

LONGEST_REASON = 500  # characters
_DURATION = re.compile(r"([1-9][0-9]{0,3})([hdw])\Z")
_HOURS = {"h": 1, "d": 24, "w": 168}
_CONSOLE = "https://console.cloud.google.com"


def duration(text: str) -> timedelta | None:
    """`12h`, `30d` or `8w`; None where nothing is said. Raises BadInput for anything else."""
    if not text.strip():
        return None
    match = _DURATION.match(text.strip())
    if not match:
        raise BadInput(f"{text!r}: expected hours, days or weeks, as in 12h, 30d or 8w")
    return int(match[1]) * timedelta(hours=_HOURS[match[2]])


def relative(text: str, now: datetime) -> str:
    """How long ago, or in how long, in the largest unit that fits."""
    seconds = (now - datetime.fromisoformat(text)).total_seconds()
    size = abs(seconds)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if size >= length:
            count = int(size // length)
            words = f"{count} {unit}{'s' if count != 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now" if seconds >= 0 else "in a moment"


def sentence(record: Remediation, now: datetime) -> str:
    """What happened, in plain words."""
    who = record.member.partition(":")[2] or record.member
    deploy = record.deploys[-1] if record.deploys else None
    where = "something"
    if deploy:
        where = f"{deploy.name or 'something'} in {deploy.project or deploy.number or 'a project'}"
    if not record.denials:
        return f"{who} will not be able to read images in {_short(record)} while deploying {where}."
    times = "once" if record.denials == 1 else f"{record.denials} times"
    return (
        f"{who} could not read images in {_short(record)} while deploying {where}, {times}, "
        f"first {relative(record.first_seen, now)}."
    )


def _short(record: Remediation) -> str:
    repository = Repository.parse(record.repository)
    return f"{repository.project}/{repository.name} ({repository.location})" if repository else record.repository


def links(record: Remediation) -> list[tuple[str, str]]:
    """Where to look in Google Cloud's console; each is only followed when a person clicks it."""
    repository = Repository.parse(record.repository)
    if repository is None:
        return []
    project, place = quote(repository.project, safe=""), f"{repository.location}/{quote(repository.name, safe='')}"
    found = [("Repository", f"{_CONSOLE}/artifacts/docker/{project}/{place}?project={project}")]
    deploy = record.deploys[-1] if record.deploys else None
    if deploy and deploy.project and deploy.location and deploy.name and deploy.kind == "service":
        own = quote(deploy.project, safe="")
        service = f"{quote(deploy.location, safe='')}/{quote(deploy.name, safe='')}"
        found.append(("Service", f"{_CONSOLE}/run/detail/{service}?project={own}"))
    if deploy and deploy.project:
        own = quote(deploy.project, safe="")
        query = quote('protoPayload.serviceName="run.googleapis.com" severity>=ERROR', safe="")
        found.append(("Log", f"{_CONSOLE}/logs/query;query={query};cursorTimestamp={record.last_seen}?project={own}"))
    return found


def equivalents(record: Remediation) -> dict[str, str]:
    """The same grant by gcloud."""
    repository = Repository.parse(record.repository)
    if repository is None:
        return {}
    command = [
        "gcloud", "artifacts", "repositories", "add-iam-policy-binding", repository.name,
        f"--project={repository.project}", f"--location={repository.location}",
        f"--member={record.member}", f"--role={record.role}",
    ]  # fmt: skip
    return {"gcloud": shlex.join(command)}
