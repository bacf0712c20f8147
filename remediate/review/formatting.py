"""What the pages say in words: one sentence for a remediation, times as people tell them, evidence as answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
from markupsafe import Markup, escape

from remediate.decisions.variables import Evidence
from remediate.errors import BadInput
from remediate.iam.repository import Repository
from remediate.records.remediation import Remediation, State

_DURATION = re.compile(r"([1-9][0-9]{0,3})([hdw])\Z")
_JOINTS = re.compile(r"([@/:.](?=\w))")
_HOURS = {"h": 1, "d": 24, "w": 168}
_MOMENTS = "a date (2026-11-24), a moment (2026-11-24T08:00:00Z) or how long ago (12h, 3d, 2w)"
RETRY_AFTER, RETRY_SURELY = timedelta(minutes=2), timedelta(minutes=7)
"""After how long a grant is known ("Access change propagation": two minutes as a rule, seven or more at times)."""


def parse_duration(text: str) -> timedelta | None:
    """`12h`, `30d` or `8w`; None where nothing is said. Raises BadInput for anything else."""
    if not text.strip():
        return None
    match = _DURATION.match(text.strip())
    if not match:
        raise BadInput(f"{text!r}: expected hours, days or weeks, as in 12h, 30d or 8w")
    return int(match[1]) * timedelta(hours=_HOURS[match[2]])


def parse_moment(name: str, text: str, now: datetime) -> datetime | None:
    """The moment that somebody typed; None where nothing is. Raises BadInput that names the field and what it takes."""
    if not text:
        return None
    if match := _DURATION.match(text):
        return now - int(match[1]) * timedelta(hours=_HOURS[match[2]])
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadInput(f"{name}: {text!r} is no time; accepted: {_MOMENTS}") from None


def relative_time(text: str, now: datetime) -> str:
    """How long ago, or in how long, in the largest unit that fits."""
    seconds = (now - datetime.fromisoformat(text)).total_seconds()
    size = abs(seconds)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if size >= length:
            count = int(size // length)
            words = f"{count} {unit}{'s' if count != 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now" if seconds >= 0 else "in a moment"


def exact_time(text: str) -> str:
    """A moment in full."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%a %d %b %Y, %H:%M:%S} UTC"


def story_start(text: str, now: datetime) -> str:
    """A moment as the beginning of a story: the time of today, the day of this week, or the date."""
    then, today = datetime.fromisoformat(text).astimezone(UTC), now.astimezone(UTC)
    if then.date() == today.date():
        return f"{then:%H:%M} UTC today"
    if timedelta(0) < today.date() - then.date() < timedelta(days=7):
        return f"{then:%A}"
    return f"{then.day} {then:%B}" if then.year == today.year else f"{then.day} {then:%B %Y}"


def deploy_label(record: Remediation) -> str:
    """What is deployed where, as far as it is known."""
    deploy = record.deploys[-1] if record.deploys else None
    if deploy is None:
        return "something"
    what = f"{deploy.kind.replace('_', ' ')} " if deploy.kind and deploy.kind != "service" else ""
    return f"{what}{deploy.name or 'something'} in {deploy.project or deploy.number or 'a project that is not known'}"


def member_label(member: str) -> str:
    """A member as people write it: the address alone, or the whole name where it is none."""
    kind, _, rest = member.partition(":")
    return rest if kind in ("user", "serviceAccount") else member


def repository_label(repository: str) -> str:
    """A repository as people name it: project, name and location."""
    named = Repository.parse(repository)
    return f"{named.project}/{named.name} ({named.location})" if named else repository


_STILL_OPEN = (State.PROPOSED, State.APPROVED, State.FAILED)


class SentencePart(msgspec.Struct, frozen=True):
    """A piece of a sentence; `name`: somebody or something goes by it."""

    text: str
    name: bool = False


