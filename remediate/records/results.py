"""What the remediator returns for an entry, an approval or a sweep; and its limits."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from remediate.decisions.policy import Decision
from remediate.entries.denial import Denial, NotADenial
from remediate.iam.allow_policy import BindingChange
from remediate.iam.member import Member
from remediate.records.remediation import Remediation
from remediate.records.states import State
from remediate.times import HOLD_REJECTIONS, LAPSE_AFTER, PROPAGATION


class Handled(msgspec.Struct, frozen=True):
    """The result of handling one log entry."""

    decision: Decision
    subject: Denial | NotADenial
    remediation: Remediation | None = None
    """The record after handling; None if the entry is ignored, or does not name a member and a repository."""
    partners: tuple[str, ...] = ()
    """The ids of the predicted denials of the same deploy: first the service agent's, then those of other images."""
    written: bool = False
    duplicate: bool = False


class Limits(msgspec.Struct, frozen=True):
    """The deadlines and rate limits: when proposals and approvals expire, how long a rejection lasts, and so on."""

    lapse_after: timedelta = LAPSE_AFTER
    hold_rejections: timedelta = HOLD_REJECTIONS
    propagation: timedelta = PROPAGATION
    """How long after a grant the same denial counts as IAM's delay."""

    grants_an_hour: int = 60
    """How many grants rules may make in one clock hour; beyond that a reviewer decides."""
    grants_to_a_member: int = 10
    proposals_an_hour: int = 30
    """How many proposals of a project people see one by one per clock hour; beyond that as a group. So for refusals."""
    one_may_declare: bool = False
    """Whether one reviewer is enough if the deployer is unknown and the reviewer declares that it was not them."""


class Swept(msgspec.Struct, frozen=True):
    """What `sweep` did with one remediation; `fault` says why it could do nothing."""

    remediation: Remediation | None
    """None if a denial found in the log could not be handled, or the record could not be read."""
    before: State | None
    """None if the sweep found the denial in the log and opened the remediation."""
    fault: str = ""
    ident: str = ""
    """The id of the remediation that `fault` is about; `mode` for the switches."""
    is_refused: bool = False
    """Whether `fault` is a final answer of Google Cloud, as for a policy that the service may not change any more."""


class Applied(msgspec.Struct, frozen=True):
    """The result of an approval."""

    remediation: Remediation
    written: bool
    """Whether the policy was written; False if the member was in the binding already."""


class Verdict(msgspec.Struct, frozen=True):
    """What Cloud Logging says about the denial of a record."""

    verified: bool | None
    """False if the log has no such entry, or a different one; None if the service may not read the log."""
    denial: Denial | None = None
    """The denial as the log has it; None if it is not verified, or there is no log."""
    people: tuple[Member, ...] = ()
    """The deployer and the identities behind it, as the log has them."""
    deployer_known: bool = True
    notes: tuple[str, ...] = ()
    """Which entries were ignored or could not be read, in words."""
    predicted: bool = False
    """Whether the log has no denial of this grant, only one of the same deploy from which it is predicted."""


class Check(msgspec.Struct, frozen=True):
    """What an approval would find now, shown to a reviewer in advance."""

    verdict: Verdict
    needed: int
    """How many different people must approve."""
    may_declare: bool = False
    """Whether one person is enough who declares that the deploy was not theirs."""
    barred: str = ""
    """Why this person may not approve it; empty if they may, or if no person is given."""


class Proposal(msgspec.Struct, frozen=True):
    """What a reviewer approves or rejects: the record, its content digest, and the one binding that would change."""

    remediation: Remediation
    content: str
    policy: BindingChange
