"""Turns denials and decisions into the record of one remediation: its states, its transitions, its trail.

One record per (repository, member), however often it is denied. Everything here is pure: a transition takes a record
and gives the next one together with the trail record that says who did what, why and when.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import msgspec

from remediate.chain import digest
from remediate.denial import Denial, Deploy, EntryId, Reader
from remediate.errors import Refused
from remediate.image import Repository
from remediate.policy import ROLE, Decision, Outcome
from remediate.principal import Member, parse_member
from remediate.reasons import BRAKES, Reason

_T = TypeVar("_T")
RULE = "rule:"
"""What the name of an actor begins with that is a rule, not a person."""

_SEEN = 20  # deploys, images and partners kept with a record; the count of denials goes on


class State(StrEnum):
    """Where a remediation stands."""

    PROPOSED = "proposed"
    """A reviewer is asked."""
    APPROVED = "approved"
    """Somebody, or a rule, said yes; the policy write is due."""
    GRANTED = "granted"
    """The member is in the repository's reader binding."""
    REJECTED = "rejected"
    """A reviewer said no; the same denial is counted, not raised again."""
    REFUSED = "refused"
    """What nobody can override stood against it."""
    FAILED = "failed"
    """Google Cloud refused the change for good; it may be approved again once the cause is gone."""
    REMOVED = "removed"
    """Somebody else took the member out of the binding again."""
    REVOKED = "revoked"
    """A reviewer took the member out of the binding again."""
    EXPIRED = "expired"
    """The grant was for a time, and that is over; the member is out of the binding again."""
    LAPSED = "lapsed"
    """Nobody answered, or nobody carried it out, in time."""


TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: frozenset({State.PROPOSED, State.REFUSED, State.FAILED}),
    State.PROPOSED: frozenset(
        {State.PROPOSED, State.APPROVED, State.REJECTED, State.REFUSED, State.FAILED, State.LAPSED}
    ),
    State.APPROVED: frozenset(
        {State.APPROVED, State.GRANTED, State.PROPOSED, State.REFUSED, State.FAILED, State.LAPSED}
    ),
    State.GRANTED: frozenset({State.REMOVED, State.REVOKED, State.EXPIRED}),
    State.REJECTED: frozenset({State.PROPOSED, State.REFUSED}),
    State.REFUSED: frozenset({State.PROPOSED}),
    State.FAILED: frozenset({State.APPROVED, State.PROPOSED, State.REFUSED}),
    State.REMOVED: frozenset({State.PROPOSED, State.REFUSED}),
    State.REVOKED: frozenset({State.PROPOSED, State.REFUSED}),
    State.EXPIRED: frozenset({State.PROPOSED, State.REFUSED}),
    State.LAPSED: frozenset({State.PROPOSED, State.REFUSED}),
}
"""Every transition there is; any other is impossible. None is "no record yet".

A proposal that becomes a proposal is renewed: what a reviewer has to know about it has changed. An approval that was
not carried out may be approved again, by somebody else or for another time; one that does not hold any more when it is
to be carried out is proposed anew.
What is over (rejected, refused, removed, revoked, expired, lapsed) begins its next cycle with a new denial.
"""


class Ending(msgspec.Struct, frozen=True):
    """Who takes a grant away, and why; recorded before the policy is changed, so that whoever finds it half done can
    finish it in their name."""

    state: State
    """`revoked` or `expired`."""
    actor: str
    note: str


