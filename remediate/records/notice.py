"""Builds notices about remediations, for people in a channel and for programs on a topic.

Pure. A notice has one id per remediation, cycle and kind, so that a repeated event sends no second notice.
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
from remediate.records.blocks import blocks_in, cure_of
from remediate.records.gathering import Group, group_named
from remediate.records.remediation import RULE, Remediation, TrailRecord
from remediate.records.states import State
from remediate.records.steps import is_renewal
from remediate.records.transitions import unmet_partners
from remediate.times import LAPSE_AFTER, RETRY_AFTER, parse_time, to_rfc3339

SCHEMA = 1
"""Version of the JSON. New fields keep the number; a removed field or a changed meaning raises it."""

_SOON = timedelta(hours=24)  # before a proposal expires; at most half of its time


class NoticeKind(StrEnum):
    """The kind of a notice."""

    PROPOSED = "proposed"
    """A proposal was opened and needs a reviewer."""
    LAPSING = "lapsing"
    """A proposal expires within a day, and no reviewer has answered it."""
    GRANTED = "granted"
    """The member can read the repository; the deployer can continue."""
    REFUSED = "refused"
    """A remediation was refused or failed permanently, and a person must fix the cause."""
    BRAKE = "brake"
    """Automatic grants reached the hourly limit; further ones need a reviewer."""
    GATHERED = "gathered"
    """The denials of a project reached the hourly limit of proposals; people see the others as one group."""


TITLES = {
    NoticeKind.PROPOSED: "Proposal opened",
    NoticeKind.LAPSING: "Proposal expires soon",
    NoticeKind.GRANTED: "Granted",
    NoticeKind.REFUSED: "Refused: action needed",
    NoticeKind.BRAKE: "Hourly limit reached",
    NoticeKind.GATHERED: "Flood of denials",
}

NEEDS_A_PERSON = {
    Reason.OTHER_ORGANIZATION: (
        "Reviewers here cannot grant this. Ask the owner of the repository, or deploy an image from this organization."
    ),
    Reason.REPOSITORY_NOT_FOUND: "Check the image's name in the deploy: its repository does not exist.",
    Reason.NOT_IMAGES: "Check the image's name in the deploy: its repository does not hold container images.",
    Reason.UNVERIFIED_EVENT: "Find out who sent this entry: Cloud Logging does not confirm it, so it may be forged.",
    Reason.TERMINAL_ANSWER: "Fix the cause that Google Cloud reports; then approve again or redeploy.",
}
"""The refusals that need action by a person, with the action.

Refusals by a rule of the policy file are not here: the author of the rule intended them.
"""


class Why(msgspec.Struct, frozen=True):
    """A reason: its stable code (docs/reasons.md) and its sentence."""

    code: str
    sentence: str


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice, complete: readers do not need the ledger. Times are RFC 3339 in UTC."""

    schema: int = SCHEMA
    id: str
    """The same on every delivery; use it to remove duplicates."""
    kind: NoticeKind
    at: str
    """When it happened."""
    title: str
    summary: str
    """What happened, in one or two sentences."""
    advice: str
    """What to do now."""
    link: str | None = None
    """Address of the proposal (of the inbox, for `brake` and `gathered`); null if REMEDIATE_REVIEW_URL is not set."""
    remediation: str
    """For `brake`, the first one over the limit; for `gathered`, the first of the group."""
    cycle: int
    state: State
    repository: str
    role: str
    member: str
    """The member that could not read the repository."""
    image: str | None = None
    """The last image that was denied."""
    deploy: Deploy | None = None
    """The last deploy that was denied: project, number, location, kind, name."""
    deployers: tuple[str, ...] = ()
    reasons: tuple[Why, ...] = ()
    rule: str | None = None
    note: str = ""
    """The answer of Google Cloud, or the reason that a reviewer entered."""
    actor: str
    """Who did it: a member, `rule:NAME`, or `remediate`."""
    approver: str | None = None
    """Who approved it: a member, or `rule:NAME`."""
    denials: int
    """The number of denials; 0 for a predicted one."""
    first_seen: str
    last_seen: str
    lapses: str | None = None
    """When the proposal expires (`proposed`, `lapsing`)."""
    expires: str | None = None
    """When the grant expires (`granted`); null if it does not."""
    retry_from: str | None = None
    """When to retry the deploy (`granted`); null while `waits_for` is not granted."""
    waits_for: tuple[str, ...] = ()
    """Remediations that the same deploy needs and that are not granted yet (`granted`)."""


