"""What the remediator gives back about an entry, an approval or a sweep; and the limits that it keeps to."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from remediate.decisions.policy import Decision
from remediate.entries.denial import Denial, NotADenial
from remediate.iam.allow_policy import BindingChange
from remediate.iam.member import Member
from remediate.records.remediation import Remediation, State


class Handled(msgspec.Struct, frozen=True):
    """What became of one log entry."""

    decision: Decision
    subject: Denial | NotADenial
    remediation: Remediation | None = None
    """The record as it stands now; None where the entry is ignored, or names no member or no repository."""
    partners: tuple[str, ...] = ()
    """The ids of what the same deploy is denied next: the service agent's first, then other images'."""
    written: bool = False
    duplicate: bool = False


class Limits(msgspec.Struct, frozen=True):
    """How long a proposal waits for an answer, an approval to be carried out, and a rejection stands."""

    lapse_after: timedelta = timedelta(days=7)
    hold_rejections: timedelta = timedelta(days=30)
    propagation: timedelta = timedelta(minutes=15)
    """How long after a grant the same denial is IAM's delay ("Access change propagation": seven minutes or more)."""

    grants_an_hour: int = 60
    """How many grants rules may make in one hour of the clock; what comes beyond is asked."""
    grants_to_a_member: int = 10
    proposals_an_hour: int = 30
    """How many proposals a project's denials may open in an hour before people see them gathered; refusals likewise."""
    one_may_declare: bool = False
    """Whether one reviewer is enough for an unknown deployer who declares on the record that it was not theirs."""


class Swept(msgspec.Struct, frozen=True):
    """What `sweep` did about one remediation; `fault` is Google Cloud's final answer where it could do nothing."""

    remediation: Remediation | None
    """None where a denial that never arrived could not be handled, or what is on record could not be read."""
    before: State | None
    """None where the sweep found a denial that never arrived, and opened the remediation."""
    fault: str = ""
    ident: str = ""
    """Whose record could not be read."""


class Applied(msgspec.Struct, frozen=True):
    """What became of an approval."""

    remediation: Remediation
    written: bool
    """False where the member was in the binding already."""


class Verdict(msgspec.Struct, frozen=True):
    """What Cloud Logging says of the denial behind a record."""

    verified: bool | None
    """False where it has something else, or nothing; None where it may not be asked."""
    denial: Denial | None = None
    """The record's denial as the log has it; None where it is not verified, or there is no log to ask."""
    people: tuple[Member, ...] = ()
    """The deployer, and who stands behind them, as the log has it."""
    deployer_known: bool = True
    notes: tuple[str, ...] = ()
    """What was disregarded or could not be asked, in plain words."""


class Check(msgspec.Struct, frozen=True):
    """What an approval would find just now, for those who look before they approve."""

    verdict: Verdict
    needed: int
    """How many different people have to approve."""
    may_declare: bool = False
    """Whether one is enough who declares that the deploy was not theirs."""
    barred: str = ""
    """Why this person may not approve it; empty where they may, or nobody in particular asks."""


class Proposal(msgspec.Struct, frozen=True):
    """What a reviewer says yes or no to: the record, its content's digest, and the one binding that would change."""

    remediation: Remediation
    content: str
    policy: BindingChange
