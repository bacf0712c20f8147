"""Recognizes registry errors that a reader grant cannot fix, such as a disabled API."""

from __future__ import annotations

import re

from remediate.reasons import Reason

# The order matters: an organization policy error may also name an API, and an API error a project's billing.
_CAUSES = (
    (
        Reason.REGISTRY_POLICY,
        r"\borg(?:anization)?(?:'s)? polic(?:y|ies)\b|violates? constraint|\bconstraints/|\bcustomConstraints/"
        r"|CUSTOM_ORG_POLICY_VIOLATION|ORG_RESTRICTION_VIOLATION",
    ),
    (
        Reason.REGISTRY_SHUT_DOWN,
        r"Container Registry (?:API )?(?:is|was|has been|will be)[\w ,]{0,20}"
        r"(?:deprecated|shut(?:ting)? ?down|turned down|discontinued|no longer|unavailable)",
    ),
    (
        Reason.REGISTRY_API_DISABLED,
        r"\bAPI has not been used in project|\bAPI (?:is|has been|was)(?: not| not been)? (?:enabled|disabled)"
        r"|\bAPI .{0,80}\b(?:not enabled|is disabled)|SERVICE_DISABLED|accessNotConfigured",
    ),
    (
        Reason.REGISTRY_BILLING,
        r"BILLING_DISABLED|\bbilling (?:account|to be enabled|must be enabled|is disabled|is not|has not|has been|for)"
        r"|(?:requires|enable) billing|\bbilling\b.{0,40}\b(?:disabled|closed|delinquent)|CONSUMER_SUSPENDED",
    ),
    (
        Reason.REGISTRY_BUSY,
        r"Quota exceeded|\bTOOMANYREQUESTS\b|RESOURCE_EXHAUSTED|RATE_LIMIT_EXCEEDED|Too Many Requests|rate limit"
        r"|Cause:\W{0,4}(?:429|5[0-9][0-9])\b|\b(?:429|50[0-9]) [A-Z][a-z]+|Internal Server Error|Service Unavailable"
        r"|Bad Gateway|Gateway Time-?out|\bcode\W{1,8}(?:UNAVAILABLE|INTERNAL|UNKNOWN)\b|temporarily unavailable",
    ),
    (
        Reason.REGISTRY_UNAUTHENTICATED,
        r"Unauthenticated requests? (?:do|does) not have"
        r"|\bUnauthenticated request\b|Cause:\W{0,4}401\b|\bUNAUTHORIZED\b",
    ),
    (Reason.IMAGE_NOT_FOUND, r"Cause:\W{0,4}404\b|\b(?:MANIFEST|NAME)_UNKNOWN\b"),
)
_PATTERNS = [(reason, re.compile(pattern, re.I)) for reason, pattern in _CAUSES]
_LONGEST = 20_000  # characters searched
_REGISTRY = re.compile(r"artifactregistry|Artifact Registry|Container ?Registry|\.pkg\.dev\b|\bgcr\.io\b", re.I)


def registry_cause(text: str) -> Reason | None:
    """The known cause in a registry's answer, which is on one line; None if there is none. Searches its beginning."""
    return next((reason for reason, pattern in _PATTERNS if pattern.search(text, 0, _LONGEST)), None)


def names_registry(text: str) -> bool:
    """Whether the text mentions a registry, so that a cause in it is the registry's."""
    return _REGISTRY.search(text) is not None
