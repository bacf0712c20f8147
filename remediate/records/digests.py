"""Turns a record into the digests that approvals and trails contain: what was approved, and on which terms."""

from __future__ import annotations

import hashlib

import msgspec

from remediate.reasons import HELD, Reason
from remediate.records.remediation import Remediation

_NOT_CONTENT = (
    Reason.DRY_RUN,
    Reason.PREDICTED,
    Reason.TERMINAL_ANSWER,
    Reason.EVENT_UNVERIFIED,
    *HELD,
    Reason.TAKEN_AWAY,
    Reason.DEPLOYER_UNKNOWN,  # another denial of the same record may name a deployer
)


def content_digest(record: Remediation) -> str:
    """The digest of what an approval approves, as twelve hexadecimal digits.

    It covers the grant, its reasons, its rule, its projects, deployers and partners. It does not cover the number of
    denials, or the rest of the repository's policy. It covers the number of approvals only if that is more than one,
    so that digests of earlier versions stay the same.
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
    """The digest of a grant's terms, as twelve hexadecimal digits. A mismatch with the trail shows a later change."""
    terms = (record.role, record.added_by_us, record.expires, record.approver, record.cycle)
    limits = (record.rule, record.max_duration, record.reviewers, record.rule_comment)
    counted: tuple[object, ...] = ()
    if record.approvals_needed > 1 or record.approvals:
        counted = (record.approvals_needed, record.approvals)
    return hashlib.sha256(msgspec.json.encode((*terms, *limits, *counted))).hexdigest()[:12]


def terms_asked(
    rule: str | None, max_duration: float | None, reviewers: tuple[str, ...], rule_comment: str, approvals: int
) -> str:
    """The digest of the rule's terms in a decision, as twelve hexadecimal digits. It does not cover the reasons."""
    return hashlib.sha256(msgspec.json.encode((rule, max_duration, reviewers, rule_comment, approvals))).hexdigest()[
        :12
    ]


def material_reasons(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """The reasons that come from the denial and the evidence, without those from the mode or from earlier actions."""
    return tuple(sorted({reason for reason in reasons if reason not in _NOT_CONTENT}))
