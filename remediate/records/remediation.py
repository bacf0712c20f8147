"""Turns denials and decisions into the record of one remediation: its states, its transitions, its trail.

One record per (repository, member), however often it is denied. Everything here is pure: a transition takes a record
and gives the next one together with the trail record that says who did what, why and when.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from remediate.decisions.policy import Decision, Outcome
from remediate.entries.denial import Denial, Deploy, EntryId, Reader
from remediate.errors import LedgerFault, Refused
from remediate.iam.grant import ROLE, Grant
from remediate.iam.member import Member, parse_member
from remediate.reasons import Reason
from remediate.records.approval_count import Approval
from remediate.records.digests import content_digest as content_digest
from remediate.records.digests import material_reasons as material_reasons
from remediate.records.digests import terms_asked
from remediate.records.digests import terms_digest as terms_digest
from remediate.records.hash_chain import digest
from remediate.records.states import TRANSITIONS as TRANSITIONS
from remediate.records.states import Ending as Ending
from remediate.records.states import State as State
from remediate.records.witnesses import DeployerNames, NamedBy, Proof, named, with_entry
from remediate.times import instant

_T = TypeVar("_T")
RULE = "rule:"
"""What the name of an actor begins with that is a rule, not a person."""

_SEEN = 20  # deploys, images and partners kept with a record; the count of denials goes on


_STORED = {"added_by_us": "ours", "max_duration": "lasts", "rule_comment": "because"}
"""Fields that records and JSON call otherwise than the code does."""


class Remediation(msgspec.Struct, frozen=True, rename=_STORED):
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
    """Who deployed: none of them may approve, save where the log has none of the entries that named them."""
    named_by: tuple[NamedBy, ...] = ()
    """The entries that named them; who has none here was named before these were kept, and may not approve."""
    crowded: bool = False
    """Whether more were named than can be kept and the log could not be asked: then nobody may approve."""
    entries: tuple[EntryId, ...] = ()
    """The denials' own entries, the first of this cycle and the newest: what an approval reads back."""
    proven: EntryId | None = None
    """The newest of them that the log confirmed when it was counted; most are only read back at an approval."""
    partners: tuple[str, ...] = ()
    """The other reader of the same deploy: deployer and service agent are best approved together."""
    expires: str | None = None
    """When the grant ends; None where it does not."""
    approver: str | None = None
    """Whose word a grant stands on: a person's, or `rule:NAME`."""
    approvals_needed: int = 1
    """How many different people have to approve it, by its rule."""
    approvals: tuple[Approval, ...] = ()
    """Who approved what takes more than one approval, or with a declaration; empty for a plain approval."""
    added_by_us: bool = False
    """Whether the member is in the binding because we put it there, so that we may take it away."""
    max_duration: float | None = None
    """Seconds that a grant lasts by its rule; None where it says nothing."""
    reviewers: tuple[str, ...] = ()
    """Who may approve it by its rule, by key or domain; empty where it says nothing."""
    rule_comment: str = ""
    """Its rule's own sentence."""
    shown: tuple[str, ...] = ()
    """The terms (`terms_asked`) on which it was proposed in this cycle: the rule may differ from deploy to deploy."""
    doubts: tuple[Reason, ...] = ()
    authorized: bool | None = None
    """What was doubtful about the last denial, and whether its caller was `authorized`."""
    image_confirmed: bool = False
    """Whether the last denial's text and deploy name the same image, or the same repository."""
    ending: Ending | None = None
    """Set while a grant is being taken away."""
    taken_away: str | None = None
    """When somebody last took the grant away; rules do not give it back for a while."""
    ended: str | None = None
    """When a grant that a person approved for a time last expired: deploys of that time prove no standing access."""
    cycle: int = 1
    """How often it was raised, from a proposal to its end."""
    gathered: str = ""
    """The group of a flood (`gathering.Group.name`) that stands for it in notices and the inbox; empty: by itself."""
    version: int = 1
    trail: int = 0
    """How many trail records there are, and so the next one's number."""
    trail_hash: str = ""
    troubleshooter: str | None = None  # the last link that Google gave with a denial; nothing decides by it

    @property
    def grant(self) -> Grant:
        """What it is about, typed. Raises LedgerFault where the record names none."""
        found = Grant.parse(self.repository, self.member)
        if found is None:
            raise LedgerFault(f"the record of {self.id} names no repository, or no member")
        return found


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
    approval: str | msgspec.UnsetType = msgspec.UNSET
    """Which approval this is, of how many it takes: `1 of 2`; only where it takes more than one."""
    not_mine: bool | msgspec.UnsetType = msgspec.UNSET
    """True where the approver declared that the deploy was not theirs."""
    terms: str | msgspec.UnsetType = msgspec.UNSET
    """`terms_digest` of the record as this transition left it; not there in trails of before."""


