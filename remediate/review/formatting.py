"""Texts of the pages: a sentence for each remediation, relative times, evidence as questions and answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
from markupsafe import Markup, escape

from remediate.decisions.variables import Evidence
from remediate.errors import BadInput
from remediate.iam.repository import Repository
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.times import duration, parse_time

_LONGEST_DURATION = 5  # characters: four digits and the unit
_JOINTS = re.compile(r"([@/:.](?=\w))")
_MOMENTS = "a date (2026-11-24), a time (2026-11-24T08:00:00Z) or an age (12h, 3d, 2w)"


def parse_duration(text: str) -> timedelta | None:
    """Parse `12h`, `30d` or `8w`; None when empty. Raises BadInput for anything else."""
    if not text.strip():
        return None
    found = _typed_duration(text.strip())
    if found is None:
        raise BadInput(f"{text!r}: expected hours, days or weeks, as in 12h, 30d or 8w")
    return found


def parse_moment(name: str, text: str, now: datetime) -> datetime | None:
    """Parse a time that a person typed; None when empty. Raises BadInput with the field and the accepted formats."""
    if not text:
        return None
    if age := _typed_duration(text):
        return now - age
    try:
        return parse_time(text)
    except ValueError:
        raise BadInput(f"{name}: {text!r} is not a time; accepted: {_MOMENTS}") from None


def _typed_duration(text: str) -> timedelta | None:
    return duration(text) if len(text) <= _LONGEST_DURATION else None


def relative_time(text: str, now: datetime) -> str:
    """How long ago, or in how long, in the largest whole unit."""
    seconds = (now - parse_time(text)).total_seconds()
    size = abs(seconds)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if size >= length:
            count = int(size // length)
            words = f"{count} {unit}{'s' if count != 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now" if seconds >= 0 else "in less than a minute"


def exact_time(text: str) -> str:
    """A time in full."""
    return f"{parse_time(text):%a %d %b %Y, %H:%M:%S} UTC"


def story_start(text: str, now: datetime) -> str:
    """A time in a sentence: the time if today, the weekday if this week, otherwise the date."""
    then, today = parse_time(text), now.astimezone(UTC)
    if then.date() == today.date():
        return f"{then:%H:%M} UTC today"
    if timedelta(0) < today.date() - then.date() < timedelta(days=7):
        return f"{then:%A}"
    return f"{then.day} {then:%B}" if then.year == today.year else f"{then.day} {then:%B %Y}"


def deploy_label(record: Remediation) -> str:
    """The deployed resource and its project, as far as known."""
    deploy = record.tally.deploys[-1] if record.tally.deploys else None
    if deploy is None:
        return "an unknown resource"
    what = f"{deploy.kind.replace('_', ' ')} " if deploy.kind and deploy.kind != "service" else ""
    return f"{what}{deploy.name or 'an unknown resource'} in {deploy.project or deploy.number or 'an unknown project'}"


def member_label(member: str) -> str:
    """The address of a member; the whole member when it has none."""
    kind, _, rest = member.partition(":")
    return rest if kind in ("user", "serviceAccount") else member


def repository_label(repository: str) -> str:
    """A repository as project, name and location."""
    named = Repository.parse(repository)
    return f"{named.project}/{named.name} ({named.location})" if named else repository


_STILL_OPEN = (State.PROPOSED, State.APPROVED, State.FAILED)


class SentencePart(msgspec.Struct, frozen=True):
    """A part of a sentence; `name`: it is a name, not a word."""

    text: str
    name: bool = False


def sentence_parts(record: Remediation, now: datetime) -> list[SentencePart]:
    """What happened, as a sentence in parts: names and words."""
    who, what = (
        SentencePart(member_label(record.member), name=True),
        SentencePart(repository_label(record.repository), name=True),
    )
    doing = [SentencePart(" while deploying "), SentencePart(deploy_label(record), name=True)]
    if not record.tally.denials and record.state is State.GRANTED:
        return [
            who,
            SentencePart(" can read images in "),
            what,
            SentencePart(": remediate granted access before the first denial"),
            *doing,
            SentencePart("."),
        ]
    if not record.tally.denials:
        will = "will" if record.state in _STILL_OPEN else "would"
        return [
            who,
            SentencePart(f" {will} not be able to read images in "),
            what,
            *doing,
            SentencePart(": not denied yet."),
        ]
    start = story_start(record.tally.first_seen, now)
    times = f"{record.tally.denials:,} times since {start}"
    if record.tally.denials == 1:
        times = f"once, at {start}" if start.endswith("today") else f"once, on {start}"
    return [who, SentencePart(" could not read images in "), what, *doing, SentencePart(f", {times}.")]


def sentence(record: Remediation, now: datetime) -> str:
    """What happened, as a sentence."""
    return "".join(part.text for part in sentence_parts(record, now))


def with_breaks(text: str) -> Markup:
    """Mark where a narrow page can break a name: after the characters that join its parts."""
    return Markup(_JOINTS.sub(r"\1<wbr>", str(escape(text))))  # noqa: S704  (escaped before)


class EvidenceAnswer(msgspec.Struct, frozen=True):
    """One piece of evidence: a question, the answer, and its tone."""

    question: str
    answer: str
    tone: str = ""
    """`good` supports the grant, `bad` opposes it; `unknown`; empty when neutral."""


def evidence_answers(evidence: Evidence) -> list[EvidenceAnswer]:
    """The evidence as questions and answers; missing evidence has the answer "unknown"."""
    kind = (evidence.repository_mode or "").removesuffix("_REPOSITORY").lower()
    exists = f"yes, a {kind} repository" if kind else "yes"
    return [
        _yes_or_no("Does the repository exist?", evidence.repository_exists, yes=exists, good=True),
        _yes_or_no("Is it inside your organization?", evidence.inside_organization, good=True),
        _yes_or_no("Does the member belong to your organization?", evidence.member_inside, good=True),
        _yes_or_no("Is the member already in its reader binding?", evidence.already_granted),
        _yes_or_no("Does the member have access through another role or a parent resource?", evidence.inherited),
        _yes_or_no("Does a deny policy or an access boundary block the member?", evidence.barred, bad=True),
        _yes_or_no("Did the member deploy from this repository before?", evidence.previously_deployed, good=True),
        _yes_or_no("Was its access removed since?", evidence.access_removed, bad=True),
        _yes_or_no("Does the registry's project allow automatic grants (opt-in tag)?", evidence.opted_in),
        _yes_or_no("Does the registry's owner allow automatic grants to newcomers?", evidence.newcomers),
        _path("Ancestors of the member's project", evidence.member_ancestors),
        _path("Ancestors of the deploying project", evidence.deploy_ancestors),
        _path("Ancestors of the registry's project", evidence.image_ancestors),
    ]


def _yes_or_no(
    question: str, value: bool | None, *, yes: str = "yes", good: bool = False, bad: bool = False
) -> EvidenceAnswer:
    """`good`: a yes supports the grant and a no opposes it; `bad`: a yes opposes it."""
    if value is None:
        return EvidenceAnswer(question, "unknown", "unknown")
    if value:
        return EvidenceAnswer(question, yes, "good" if good else "bad" if bad else "")
    return EvidenceAnswer(question, "no", "bad" if good and "before" not in question else "")


def _path(question: str, names: tuple[str, ...] | None) -> EvidenceAnswer:
    if names is None:
        return EvidenceAnswer(question, "unknown", "unknown")
    return EvidenceAnswer(question, " › ".join(reversed(names)))
