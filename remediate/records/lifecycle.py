"""Turns denials and decisions into the next version of a remediation, and the trail record of the change. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from remediate.decisions.policy import Decision
from remediate.entries.denial import Denial, Deploy, EntryId
from remediate.errors import Refused
from remediate.iam.member import Member, parse_member
from remediate.reasons import Reason
from remediate.records.approval_count import Approval
from remediate.records.digests import content_digest, rule_terms_digest, terms_digest
from remediate.records.hash_chain import digest
from remediate.records.remediation import Lifecycle, Remediation, Tally, Terms, TrailRecord
from remediate.records.states import TRANSITIONS, Ending, State
from remediate.records.witnesses import Proof, named, with_entry
from remediate.times import to_rfc3339

_T = TypeVar("_T")
_SEEN = 20  # deploys, images and partners that a record keeps; the count of denials has no limit


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
    """The record that a first denial opens, `proposed`, `refused` or `failed`, and its first trail record."""
    at, grant = to_rfc3339(when(denial, now)), denial.grant
    blank = Remediation(
        id=grant.id,
        repository=str(grant.repository),
        member=str(grant.member),
        state=state,
        reasons=decision.reasons,
        tally=Tally(first_seen=at, last_seen=at, readers=()),
        terms=terms_of(decision),
        lifecycle=Lifecycle(updated=at, shown=(rule_terms_digest(terms_of(decision)),)),
    )
    return _step(None, with_denial(blank, denial, now, proof), state, actor, now, decision.reasons, note, decision)


def open_predicted(
    ahead: Denial, decision: Decision, *, actor: str, now: datetime, proof: Proof = Proof.LATER
) -> tuple[Remediation, TrailRecord]:
    """The proposal for a predicted denial."""
    record, trail = open_remediation(ahead, decision, State.PROPOSED, actor=actor, now=now, proof=proof)
    return replace(record, tally=replace(record.tally, denials=0, predicted=True)), trail


def with_denial(record: Remediation, denial: Denial, now: datetime, proof: Proof = Proof.LATER) -> Remediation:
    """The record with one more denial; no transition, so no trail record. `proof`: what the log says of its entry."""
    tally, at = record.tally, to_rfc3339(when(denial, now))
    entries, proven = with_entry(tally.entries, tally.proven, denial.entry, proof)
    tally = replace(
        tally if proof is Proof.DISPROVEN else _with_last(tally, denial),
        denials=tally.denials + 1,
        predicted=False,
        first_seen=min(tally.first_seen, at),
        last_seen=max(tally.last_seen, at),
        readers=tuple(sorted({*tally.readers, *filter(None, [denial.reader])})),
        entries=entries,
        proven=proven,
        troubleshooter=denial.troubleshooter or tally.troubleshooter,
    )
    return replace(record, tally=tally, names=named(record.names, denial, proof))


def displaces(tally: Tally, denial: Denial) -> bool:
    """Whether an image or a deploy of the denial would displace one that the tally keeps."""
    new_image = denial.image is not None and denial.image not in tally.images
    new_deploy = denial.deploy not in tally.deploys
    return (new_image and len(tally.images) >= _SEEN) or (new_deploy and len(tally.deploys) >= _SEEN)


def last_denial(record: Remediation) -> Denial:
    """The last denial, rebuilt from the record, to decide about it again."""
    tally, grant = record.tally, record.grant
    people = [each for each in map(parse_member, record.names.deployers) if isinstance(each, Member)]
    return Denial(
        entry=tally.entries[-1] if tally.entries else EntryId(timestamp=tally.last_seen),
        deploy=tally.deploys[-1] if tally.deploys else Deploy(),
        reader=tally.readers[-1] if tally.readers else None,
        member=grant.member,
        repository=grant.repository,
        image=tally.images[-1] if tally.images else None,
        deployer=people[-1] if people else None,
        behind=tuple(people),
        doubts=tally.doubts,
        authorized=tally.authorized,
        image_confirmed=tally.image_confirmed,
    )


def with_partner(record: Remediation, partner: str) -> Remediation:
    """The record with this partner; unchanged if it has it already."""
    if partner in record.tally.partners:
        return record
    return replace(record, tally=replace(record.tally, partners=_with(record.tally.partners, partner)))


def with_foreseen(record: Remediation, denial: Denial, partner: str, proof: Proof = Proof.LATER) -> Remediation:
    """The record with one more deploy that waits for it. Its deployer may not approve it either."""
    known, names = record.names.deployers, named(record.names, denial, proof)
    added = tuple(each for each in names.deployers if each not in known)
    return with_partner(replace(record, names=replace(names, deployers=(*known, *added))), partner)


def based_on(record: Remediation, denial: Denial) -> Remediation:
    """The record with a denial that it has already as its last one."""
    return replace(record, tally=_with_last(record.tally, denial))


def _with_last(tally: Tally, denial: Denial) -> Tally:
    """The tally with this denial as the last one; it is not counted again."""
    return replace(
        tally,
        deploys=_with(tally.deploys, denial.deploy),
        images=_with(tally.images, denial.image),
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
    """The record in its next state, and the trail record. `decision` caused it; None if a person or a deadline did.

    `reasons` replace the decision's. An approval sets `added_by_us` and `expires`. `approvals` are all valid ones, the
    actor's own last; in state `proposed` another one is missing. Raises Refused if no such transition exists.
    """
    if state not in TRANSITIONS[record.state]:
        raise Refused(f"{record.id} is {record.state}; it cannot become {state}")
    why = reasons or (decision.reasons if decision else record.reasons)
    life, tally, names = replace(record.lifecycle, ending=None), record.tally, record.names
    terms = terms_of(decision) if decision else record.terms
    if state is State.PROPOSED and record.state is not State.PROPOSED:
        life = replace(life, cycle=life.cycle + 1, expires=None, added_by_us=False, approver=None, shown=())
    if state is State.PROPOSED and decision is not None:
        life = replace(life, shown=_with(life.shown, rule_terms_digest(terms)))
    if state is State.PROPOSED and record.state in _OVER:
        tally, names = replace(tally, entries=tally.entries[-1:]), replace(names, crowded=False)
    if state is State.APPROVED:
        life = replace(life, approver=actor, added_by_us=added_by_us, expires=expires)
        tally = replace(tally, gathered="")
    if state is State.EXPIRED and not life.is_by_rule:
        life = replace(life, ended=to_rfc3339(now))
    if state in (State.REVOKED, State.REMOVED):
        life = replace(life, taken_away=to_rfc3339(now))
    following = replace(record, reasons=why, terms=terms, tally=tally, names=names, lifecycle=life)
    if state not in _KEEP_APPROVALS or approvals or state is State.APPROVED:
        following = replace(following, lifecycle=replace(life, approvals=_of_content(following, approvals)))
    return _step(record.state, following, state, actor, now, why, note, decision)


def terms_of(decision: Decision) -> Terms:
    """The terms of a decision, as records store them."""
    return Terms(decision.rule, decision.expires_after, decision.reviewers, decision.rule_comment, decision.approvals)


_OVER = (State.REJECTED, State.REFUSED, State.REMOVED, State.REVOKED, State.EXPIRED, State.LAPSED)
_KEEP_APPROVALS = (State.GRANTED, State.REMOVED, State.REVOKED, State.EXPIRED)


def _of_content(record: Remediation, approvals: tuple[Approval, ...]) -> tuple[Approval, ...]:
    """The approvals, the last one with the current content digest: approval of a failed record begins a new cycle."""
    if not approvals:
        return ()
    return (*approvals[:-1], replace(approvals[-1], content=content_digest(record)))


def expiry(rule: float | None, reviewer: timedelta | None, now: datetime) -> str | None:
    """When a grant made now expires: after the rule's seconds or the reviewer's duration, the earlier of both."""
    spans = [timedelta(seconds=rule)] if rule is not None else []
    spans += [reviewer] if reviewer is not None else []
    return to_rfc3339(now + min(spans)) if spans else None


def with_pending_removal(record: Remediation, ending: Ending | None) -> Remediation:
    """The record of a grant with a pending removal (None: the removal is cancelled); no transition yet."""
    return replace(record, lifecycle=replace(record.lifecycle, ending=ending))


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
    at = to_rfc3339(now)
    last = record.tally.deploys[-1] if record.tally.deploys else Deploy()
    given = record.lifecycle.approvals if state in (State.PROPOSED, State.APPROVED) else ()
    trail = TrailRecord(
        remediation=record.id,
        seq=record.storage.trail + 1,
        at=at,
        actor=actor,
        before=before,
        after=state,
        repository=record.repository,
        member=record.member,
        reasons=reasons,
        note=note,
        previous=record.storage.trail_hash,
        outcome=decision.outcome if decision else msgspec.UNSET,
        rule=decision.rule if decision and decision.rule else msgspec.UNSET,
        policy=decision.policy if decision and decision.policy else msgspec.UNSET,
        project=last.project or last.number or msgspec.UNSET,
        content=content_digest(record) if state is State.APPROVED or given else msgspec.UNSET,
        approval=f"{len(given)} of {given[-1].of}" if given and given[-1].of > 1 else msgspec.UNSET,
        not_mine=True if given and given[-1].not_mine else msgspec.UNSET,
    )
    following = replace(record, state=state, lifecycle=replace(record.lifecycle, updated=at))
    trail = replace(trail, terms=terms_digest(following))
    trail = replace(trail, hash=digest(trail))
    storage = replace(record.storage, trail=trail.seq, trail_hash=trail.hash)
    return replace(following, storage=storage), trail


def when(denial: Denial, now: datetime) -> datetime:
    """The time of the denial: the timestamp of the entry, but never later than now (clocks differ)."""
    try:
        at = datetime.fromisoformat(denial.entry.timestamp or "")
        return min(at.astimezone(UTC), now) if at.tzinfo else now
    except (ValueError, OverflowError):  # not a time, or out of range in UTC
        return now


def _with(seen: tuple[_T, ...], one: _T | None) -> tuple[_T, ...]:
    """The values with one more, the newest last, limited to `_SEEN`."""
    return seen if one is None else (*(each for each in seen if each != one), one)[-_SEEN:]
