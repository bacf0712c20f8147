"""Turns a record into the digests that an approval and a trail name: what was approved, and on which terms."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from remediate.reasons import HELD, Reason

if TYPE_CHECKING:
    from remediate.records.remediation import Remediation

_NOT_CONTENT = (
    Reason.DRY_RUN,
    Reason.PREDICTED,
    Reason.TERMINAL_ANSWER,
    Reason.EVENT_UNVERIFIED,
    *HELD,
    Reason.TAKEN_AWAY,
    Reason.DEPLOYER_UNKNOWN,  # another denial of the same record may have named one
)


def content_digest(record: Remediation) -> str:
    """What an approval says yes to, as twelve hexadecimal digits.

    The grant, why it is asked and by which rule, whose deploys it is for and which grants belong to it; not how often
    it was denied meanwhile, nor what else the repository's policy holds. How many approvals its rule wants counts only
    where that is more than one, so that digests of earlier versions stay what they were.
    """
    content: tuple[object, ...] = (
        (record.repository, record.role, record.member, record.cycle),
        (record.rule, material_reasons(record.reasons), record.max_duration, record.reviewers, record.rule_comment),
        sorted({each.project or each.number or "" for each in record.deploys}),
        sorted(record.deployers),
        sorted(record.partners),
    )
    if record.approvals_needed > 1:
        content = (*content, record.approvals_needed)
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:12]


def terms_digest(record: Remediation) -> str:
    """What a grant stands on, as twelve hexadecimal digits, so that its trail tells whether that was changed since."""
    terms = (record.role, record.added_by_us, record.expires, record.approver, record.cycle)
    limits = (record.rule, record.max_duration, record.reviewers, record.rule_comment)
    counted: tuple[object, ...] = ()
    if record.approvals_needed > 1 or record.approvals:
        counted = (record.approvals_needed, record.approvals)
    return hashlib.sha256(msgspec.json.encode((*terms, *limits, *counted))).hexdigest()[:12]


def terms_asked(
    rule: str | None, max_duration: float | None, reviewers: tuple[str, ...], rule_comment: str, approvals: int
) -> str:
    """On which rule's terms it is asked, as twelve hexadecimal digits: what a decision says beside its reasons."""
    return hashlib.sha256(msgspec.json.encode((rule, max_duration, reviewers, rule_comment, approvals))).hexdigest()[
        :12
    ]


def material_reasons(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """The reasons that come from the denial and the evidence, not from the mode or from what was done about it."""
    return tuple(sorted({reason for reason in reasons if reason not in _NOT_CONTENT}))