class Remediation(msgspec.Struct, frozen=True):
    """The record of one (repository, member). Times are RFC 3339 in UTC; `version` counts its commits."""

    id: str
    state: State
    repository: str
    member: str
    readers: tuple[Reader, ...]
    rule: str | None
    reasons: tuple[Reason, ...]
    first_seen: str
    last_seen: str
    updated: str
    role: str = ROLE
    denials: int = 0
    predicted: bool = False
    """Proposed ahead of the denial that would come next; false as soon as it was denied itself."""
    deploys: tuple[Deploy, ...] = ()
    images: tuple[str, ...] = ()
    deployers: tuple[str, ...] = ()
    """Who deployed: none of them may approve."""
    partners: tuple[str, ...] = ()
    """The other reader of the same deploy: deployer and service agent are best approved together."""
    expires: str | None = None
    """When the grant ends; None where it does not."""
    approver: str | None = None
    """Whose word a grant stands on: a person's, or `rule:NAME`."""
    ours: bool = False
    """Whether the member is in the binding because we put it there, so that we may take it away."""
    lasts: float | None = None
    """Seconds that a grant lasts by its rule; None where it says nothing."""
    reviewers: tuple[str, ...] = ()
    """Who may approve it by its rule, by key or domain; empty where it says nothing."""
    because: str = ""
    """Its rule's own sentence."""
    doubts: tuple[Reason, ...] = ()
    """What was doubtful about the last denial."""
    ending: Ending | None = None
    """Set while a grant is being taken away."""
    taken_away: str | None = None
    """When somebody last took the grant away; rules do not give it back for a while."""
    cycle: int = 1
    """How often it was raised, from a proposal to its end."""
    version: int = 1
    trail: int = 0
    """How many trail records there are, and so the next one's number."""
    trail_hash: str = ""
    troubleshooter: str | None = None  # the last link that Google gave with a denial; nothing decides by it


class TrailRecord(msgspec.Struct, frozen=True):
    """One transition: who, what, why, when. `hash` covers all other fields, the previous record's hash among them."""

    remediation: str
    seq: int
    at: str
    actor: str
    before: State | None
    after: State
    repository: str
    member: str
    reasons: tuple[Reason, ...]
    note: str
    previous: str
    hash: str = ""
    outcome: Outcome | msgspec.UnsetType = msgspec.UNSET
    """Of the decision that made the transition; not there where a person or time made it."""
    rule: str | msgspec.UnsetType = msgspec.UNSET
    policy: str | msgspec.UnsetType = msgspec.UNSET
    """The digest of the policy file that the rule stands in."""
    project: str | msgspec.UnsetType = msgspec.UNSET
    """Where the last denied deploy went, id or number."""
    content: str | msgspec.UnsetType = msgspec.UNSET
    """`content_digest` of what was approved."""
    terms: str | msgspec.UnsetType = msgspec.UNSET
    """`terms_digest` of the record as this transition left it; not there in trails of before."""


def remediation_id(repository: Repository, member: Member) -> str:
    """The id that this repository and this member always have: `r-` and twelve hexadecimal digits."""
    return "r-" + hashlib.sha256(f"{repository}\n{member.key}".encode()).hexdigest()[:12]


