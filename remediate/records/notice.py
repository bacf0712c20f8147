"""Turns what happened to a remediation into a notice: what a person reads in a channel, and a machine in a topic.

Pure. One notice a remediation's cycle and kind, by its id: the same thing that happens again has been told already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from remediate.entries.deploy import Deploy
from remediate.iam.repository import Repository
from remediate.reasons import Reason
from remediate.records.gathering import Group, group_named
from remediate.records.remediation import RULE, Remediation, State, TrailRecord
from remediate.records.steps import is_renewal
from remediate.records.transitions import unmet_partners
from remediate.times import instant

SCHEMA = 1
"""Of a notice as JSON. Fields may be added under the same number; one that changes its meaning, or goes, raises it."""

PROPAGATION = timedelta(minutes=2)
"""From when a retry is worth it. Source: "Access change propagation" (IAM): typically 2 minutes, at times 7 or more."""
_SOON = timedelta(hours=24)  # before a proposal lapses; half of its time, where that is less


class NoticeKind(StrEnum):
    """What is told."""

    PROPOSED = "proposed"
    """A proposal was opened: a reviewer is asked."""
    LAPSING = "lapsing"
    """A proposal lapses within a day, and nobody has answered."""
    GRANTED = "granted"
    """The member can read the repository: the deployer may go on."""
    REFUSED = "refused"
    """It was refused, or failed for good, and only a person can do something about the cause."""
    BRAKE = "brake"
    """Rules made as many grants as an hour may have; what comes beyond is asked."""
    GATHERED = "gathered"
    """One project's denials opened as many proposals as an hour may have; people see those beyond as one."""


TITLES = {
    NoticeKind.PROPOSED: "Proposal opened",
    NoticeKind.LAPSING: "Proposal about to lapse",
    NoticeKind.GRANTED: "Granted",
    NoticeKind.REFUSED: "Refused: needs a person",
    NoticeKind.BRAKE: "Brake pulled",
    NoticeKind.GATHERED: "Flood of denials",
}

NEEDS_A_PERSON = {
    Reason.OTHER_ORGANIZATION: (
        "Nobody here can grant this. Ask the owner of that repository, or deploy an image of this organization."
    ),
    Reason.ORGANIZATION_UNKNOWN: (
        "Check the project in the image's name. If it is yours, let this service's identity see the project."
    ),
    Reason.REPOSITORY_NOT_FOUND: "Check the image's name in the deploy: there is no such repository to grant on.",
    Reason.NOT_IMAGES: "Check the image's name in the deploy: that repository holds no container images.",
    Reason.UNVERIFIED_EVENT: "Find out who sent this: Cloud Logging says something else, so it may be a forgery.",
    Reason.TERMINAL_ANSWER: "Cure what Google Cloud says; then approve it again, or deploy again to have it decided.",
}
"""The refusals that end nowhere unless somebody acts, with what to do.

Not among them: what a rule of the policy file refuses. That is an answer, given on purpose by whoever wrote the rule.
"""


class Why(msgspec.Struct, frozen=True):
    """A reason: its stable code (docs/reasons.md) and its sentence."""

    code: str
    sentence: str


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is told, complete: whoever reads it needs no look at the ledger. Times are RFC 3339 in UTC."""

    schema: int = SCHEMA
    id: str
    """The same however often it is delivered: whoever counts, counts by this."""
    kind: NoticeKind
    at: str
    """When it happened."""
    title: str
    summary: str
    """What happened, in a sentence or two."""
    advice: str
    """What to do now."""
    link: str | None = None
    """Opens the proposal (the inbox, for `brake` and `gathered`); null where REMEDIATE_REVIEW_URL is not set."""
    remediation: str
    """For `brake`, the first one that it held back; for `gathered`, the first of the group."""
    cycle: int
    state: State
    repository: str
    role: str
    member: str
    """Who could not read the repository."""
    image: str | None = None
    """The last image that was denied."""
    deploy: Deploy | None = None
    """The last deploy that was denied: project, number, location, kind, name."""
    deployers: tuple[str, ...] = ()
    reasons: tuple[Why, ...] = ()
    rule: str | None = None
    note: str = ""
    """What was said with it: Google Cloud's answer, a reviewer's word."""
    actor: str
    """Who did it: a member, `rule:NAME`, or `remediate`."""
    approver: str | None = None
    """On whose word it was granted: a member, or `rule:NAME`."""
    denials: int
    """How often it was denied; 0 where it is foreseen."""
    first_seen: str
    last_seen: str
    lapses: str | None = None
    """When the proposal lapses (`proposed`, `lapsing`)."""
    expires: str | None = None
    """When the grant ends (`granted`); null where it does not."""
    retry_from: str | None = None
    """From when a retry of the deploy is worth it (`granted`); null while `waits_for` is not granted."""
    waits_for: tuple[str, ...] = ()
    """Remediations of the same deploy that are not granted yet (`granted`)."""


def notice_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of a notice. Every field is always there."""
    schema = msgspec.json.schema(Notice)
    schema["$defs"]["Notice"]["required"] = [field.encode_name for field in msgspec.structs.fields(Notice)]
    text = msgspec.json.encode(schema).decode()
    for ours, published in _PUBLISHED.items():
        text = text.replace(f'"{ours}":', f'"{published}":').replace(f'#/$defs/{ours}"', f'#/$defs/{published}"')
    named = msgspec.json.decode(text, type=dict[str, object])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "remediate notice", **named}


