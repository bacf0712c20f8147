"""Turns a record into the digests that approvals and trails contain: what was approved, and on which terms."""

from __future__ import annotations

import hashlib

import msgspec

from remediate.reasons import HELD, Reason
from remediate.records.remediation import Remediation, Terms

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
    terms = record.terms
    content: tuple[object, ...] = (
        (record.repository, record.role, record.member, record.lifecycle.cycle),
        (terms.rule, material_reasons(record.reasons), terms.max_duration, terms.reviewers, terms.rule_comment),
        sorted({each.project or each.number or "" for each in record.tally.deploys}),
        sorted(record.names.deployers),
        sorted(record.tally.partners),
    )
    if terms.approvals_needed > 1:
        content = (*content, terms.approvals_needed)
    return _short_digest(content)


def terms_digest(record: Remediation) -> str:
    """The digest of a grant's terms, as twelve hexadecimal digits. A mismatch with the trail shows a later change."""
    terms, life = record.terms, record.lifecycle
    content: tuple[object, ...] = (
        *(record.role, life.added_by_us, life.expires, life.approver, life.cycle),
        *(terms.rule, terms.max_duration, terms.reviewers, terms.rule_comment),
    )
    if terms.approvals_needed > 1 or life.approvals:
        content = (*content, terms.approvals_needed, life.approvals)
    return _short_digest(content)


def rule_terms_digest(terms: Terms) -> str:
    """The digest of the terms of a rule, as twelve hexadecimal digits. It does not cover the reasons."""
    return _short_digest((terms.rule, terms.max_duration, terms.reviewers, terms.rule_comment, terms.approvals_needed))


def _short_digest(content: tuple[object, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:12]


def material_reasons(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """The reasons that come from the denial and the evidence, without those from the mode or from earlier actions."""
    return tuple(sorted({reason for reason in reasons if reason not in _NOT_CONTENT}))
