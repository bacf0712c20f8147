"""Turns denials and decisions into the next version of a remediation, and the trail record of the change. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from remediate.decisions.policy import Decision
from remediate.entries.denial import Denial, Deploy, EntryId
from remediate.errors import Refused
from remediate.iam.member import Member, parse_member
from remediate.reasons import Reason
from remediate.records.approval_count import Approval
from remediate.records.digests import content_digest, terms_asked, terms_digest
from remediate.records.hash_chain import digest
from remediate.records.remediation import RULE, Remediation, TrailRecord
from remediate.records.states import TRANSITIONS, Ending, State
from remediate.records.witnesses import DeployerNames, Proof, named, with_entry
from remediate.times import instant

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
    )
    return _step(None, with_denial(blank, denial, now, proof), state, actor, now, decision.reasons, note, decision)


def open_predicted(
    ahead: Denial, decision: Decision, *, actor: str, now: datetime, proof: Proof = Proof.LATER
) -> tuple[Remediation, TrailRecord]:
    """The proposal for a predicted denial."""
    record, trail = open_remediation(ahead, decision, State.PROPOSED, actor=actor, now=now, proof=proof)
    return msgspec.structs.replace(record, denials=0, predicted=True), trail


def with_denial(record: Remediation, denial: Denial, now: datetime, proof: Proof = Proof.LATER) -> Remediation:
    """The record with one more denial; no transition, so no trail record. `proof`: what the log says of its entry."""
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
    )


def last_denial(record: Remediation) -> Denial:
    """The last denial, rebuilt from the record, to decide about it again."""
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
    """The record with this partner; unchanged if it has it already."""
    known = record.partners
    return msgspec.structs.replace(record, partners=known if partner in known else _with(known, partner))


def with_foreseen(record: Remediation, denial: Denial, partner: str, proof: Proof = Proof.LATER) -> Remediation:
    """The record with one more deploy that waits for it. Its deployer may not approve it either."""
    people = named(names_of(record), denial, proof)
    added = tuple(each for each in people.deployers if each not in record.deployers)
    changed = {"deployers": (*record.deployers, *added), "named_by": people.named_by, "crowded": people.crowded}
    return with_partner(msgspec.structs.replace(record, **changed), partner)


def names_of(record: Remediation) -> DeployerNames:
    """All deployers and the identities behind them: a deployer missing here could approve their own deploy."""
    return DeployerNames(record.deployers, record.named_by, record.crowded)


def based_on(record: Remediation, denial: Denial) -> Remediation:
    """The record with a denial that it has already as its last one."""
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
    """The record in its next state, and the trail record. `decision` caused it; None if a person or a deadline did.

    `reasons` replace the decision's. An approval sets `added_by_us` and `expires`. `approvals` are all valid ones, the
    actor's own last; in state `proposed` another one is missing. Raises Refused if no such transition exists.
    """
    if state not in TRANSITIONS[record.state]:
        raise Refused(f"{record.id} is {record.state}; it cannot become {state}")
    why = reasons or (decision.reasons if decision else record.reasons)
    following = msgspec.structs.replace(record, reasons=why, ending=None)
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
    """The approvals, the last one with the current content digest: approval of a failed record begins a new cycle."""
    if not approvals:
        return ()
    return (*approvals[:-1], msgspec.structs.replace(approvals[-1], content=content_digest(record)))


def expiry(rule: float | None, reviewer: timedelta | None, now: datetime) -> str | None:
    """When a grant made now expires: after the rule's seconds or the reviewer's duration, the earlier of both."""
    said = [timedelta(seconds=rule)] if rule is not None else []
    said += [reviewer] if reviewer is not None else []
    return instant(now + min(said)) if said else None


def with_pending_removal(record: Remediation, ending: Ending | None) -> Remediation:
    """The record of a grant with a pending removal (None: the removal is cancelled); no transition yet."""
    return msgspec.structs.replace(record, ending=ending)


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
    """The time of the denial: the timestamp of the entry, but never later than now (clocks differ)."""
    try:
        moment = datetime.fromisoformat(denial.entry.timestamp or "")
        return min(moment.astimezone(UTC), now) if moment.tzinfo else now
    except (ValueError, OverflowError):  # not a time, or out of range in UTC
        return now


def _with(seen: tuple[_T, ...], one: _T | None) -> tuple[_T, ...]:
    """The values with one more, the newest last, limited to `_SEEN`."""
    return seen if one is None else (*(each for each in seen if each != one), one)[-_SEEN:]