def instant(moment: datetime) -> str:
    """A moment as records write it: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def opened(
    denial: Denial, decision: Decision, state: State, *, actor: str, now: datetime, note: str = ""
) -> tuple[Remediation, TrailRecord]:
    """The record that a first denial opens, `proposed`, `refused` or `failed`."""
    assert denial.repository is not None
    assert denial.member is not None
    moment = instant(when(denial, now))
    blank = Remediation(
        id=remediation_id(denial.repository, denial.member),
        state=state,
        repository=str(denial.repository),
        member=str(denial.member),
        readers=(),
        rule=decision.rule,
        reasons=decision.reasons,
        first_seen=moment,
        last_seen=moment,
        updated=moment,
        lasts=decision.expires_after,
        reviewers=decision.reviewers,
        because=decision.because,
        version=0,
    )
    return _step(None, counted(blank, denial, now), state, actor, now, decision.reasons, note, decision)


def predicted(ahead: Denial, decision: Decision, *, actor: str, now: datetime) -> tuple[Remediation, TrailRecord]:
    """The proposal for a denial that is foreseen."""
    record, trail = opened(ahead, decision, State.PROPOSED, actor=actor, now=now)
    return msgspec.structs.replace(record, denials=0, predicted=True), trail


def counted(record: Remediation, denial: Denial, now: datetime) -> Remediation:
    """The record with one denial more; no transition, so no trail record."""
    reader = (denial.reader,) if denial.reader else ()
    moment = instant(when(denial, now))
    return msgspec.structs.replace(
        record,
        denials=record.denials + 1,
        predicted=False,
        first_seen=min(record.first_seen, moment),
        last_seen=max(record.last_seen, moment),
        readers=tuple(sorted({*record.readers, *reader})),
        deploys=_with(record.deploys, denial.deploy),
        images=_with(record.images, denial.image),
        deployers=_deployers(record, denial),
        doubts=denial.doubts,
        troubleshooter=denial.troubleshooter or record.troubleshooter,
        version=record.version + 1,
    )


def last_denial(record: Remediation) -> Denial:
    """The last denial, as far as the record tells of it: what it takes to decide about it again."""
    member = parse_member(record.member)
    assert isinstance(member, Member)
    deployer = parse_member(record.deployers[-1]) if record.deployers else None
    return Denial(
        entry=EntryId(timestamp=record.last_seen),
        deploy=record.deploys[-1] if record.deploys else Deploy(),
        reader=record.readers[-1] if record.readers else None,
        member=member,
        repository=Repository.parse(record.repository),
        image=record.images[-1] if record.images else None,
        deployer=deployer if isinstance(deployer, Member) else None,
        doubts=record.doubts,
    )


_NOT_CONTENT = (
    Reason.DRY_RUN,
    Reason.PREDICTED,
    Reason.TERMINAL_ANSWER,
    Reason.EVENT_UNVERIFIED,
    *BRAKES,
    Reason.TAKEN_AWAY,
    Reason.DEPLOYER_UNKNOWN,  # another denial of the same record may have named one
)


def content_digest(record: Remediation) -> str:
    """What an approval says yes to, as twelve hexadecimal digits.

    The grant, why it is asked and by which rule, whose deploys it is for and which grants belong to it; not how often
    it was denied meanwhile, nor what else the repository's policy holds.
    """
    content = (
        (record.repository, record.role, record.member, record.cycle),
        (record.rule, settled(record.reasons), record.lasts, record.reviewers, record.because),
        sorted({each.project or each.number or "" for each in record.deploys}),
        sorted(record.deployers),
        sorted(record.partners),
    )
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:12]


def terms_digest(record: Remediation) -> str:
    """What a grant stands on, as twelve hexadecimal digits, so that its trail tells whether that was changed since."""
    terms = (record.role, record.ours, record.expires, record.approver, record.cycle)
    limits = (record.rule, record.lasts, record.reviewers, record.because)
    return hashlib.sha256(msgspec.json.encode((*terms, *limits))).hexdigest()[:12]


def settled(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """The reasons that come from the denial and the evidence, not from the mode or from what was done about it."""
    return tuple(sorted({reason for reason in reasons if reason not in _NOT_CONTENT}))


def partnered(record: Remediation, partner: str) -> Remediation:
    """The record with its partner noted; the same where it is already."""
    known = record.partners
    return msgspec.structs.replace(record, partners=known if partner in known else _with(known, partner))


def foreseen(record: Remediation, denial: Denial, partner: str) -> Remediation:
    """The service agent's record with one more deploy that waits for it; its deployer may not approve it either."""
    added = tuple(each for each in _deployers(record, denial) if each not in record.deployers)
    seen = partnered(msgspec.structs.replace(record, deployers=(*record.deployers, *added)), partner)
    return record if seen == record else msgspec.structs.replace(seen, version=record.version + 1)


def _deployers(record: Remediation, denial: Denial) -> tuple[str, ...]:
    """Every deployer there was, and who stood behind them: whoever fell off a list could approve their own deploy."""
    named = [str(each) for each in (*denial.behind, denial.deployer) if each]
    return (*(each for each in record.deployers if each not in named), *dict.fromkeys(named))