def open_remediation(
    denial: Denial,
    decision: Decision,
    state: State,
    *,
    actor: str,
    now: datetime,
    note: str = "",
    proof: Proof = Proof.LATER,
) -> tuple[Remediation, TrailRecord]:
    """The record that a first denial opens, `proposed`, `refused` or `failed`."""
    moment, grant = instant(when(denial, now)), denial.grant
    blank = Remediation(
        id=grant.id,
        state=state,
        repository=str(grant.repository),
        member=str(grant.member),
        readers=(),
        rule=decision.rule,
        reasons=decision.reasons,
        first_seen=moment,
        last_seen=moment,
        updated=moment,
        max_duration=decision.expires_after,
        reviewers=decision.reviewers,
        rule_comment=decision.rule_comment,
        approvals_needed=decision.approvals,
        shown=(terms_of(decision),),
        version=0,
    )
    return _step(None, with_denial(blank, denial, now, proof), state, actor, now, decision.reasons, note, decision)


def open_predicted(
    ahead: Denial, decision: Decision, *, actor: str, now: datetime, proof: Proof = Proof.LATER
) -> tuple[Remediation, TrailRecord]:
    """The proposal for a denial that is foreseen."""
    record, trail = open_remediation(ahead, decision, State.PROPOSED, actor=actor, now=now, proof=proof)
    return msgspec.structs.replace(record, denials=0, predicted=True), trail


def with_denial(record: Remediation, denial: Denial, now: datetime, proof: Proof = Proof.LATER) -> Remediation:
    """The record with one denial more; no transition, so no trail record. `proof` is what is known of its entry."""
    people = named(names_of(record), denial, proof)
    entries, proven = with_entry(record.entries, record.proven, denial.entry, proof)
    moment = instant(when(denial, now))
    return msgspec.structs.replace(
        record,
        denials=record.denials + 1,
        predicted=False,
        first_seen=min(record.first_seen, moment),
        last_seen=max(record.last_seen, moment),
        readers=tuple(sorted({*record.readers, *filter(None, [denial.reader])})),
        deploys=_with(record.deploys, denial.deploy),
        images=_with(record.images, denial.image),
        deployers=people.deployers,
        named_by=people.named_by,
        crowded=people.crowded,
        entries=entries,
        proven=proven,
        doubts=denial.doubts,
        troubleshooter=denial.troubleshooter or record.troubleshooter,
        authorized=denial.authorized,
        image_confirmed=denial.image_confirmed,
        version=record.version + 1,
    )


def last_denial(record: Remediation) -> Denial:
    """The last denial, as far as the record tells of it: what it takes to decide about it again."""
    people = [each for each in map(parse_member, record.deployers) if isinstance(each, Member)]
    return Denial(
        entry=record.entries[-1] if record.entries else EntryId(timestamp=record.last_seen),
        deploy=record.deploys[-1] if record.deploys else Deploy(),
        reader=record.readers[-1] if record.readers else None,
        member=record.grant.member,
        repository=record.grant.repository,
        image=record.images[-1] if record.images else None,
        deployer=people[-1] if people else None,
        behind=tuple(people),
        doubts=record.doubts,
        authorized=record.authorized,
        image_confirmed=record.image_confirmed,
    )


def with_partner(record: Remediation, partner: str) -> Remediation:
    """The record with its partner noted; the same where it is already."""
    known = record.partners
    return msgspec.structs.replace(record, partners=known if partner in known else _with(known, partner))


def with_foreseen(record: Remediation, denial: Denial, partner: str, proof: Proof = Proof.LATER) -> Remediation:
    """The service agent's record with one more deploy that waits for it; its deployer may not approve it either."""
    people = named(names_of(record), denial, proof)
    added = tuple(each for each in people.deployers if each not in record.deployers)
    changed = {"deployers": (*record.deployers, *added), "named_by": people.named_by, "crowded": people.crowded}
    seen = with_partner(msgspec.structs.replace(record, **changed), partner)
    return record if seen == record else msgspec.structs.replace(seen, version=record.version + 1)


def names_of(record: Remediation) -> DeployerNames:
    """Every deployer there was, and who stood behind them: whoever fell off a list could approve their own deploy."""
    return DeployerNames(record.deployers, record.named_by, record.crowded)