def notice_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of a notice. Every field is always present."""
    schema = msgspec.json.schema(Notice)
    schema["$defs"]["Notice"]["required"] = [field.encode_name for field in msgspec.structs.fields(Notice)]
    text = msgspec.json.encode(schema).decode()
    for ours, published in _PUBLISHED.items():
        text = text.replace(f'"{ours}":', f'"{published}":').replace(f'#/$defs/{ours}"', f'#/$defs/{published}"')
        text = text.replace(f'"title":"{ours}"', '"title":"Kind"')
    named = msgspec.json.decode(text, type=dict[str, object])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "remediate notice", **named}


_PUBLISHED = {
    "NoticeKind": "remediate.notify.notice.Kind",
    "ResourceKind": "remediate.deploy.Kind",
}
"""Names that definitions keep in the schema: generated code uses them."""


class NoticeContext(msgspec.Struct, frozen=True):
    """The settings that notices need: address of the pages, lifetime of a proposal, hourly limit, opt-in tag."""

    review_url: str | None = None
    lapse_after: timedelta = LAPSE_AFTER
    proposals_an_hour: int = 30
    opt_in_tag: str | None = None


def notice_for(
    record: Remediation,
    trail: Sequence[TrailRecord],
    terms: NoticeContext,
    look_up: Callable[[str], Remediation | None],
) -> Notice | None:
    """The notice of a step, by its last state; None for a step without a notice.

    A rule proposes, approves and grants in one step, which sends one notice. `look_up` looks up partners.
    """
    if not trail:
        return None
    step = trail[-1]
    match step.after:
        case State.PROPOSED:
            return _proposed(record, step, terms)
        case State.GRANTED if is_renewal(step):
            return None  # needs no action
        case State.GRANTED:
            return _granted(record, step, terms, look_up)
        case State.REFUSED | State.FAILED:
            return _refused(record, step, terms)
        case _:
            return None


def reminder_lead(lapse_after: timedelta) -> timedelta:
    """How long before a proposal expires its reminder is due."""
    return min(_SOON, lapse_after / 2)


def expiry_reminder(record: Remediation, now: datetime, terms: NoticeContext) -> Notice | None:
    """The notice of a proposal that expires soon; None for any other record."""
    end = parse_time(record.lifecycle.updated) + terms.lapse_after
    if record.state is not State.PROPOSED or not end - reminder_lead(terms.lapse_after) <= now < end:
        return None
    summary = f"{_denied(record)} No reviewer has answered, and the proposal expires at {_to_minute(end)}."
    notice = _notice(NoticeKind.LAPSING, record, to_rfc3339(now), terms, summary, "Approve or reject it before then.")
    return msgspec.structs.replace(notice, lapses=to_rfc3339(end))


def rate_limit_notice(record: Remediation, now: datetime, terms: NoticeContext, brake: Reason) -> Notice:
    """The notice of the hourly limit for automatic grants, in total or for one member: one per hour."""
    to = f" to {_who(record)}" if brake is Reason.MEMBER_BRAKE else ""
    summary = (
        f"Automatic grants{to} reached the hourly limit. Until the next hour, further grants{to} need a reviewer. "
        f"The first: {_who(record)} on {_where(record)}."
    )
    advice = "Check in the inbox whether these denials are real: the log may be flooded. The limit resets every hour."
    notice = _notice(NoticeKind.BRAKE, record, to_rfc3339(now), terms, summary, advice)
    whose = f".{hashlib.sha256(record.member.encode()).hexdigest()[:12]}" if to else ""
    return msgspec.structs.replace(notice, id=f"brake.{now:%Y-%m-%dT%H}{whose}", link=_link(terms, "/"))


def for_people(
    record: Remediation, notices: Sequence[Notice], now: datetime, terms: NoticeContext, brake: Reason | None = None
) -> list[Notice]:
    """The notices for people: these, or one notice of the group in place of those of a flood.

    A grant or a failure keeps its own notice, because its reviewer waits for the result.
    """
    group = group_named(record.tally.gathered)
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
    """The notice of a group: one per project and hour, and one before its proposals expire."""
    hour = f"{group.begins:%Y-%m-%d %H:%M} and {group.ends:%H:%M} UTC"
    what = "refusals" if record.state is State.REFUSED else "proposals"
    summary = (
        f"Denials in {group.project} opened more than {terms.proposals_an_hour} {what} between {hour}. The others "
        f"share this notice and one row in the inbox. The first: {_who(record)} on {_where(record)}."
    )
    advice = (
        "Find the cause before you approve any: it can be an attack, or one fault that fails every deploy. "
        "You can approve or reject them together in the inbox."
    )
    whose = hashlib.sha256(group.project.encode()).hexdigest()[:12]
    ident = f"gathered.{group.begins:%Y-%m-%dT%H}.{whose}"
    if lapses:
        summary = f"Unanswered proposals for {group.project} from between {hour} expire from {lapses[:16]}Z."
        ident += ".lapsing"
    notice = _notice(NoticeKind.GATHERED, record, to_rfc3339(now), terms, summary, advice)
    link = _link(terms, f"/?state={record.state}&gathered={group.name}")  # a group name has no character to quote
    return msgspec.structs.replace(notice, id=ident, link=link, lapses=lapses)


def _proposed(record: Remediation, step: TrailRecord, terms: NoticeContext) -> Notice:
    end = parse_time(step.at) + terms.lapse_after
    asks = f"Approve or reject it by {_to_minute(end)}; then it expires."
    if record.tally.partners:
        asks += " The same deploy also needs " + ", ".join(record.tally.partners) + "."
    summary = _denied(record)
    for block in blocks_in(record.reasons):
        summary += f" It cannot be approved yet: {block.sentence}"
        asks = f"{cure_of(block, record.grant.repository, terms.opt_in_tag)} {asks}"
    notice = _notice(NoticeKind.PROPOSED, record, step.at, terms, summary, asks, step)
    return msgspec.structs.replace(notice, lapses=to_rfc3339(end))


def _granted(
    record: Remediation, step: TrailRecord, terms: NoticeContext, look_up: Callable[[str], Remediation | None]
) -> Notice:
    absent = unmet_partners(record, filter(None, map(look_up, record.tally.partners)))
    waits = tuple(each.id for each in absent)
    ready = parse_time(step.at) + RETRY_AFTER
    ends = f" until {_to_minute(parse_time(record.lifecycle.expires))}" if record.lifecycle.expires else ""
    by = (record.lifecycle.approver or step.actor).removeprefix("user:").replace(RULE, "rule ")
    summary = f"{_who(record)} can read images in {_where(record)}{ends}, approved by {by}."
    advice = f"Redeploy from {_to_minute(ready)}: IAM usually needs 2 minutes, sometimes 7 or more."
    if waits:
        named = ", ".join(f"{each.id} ({each.state})" for each in absent)
        advice = f"Wait: the same deploy also needs {named}. Redeploy 2 minutes after that is granted."
    notice = _notice(NoticeKind.GRANTED, record, step.at, terms, summary, advice, step)
    retry_from = None if waits else to_rfc3339(ready)
    return msgspec.structs.replace(notice, expires=record.lifecycle.expires, retry_from=retry_from, waits_for=waits)


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
        id=f"{record.id}.{record.lifecycle.cycle}.{kind}",
        kind=kind,
        at=at,
        title=TITLES[kind],
        summary=summary,
        advice=advice,
        link=_link(terms, f"/r/{record.id}"),
        remediation=record.id,
        cycle=record.lifecycle.cycle,
        state=record.state,
        repository=record.repository,
        role=record.role,
        member=record.member,
        image=record.tally.images[-1] if record.tally.images else None,
        deploy=record.tally.deploys[-1] if record.tally.deploys else None,
        deployers=record.names.deployers,
        reasons=tuple(Why(reason, reason.sentence) for reason in record.reasons),
        rule=record.terms.rule,
        note=step.note if step else "",
        actor=step.actor if step else "remediate",
        approver=record.lifecycle.approver,
        denials=record.tally.denials,
        first_seen=record.tally.first_seen,
        last_seen=record.tally.last_seen,
    )


def _link(terms: NoticeContext, path: str) -> str | None:
    return f"{terms.review_url}{path}" if terms.review_url else None


def _denied(record: Remediation) -> str:
    """Who could not read what, during which deploy, how often."""
    deploy = record.tally.deploys[-1] if record.tally.deploys else Deploy()
    project = deploy.project or deploy.number
    what = f"{(deploy.kind or 'service').replace('_', ' ')} {deploy.name}" if deploy.name else "an unknown resource"
    place = f"{what} in {project}" if project else what
    if not record.tally.denials:
        return f"{_who(record)} will not be able to read images in {_where(record)} when {place} is deployed again."
    times = "once" if record.tally.denials == 1 else f"{record.tally.denials} times"
    return f"{_who(record)} could not read images in {_where(record)} when {place} was deployed, {times}."


def _who(record: Remediation) -> str:
    """The address of a member; the whole member when it has none."""
    kind, _, rest = record.member.partition(":")
    return rest if kind in ("user", "serviceAccount") else record.member


def _where(record: Remediation) -> str:
    repository = Repository.parse(record.repository)
    return f"{repository.project}/{repository.name} ({repository.location})" if repository else record.repository


def _to_minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