def moved(
    record: Remediation,
    state: State,
    *,
    actor: str,
    now: datetime,
    reasons: tuple[Reason, ...] | None = None,
    note: str = "",
    decision: Decision | None = None,
    ours: bool = False,
    expires: str | None = None,
) -> tuple[Remediation, TrailRecord]:
    """The record in its next state; `decision` is what took it there, None for a person or time.

    `reasons` outrank the decision's; `ours` and `expires` are said with an approval. Raises Refused where no such
    transition exists.
    """
    if state not in TRANSITIONS[record.state]:
        raise Refused(f"{record.id} is {record.state}: it cannot become {state}")
    why = reasons or (decision.reasons if decision else record.reasons)
    following = msgspec.structs.replace(record, version=record.version + 1, reasons=why, ending=None)
    if decision is not None:
        said = {"lasts": decision.expires_after, "reviewers": decision.reviewers, "because": decision.because}
        following = msgspec.structs.replace(following, rule=decision.rule, **said)
    if state is State.PROPOSED and record.state is not State.PROPOSED:
        following = msgspec.structs.replace(following, cycle=record.cycle + 1, expires=None, ours=False, approver=None)
    if state is State.APPROVED:
        following = msgspec.structs.replace(following, approver=actor, ours=ours, expires=expires)
    if state in (State.REVOKED, State.REMOVED):
        following = msgspec.structs.replace(following, taken_away=instant(now))
    return _step(record.state, following, state, actor, now, why, note, decision)


def ends(rule: float | None, reviewer: timedelta | None, now: datetime) -> str | None:
    """When a grant made now ends: after the seconds of its rule, or what the reviewer says, whichever comes first."""
    said = [timedelta(seconds=rule)] if rule is not None else []
    said += [reviewer] if reviewer is not None else []
    return instant(now + min(said)) if said else None


def announced(record: Remediation, ending: Ending | None) -> Remediation:
    """The record of a grant that is about to be taken away (None: that is called off); no transition yet."""
    return msgspec.structs.replace(record, ending=ending, version=record.version + 1)


def _step(
    before: State | None,
    record: Remediation,
    state: State,
    actor: str,
    now: datetime,
    reasons: tuple[Reason, ...],
    note: str,
    decision: Decision | None,
) -> tuple[Remediation, TrailRecord]:
    moment = instant(now)
    last = record.deploys[-1] if record.deploys else Deploy()
    trail = TrailRecord(
        remediation=record.id,
        seq=record.trail + 1,
        at=moment,
        actor=actor,
        before=before,
        after=state,
        repository=record.repository,
        member=record.member,
        reasons=reasons,
        note=note,
        previous=record.trail_hash,
        outcome=decision.outcome if decision else msgspec.UNSET,
        rule=decision.rule if decision and decision.rule else msgspec.UNSET,
        policy=decision.policy if decision and decision.policy else msgspec.UNSET,
        project=last.project or last.number or msgspec.UNSET,
        content=content_digest(record) if state is State.APPROVED else msgspec.UNSET,
    )
    following = msgspec.structs.replace(record, state=state, updated=moment, trail=trail.seq)
    trail = msgspec.structs.replace(trail, terms=terms_digest(following))
    trail = msgspec.structs.replace(trail, hash=digest(trail))
    following = msgspec.structs.replace(following, trail_hash=trail.hash)
    return following, trail


def when(denial: Denial, now: datetime) -> datetime:
    """When it was denied: by the entry's timestamp, but never later than now (entries arrive late, clocks differ)."""
    try:
        moment = datetime.fromisoformat(denial.entry.timestamp or "")
    except ValueError:
        return now
    return min(moment, now) if moment.tzinfo else now


def _with(seen: tuple[_T, ...], one: _T | None) -> tuple[_T, ...]:
    """What was seen, the newest last, and no more than is kept."""
    return seen if one is None else (*(each for each in seen if each != one), one)[-_SEEN:]
