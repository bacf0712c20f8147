"""Policy Troubleshooter: whether a deny policy or an access boundary denies a member access in spite of a grant.

Advisory, and off by default, because it needs additional roles. Source: `iam.troubleshoot` (Policy Troubleshooter API
v3beta), the version that reports principal access boundaries.
"""

from __future__ import annotations

import msgspec

from remediate.cloud.rest import post
from remediate.decoding import decode_json
from remediate.iam.access import DOWNLOAD
from remediate.iam.member import Member, MemberKind
from remediate.iam.repository import Repository

_GOOGLE = "https://policytroubleshooter.googleapis.com"


class _Deny(msgspec.Struct, rename="camel"):
    deny_access_state: str = ""


class _Boundary(msgspec.Struct, rename="camel"):
    principal_access_boundary_access_state: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    deny_policy_explanation: _Deny = msgspec.field(default_factory=_Deny)
    pab_policy_explanation: _Boundary = msgspec.field(default_factory=_Boundary)


class GoogleTroubleshooter:
    """A `Troubleshooter`. `endpoint` overrides Google's address; `timeout` is in seconds per call."""

    def __init__(self, endpoint: str | None, timeout: float) -> None:
        self._address = endpoint or _GOOGLE
        self._timeout = timeout

    def denied_by_policy(self, repository: Repository, member: Member) -> bool | None:
        """Whether a deny policy or an access boundary denies the member access; None if unknown.

        Raises TransientFault or TerminalFault.
        """
        if member.kind is MemberKind.PRINCIPAL:
            return None  # it supports only users and service accounts
        name = f"//artifactregistry.googleapis.com/{repository}"
        asked = {"principal": member.id.partition(":")[2], "fullResourceName": name, "permission": DOWNLOAD}
        url = f"{self._address}/v3beta/iam:troubleshoot"
        answer = decode_json(post(url, {"accessTuple": asked}, self._timeout, "troubleshoot"), _Answer)
        deny = answer.deny_policy_explanation.deny_access_state
        boundary = answer.pab_policy_explanation.principal_access_boundary_access_state
        if deny == "DENY_ACCESS_STATE_DENIED" or boundary == "PAB_ACCESS_STATE_NOT_ALLOWED":
            return True
        known = deny == "DENY_ACCESS_STATE_NOT_DENIED" and boundary in ("", *_OPEN)
        return False if known else None


_OPEN = ("PAB_ACCESS_STATE_ALLOWED", "PAB_ACCESS_STATE_NOT_ENFORCED")