_PUBLISHED = {
    "remediate.records.notice.Kind": "remediate.notify.notice.Kind",
    "remediate.entries.deploy.Kind": "remediate.deploy.Kind",
}
"""Definitions whose names in the schema are older than their places here: code that is generated from it uses them."""


class NoticeContext(msgspec.Struct, frozen=True):
    """What notices have to know beside the record: where the pages are, how long a proposal stands."""

    review_url: str | None = None
    lapse_after: timedelta = timedelta(days=7)
    proposals_an_hour: int = 30


def told(
    record: Remediation, trail: Sequence[TrailRecord], terms: NoticeContext, known: Callable[[str], Remediation | None]
) -> Notice | None:
    """The notice of one step, by where it ended; None for what nobody has to be told.

    A rule's grant is proposed and approved in one step, so it is told once it is granted. `known` looks up partners.
    """
    if not trail:
        return None
    step = trail[-1]
    match step.after:
        case State.PROPOSED:
            return _proposed(record, step, terms)
        case State.GRANTED if is_renewal(step):
            return None  # nothing to do, nor to wait for
        case State.GRANTED:
            return _granted(record, step, terms, known)
        case State.REFUSED | State.FAILED:
            return _refused(record, step, terms)
        case _:
            return None


def expiry_reminder(record: Remediation, now: datetime, terms: NoticeContext) -> Notice | None:
    """The notice of a proposal that lapses soon; None for any other record."""
    end = datetime.fromisoformat(record.updated) + terms.lapse_after
    if record.state is not State.PROPOSED or not end - min(_SOON, terms.lapse_after / 2) <= now < end:
        return None
    summary = f"{_denied(record)} Nobody has answered the proposal, and it lapses at {_moment(end)}."
    notice = _notice(NoticeKind.LAPSING, record, instant(now), terms, summary, "Approve or reject it before then.")
    return msgspec.structs.replace(notice, lapses=instant(end))


def rate_limit_notice(record: Remediation, now: datetime, terms: NoticeContext, brake: Reason) -> Notice:
    """The notice that rules grant no more this hour, in all or to one member: one each, however much is held back."""
    to = f" to {_who(record)}" if brake is Reason.MEMBER_BRAKE else ""
    summary = (
        f"Rules made as many grants this hour{to} as the limits allow. What would be granted{to} now is asked, until "
        f"the next hour begins. The first: {_who(record)} on {_where(record)}."
    )
    advice = (
        "See in the inbox whether these denials are real; somebody may be flooding the log. The next hour starts anew."
    )
    notice = _notice(NoticeKind.BRAKE, record, instant(now), terms, summary, advice)
    whose = f".{hashlib.sha256(record.member.encode()).hexdigest()[:12]}" if to else ""
    return msgspec.structs.replace(notice, id=f"brake.{now:%Y-%m-%dT%H}{whose}", link=_link(terms, "/"))


def for_people(
    record: Remediation, notices: Sequence[Notice], now: datetime, terms: NoticeContext, brake: Reason | None = None
) -> list[Notice]:
    """What people are told: these notices, or that of the record's group in place of those of a flood.

    A grant is told by itself, as is a failure: somebody approved it, and waits for it.
    """
    group = group_named(record.gathered)
    if group is None:
        return list(notices)
    held_back = NoticeKind.BRAKE if brake is Reason.MEMBER_BRAKE else None

    def flooded(notice: Notice) -> bool:
        asked = notice.kind in (NoticeKind.PROPOSED, NoticeKind.LAPSING, held_back)
        return asked or (notice.kind is NoticeKind.REFUSED and notice.state is State.REFUSED)

    rest = [each for each in notices if not flooded(each)]
    if len(rest) == len(notices):
        return rest
    lapses = next((each.lapses for each in notices if each.kind is NoticeKind.LAPSING), None)
    return [*rest, gathered(record, group, now, terms, lapses)]