def sentence_parts(record: Remediation, now: datetime) -> list[SentencePart]:
    """What happened, in plain words, with the names told apart from the words."""
    who, what = (
        SentencePart(member_label(record.member), name=True),
        SentencePart(repository_label(record.repository), name=True),
    )
    doing = [SentencePart(" while deploying "), SentencePart(deploy_label(record), name=True)]
    if not record.denials and record.state is State.GRANTED:
        return [
            who,
            SentencePart(" can read images in "),
            what,
            SentencePart(": it was granted before it was denied"),
            *doing,
            SentencePart("."),
        ]
    if not record.denials:
        will = "will" if record.state in _STILL_OPEN else "would"
        return [
            who,
            SentencePart(f" {will} not be able to read images in "),
            what,
            *doing,
            SentencePart(": it was not denied yet."),
        ]
    told = story_start(record.first_seen, now)
    times = f"{record.denials:,} times since {told}"
    if record.denials == 1:
        times = f"once, at {told}" if told.endswith("today") else f"once, on {told}"
    return [who, SentencePart(" could not read images in "), what, *doing, SentencePart(f", {times}.")]


def sentence(record: Remediation, now: datetime) -> str:
    """What happened, in plain words."""
    return "".join(part.text for part in sentence_parts(record, now))


def with_breaks(text: str) -> Markup:
    """The text with places at which a narrow page may break it: behind what joins the parts of a name."""
    return Markup(_JOINTS.sub(r"\1<wbr>", str(escape(text))))  # noqa: S704  (escaped before)


class EvidenceAnswer(msgspec.Struct, frozen=True):
    """One piece of evidence: what was asked, the answer, and whether it speaks for the grant or against it."""

    question: str
    answer: str
    tone: str = ""
    """`good`, `bad`, `unknown` or nothing."""


def evidence_answers(evidence: Evidence) -> list[EvidenceAnswer]:
    """What is known, as questions and answers; what is not known says so."""
    kind = (evidence.repository_mode or "").removesuffix("_REPOSITORY").lower()
    exists = f"yes, a {kind} repository" if kind else "yes"
    return [
        _yes_or_no("Does the repository exist?", evidence.repository_exists, yes=exists, good=True),
        _yes_or_no("Is it inside your organization?", evidence.inside_organization, good=True),
        _yes_or_no("Does the member belong to your organization?", evidence.member_inside, good=True),
        _yes_or_no("Is the member in its reader binding already?", evidence.already_granted),
        _yes_or_no("Can the member read it by another role, or from further up?", evidence.inherited),
        _yes_or_no("Is the member barred by a deny policy or an access boundary?", evidence.barred, bad=True),
        _yes_or_no("Did it deploy from this repository before?", evidence.previously_deployed, good=True),
        _yes_or_no("Was its access taken away since?", evidence.access_removed, good=False),
        _yes_or_no("Does the registry's project let rules grant (opt-in tag)?", evidence.opted_in),
        _yes_or_no("Does the registry's owner let rules grant to newcomers?", evidence.newcomers),
        _path("The member's project lies in", evidence.member_ancestors),
        _path("The deploying project lies in", evidence.deploy_ancestors),
        _path("The registry's project lies in", evidence.image_ancestors),
    ]


def _yes_or_no(
    question: str, value: bool | None, *, yes: str = "yes", good: bool = False, bad: bool = False
) -> EvidenceAnswer:
    """`good`: a yes speaks for it and a no against it; `bad`: a yes speaks against it."""
    if value is None:
        return EvidenceAnswer(question, "unknown", "unknown")
    if value:
        return EvidenceAnswer(question, yes, "good" if good else "bad" if bad else "")
    return EvidenceAnswer(question, "no", "bad" if good and "before" not in question else "")


def _path(question: str, names: tuple[str, ...] | None) -> EvidenceAnswer:
    if names is None:
        return EvidenceAnswer(question, "unknown", "unknown")
    return EvidenceAnswer(question, " › ".join(reversed(names)))