def based_on(record: Remediation, denial: Denial) -> Remediation:
    """The record with a denial that it tells of already as the one that counts last."""
    deploys, images = _with(record.deploys, denial.deploy), _with(record.images, denial.image)
    return msgspec.structs.replace(
        record,
        deploys=deploys,
        images=images,
        doubts=denial.doubts,
        authorized=denial.authorized,
        image_confirmed=denial.image_confirmed,
    )


def transition(
    record: Remediation,
    state: State,
    *,
    actor: str,
    now: datetime,
    reasons: tuple[Reason, ...] | None = None,
    note: str = "",
    decision: Decision | None = None,
    added_by_us: bool = False,
    expires: str | None = None,
    approvals: tuple[Approval, ...] = (),
) -> tuple[Remediation, TrailRecord]:
    """The record in its next state; `decision` is what took it there, None for a person or time.

    `reasons` outrank the decision's; `added_by_us` and `expires` are said with an approval. `approvals` are all that
    count, the actor's own last; in state `proposed` another one is missing. Raises Refused where no such transition
    exists.
    """
    if state not in TRANSITIONS[record.state]:
        raise Refused(f"{record.id} is {record.state}: it cannot become {state}")
    why = reasons or (decision.reasons if decision else record.reasons)
    following = msgspec.structs.replace(record, version=record.version + 1, reasons=why, ending=None)
    if decision is not None:
        said = {
            "max_duration": decision.expires_after,
            "reviewers": decision.reviewers,
            "rule_comment": decision.rule_comment,
        }
        following = msgspec.structs.replace(following, rule=decision.rule, approvals_needed=decision.approvals, **said)
    if state is State.PROPOSED and record.state is not State.PROPOSED:
        following = msgspec.structs.replace(
            following, cycle=record.cycle + 1, expires=None, added_by_us=False, approver=None, shown=()
        )
    if state is State.PROPOSED and decision is not None:
        following = msgspec.structs.replace(following, shown=_with(following.shown, terms_of(decision)))
    if state is State.PROPOSED and record.state in _OVER:
        following = msgspec.structs.replace(following, entries=record.entries[-1:], crowded=False)
    if state not in _KEEP_APPROVALS or approvals or state is State.APPROVED:
        following = msgspec.structs.replace(following, approvals=_of_content(following, approvals))
    if state is State.APPROVED:
        following = msgspec.structs.replace(
            following, approver=actor, added_by_us=added_by_us, expires=expires, gathered=""
        )
    if state is State.EXPIRED and not (record.approver or "").startswith(RULE):
        following = msgspec.structs.replace(following, ended=instant(now))
    if state in (State.REVOKED, State.REMOVED):
        following = msgspec.structs.replace(following, taken_away=instant(now))
    return _step(record.state, following, state, actor, now, why, note, decision)


def terms_of(decision: Decision) -> str:
    """`terms_asked` of a decision."""
    return terms_asked(
        decision.rule, decision.expires_after, decision.reviewers, decision.rule_comment, decision.approvals
    )


_OVER = (State.REJECTED, State.REFUSED, State.REMOVED, State.REVOKED, State.EXPIRED, State.LAPSED)
_KEEP_APPROVALS = (State.GRANTED, State.REMOVED, State.REVOKED, State.EXPIRED)


def _of_content(record: Remediation, approvals: tuple[Approval, ...]) -> tuple[Approval, ...]:
    """The approvals, the last one of the content that the record has now: a failed one begins a new cycle."""
    if not approvals:
        return ()
    return (*approvals[:-1], msgspec.structs.replace(approvals[-1], content=content_digest(record)))


def ends(rule: float | None, reviewer: timedelta | None, now: datetime) -> str | None:
    """When a grant made now ends: after the seconds of its rule, or what the reviewer says, whichever comes first."""
    said = [timedelta(seconds=rule)] if rule is not None else []
    said += [reviewer] if reviewer is not None else []
    return instant(now + min(said)) if said else None


def with_pending_removal(record: Remediation, ending: Ending | None) -> Remediation:
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
    given = record.approvals if state in (State.PROPOSED, State.APPROVED) else ()
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
        content=content_digest(record) if state is State.APPROVED or given else msgspec.UNSET,
        approval=f"{len(given)} of {given[-1].of}" if given and given[-1].of > 1 else msgspec.UNSET,
        not_mine=True if given and given[-1].not_mine else msgspec.UNSET,
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
        return min(moment.astimezone(UTC), now) if moment.tzinfo else now
    except (ValueError, OverflowError):  # no time; or one in the first hours of the calendar, before them in UTC
        return now


def _with(seen: tuple[_T, ...], one: _T | None) -> tuple[_T, ...]:
    """What was seen, the newest last, and no more than is kept."""
    return seen if one is None else (*(each for each in seen if each != one), one)[-_SEEN:]