def gathered(
    record: Remediation, group: Group, now: datetime, terms: NoticeContext, lapses: str | None = None
) -> Notice:
    """The notice that one project's denials are gathered: one a project and hour, and one before they lapse."""
    hour = f"{group.begins:%Y-%m-%d %H:%M} and {group.ends:%H:%M} UTC"
    what = "refusals" if record.state is State.REFUSED else "proposals"
    summary = (
        f"Denials in {group.project} opened more than {terms.proposals_an_hour} {what} between {hour}. Those beyond "
        f"have no notice each, and one row in the inbox. The first: {_who(record)} on {_where(record)}."
    )
    advice = (
        "Find out what it is before approving any: it can be an attack, or one fault that fails every deploy. "
        "The inbox lists them all, and they can be approved or rejected together."
    )
    whose = hashlib.sha256(group.project.encode()).hexdigest()[:12]
    ident = f"gathered.{group.begins:%Y-%m-%dT%H}.{whose}"
    if lapses:
        summary = f"Proposals for {group.project}, gathered between {hour}, lapse from {lapses[:16]}Z on unanswered."
        ident += ".lapsing"
    notice = _notice(NoticeKind.GATHERED, record, instant(now), terms, summary, advice)
    link = _link(terms, f"/?state={record.state}&gathered={group.name}")  # no sign of a name needs quoting in a query
    return msgspec.structs.replace(notice, id=ident, link=link, lapses=lapses)


def _proposed(record: Remediation, step: TrailRecord, terms: NoticeContext) -> Notice:
    end = datetime.fromisoformat(step.at) + terms.lapse_after
    asks = f"Approve or reject it by {_moment(end)}; then it lapses."
    if record.partners:
        asks += " The same deploy needs " + ", ".join(record.partners) + " too."
    notice = _notice(NoticeKind.PROPOSED, record, step.at, terms, _denied(record), asks, step)
    return msgspec.structs.replace(notice, lapses=instant(end))


def _granted(
    record: Remediation, step: TrailRecord, terms: NoticeContext, known: Callable[[str], Remediation | None]
) -> Notice:
    absent = unmet_partners(record, filter(None, map(known, record.partners)))
    waits = tuple(each.id for each in absent)
    ready = datetime.fromisoformat(step.at) + PROPAGATION
    ends = f" until {_moment(datetime.fromisoformat(record.expires))}" if record.expires else ""
    by = (record.approver or step.actor).removeprefix("user:").replace(RULE, "the rule ")
    summary = f"{_who(record)} can read images in {_where(record)}{ends}, on the word of {by}."
    advice = f"Deploy again from {_moment(ready)} on: IAM needs about 2 minutes, sometimes 7 or more."
    if waits:
        named = ", ".join(f"{each.id} ({each.state})" for each in absent)
        advice = f"Wait: the same deploy needs {named} too. Deploy again two minutes after that is granted."
    notice = _notice(NoticeKind.GRANTED, record, step.at, terms, summary, advice, step)
    retry_from = None if waits else instant(ready)
    return msgspec.structs.replace(notice, expires=record.expires, retry_from=retry_from, waits_for=waits)


def _refused(record: Remediation, step: TrailRecord, terms: NoticeContext) -> Notice | None:
    why = next((reason for reason in NEEDS_A_PERSON if reason in step.reasons), None)
    if why is None:
        return None
    summary = f"{_denied(record)} {why.sentence}"
    return _notice(NoticeKind.REFUSED, record, step.at, terms, summary, NEEDS_A_PERSON[why], step)


def _notice(
    kind: NoticeKind,
    record: Remediation,
    at: str,
    terms: NoticeContext,
    summary: str,
    advice: str,
    step: TrailRecord | None = None,
) -> Notice:
    return Notice(
        id=f"{record.id}.{record.cycle}.{kind}",
        kind=kind,
        at=at,
        title=TITLES[kind],
        summary=summary,
        advice=advice,
        link=_link(terms, f"/r/{record.id}"),
        remediation=record.id,
        cycle=record.cycle,
        state=record.state,
        repository=record.repository,
        role=record.role,
        member=record.member,
        image=record.images[-1] if record.images else None,
        deploy=record.deploys[-1] if record.deploys else None,
        deployers=record.deployers,
        reasons=tuple(Why(reason, reason.sentence) for reason in record.reasons),
        rule=record.rule,
        note=step.note if step else "",
        actor=step.actor if step else "remediate",
        approver=record.approver,
        denials=record.denials,
        first_seen=record.first_seen,
        last_seen=record.last_seen,
    )


def _link(terms: NoticeContext, path: str) -> str | None:
    return f"{terms.review_url}{path}" if terms.review_url else None


def _denied(record: Remediation) -> str:
    """Who could not read what, deploying where, how often."""
    deploy = record.deploys[-1] if record.deploys else Deploy()
    project = deploy.project or deploy.number
    what = f"{(deploy.kind or 'service').replace('_', ' ')} {deploy.name}" if deploy.name else "something"
    place = f"{what} in {project}" if project else what
    if not record.denials:
        return f"{_who(record)} will not be able to read images in {_where(record)} when {place} is deployed again."
    times = "once" if record.denials == 1 else f"{record.denials} times"
    return f"{_who(record)} could not read images in {_where(record)} when {place} was deployed, {times}."


def _who(record: Remediation) -> str:
    """An address alone; whoever has none, as IAM writes it."""
    kind, _, rest = record.member.partition(":")
    return rest if kind in ("user", "serviceAccount") else record.member


def _where(record: Remediation) -> str:
    repository = Repository.parse(record.repository)
    return f"{repository.project}/{repository.name} ({repository.location})" if repository else record.repository


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
