"""The record of one remediation, and the record of one of its transitions in the audit trail."""

from __future__ import annotations

import msgspec

from remediate.decisions.policy import Outcome
from remediate.entries.denial import Deploy, EntryId, Reader
from remediate.errors import LedgerFault
from remediate.iam.grant import ROLE, Grant
from remediate.reasons import Reason
from remediate.records.approval_count import Approval
from remediate.records.states import Ending, State
from remediate.records.witnesses import DeployerNames

RULE = "rule:"
"""The prefix of an actor that is a rule and not a person."""


class Tally(msgspec.Struct, frozen=True):
    """What the denials of one grant say: all of them together, and the last one. Times are RFC 3339 in UTC."""

    first_seen: str
    last_seen: str
    readers: tuple[Reader, ...]
    denials: int = 0
    """How many denials; the other fields keep a limited number of values, the newest last."""
    predicted: bool = False
    """Whether it was proposed before its first denial; false once it is denied."""
    deploys: tuple[Deploy, ...] = ()
    images: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    """The ids of the other grants that the same deploy needs: approve deployer and service agent together."""
    entries: tuple[EntryId, ...] = ()
    """The log entries of the denials, the first of this cycle and the newest. An approval reads them back."""
    proven: EntryId | None = None
    """The newest entry that the log confirmed when it was counted. Most entries are read back only at an approval."""
    doubts: tuple[Reason, ...] = ()
    authorized: bool | None = None
    """Whether the caller of the last denial was authorized to deploy. `doubts` belong to the same denial."""
    image_confirmed: bool = False
    """Whether the text and the deploy of the last denial name the same image, or the same repository."""
    troubleshooter: str | None = None
    """The last link in a denial's text; no decision uses it."""
    gathered: str = ""
    """The group of a flood (`gathering.Group.name`) that notices and the inbox show in its place; empty: no group."""


class Terms(msgspec.Struct, frozen=True):
    """The terms of the rule that last decided; a default where it sets none."""

    rule: str | None
    max_duration: float | None = None
    """The longest duration of the grant, in seconds; None: no limit."""
    reviewers: tuple[str, ...] = ()
    """Who may approve, as keys or domains; empty: every reviewer."""
    rule_comment: str = ""
    """The rule's own sentence for reviewers."""
    approvals_needed: int = 1
    """How many different people must approve."""


class Lifecycle(msgspec.Struct, frozen=True):
    """What became of the grant in this cycle, and how earlier grants ended. Times are RFC 3339 in UTC."""

    updated: str
    """When the last transition was recorded; a renewal does not count."""
    cycle: int = 1
    """The number of the current cycle. A cycle runs from a proposal to its end."""
    shown: tuple[str, ...] = ()
    """The terms (`rule_terms_digest`) of its proposals in this cycle: different deploys may match different rules."""
    approvals: tuple[Approval, ...] = ()
    """The approvals, if it needs more than one or if one has a declaration; empty for a plain approval."""
    approver: str | None = None
    """Who approved the grant: a member, or `rule:NAME`."""
    added_by_us: bool = False
    """Whether remediate added the member to the binding. Only such a member may be removed."""
    expires: str | None = None
    """When the grant expires; None if it does not."""
    ending: Ending | None = None
    """Set while the removal of a grant is pending."""
    taken_away: str | None = None
    """When the grant was last revoked or removed; rules do not grant it again for a while."""
    ended: str | None = None
    """When a temporary grant that a person approved last expired: deploys during it do not prove permanent access."""

    @property
    def is_by_rule(self) -> bool:
        """Whether a rule approved it, and not a person."""
        return self.approver is not None and self.approver.startswith(RULE)


class Storage(msgspec.Struct, frozen=True):
    """How the record is stored. The ledger compares and raises `version` when it commits the record."""

    version: int = 0
    """How many commits stored it; 0: not stored yet."""
    trail: int = 0
    """How many trail records it has; `trail_hash` is the hash of the last one."""
    trail_hash: str = ""


class Remediation(msgspec.Struct, frozen=True):
    """The record of one (repository, member): its state, the reasons, and five parts. `stored_form` has its JSON."""

    id: str
    repository: str
    member: str
    state: State
    reasons: tuple[Reason, ...]
    tally: Tally
    terms: Terms
    lifecycle: Lifecycle
    names: DeployerNames = DeployerNames()
    """The deployers, and the entries that name them."""
    storage: Storage = Storage()
    role: str = ROLE

    @property
    def grant(self) -> Grant:
        """The repository and the member, typed. Raises LedgerFault if the record does not name both."""
        found = Grant.parse(self.repository, self.member)
        if found is None:
            raise LedgerFault(f"the record of {self.id} has no valid repository or member")
        return found


class TrailRecord(msgspec.Struct, frozen=True):
    """One transition: who, what, why, when. `hash` covers all other fields, including the hash of the record before."""

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
    """The outcome of the decision that made the transition; unset if a person or a deadline made it."""
    rule: str | msgspec.UnsetType = msgspec.UNSET
    policy: str | msgspec.UnsetType = msgspec.UNSET
    """The digest of the policy file that contains the rule."""
    project: str | msgspec.UnsetType = msgspec.UNSET
    """The project of the last denied deploy, id or number."""
    content: str | msgspec.UnsetType = msgspec.UNSET
    """`content_digest` of the approved record."""
    approval: str | msgspec.UnsetType = msgspec.UNSET
    """Which approval this is and how many are needed: `1 of 2`; unset if one is enough."""
    not_mine: bool | msgspec.UnsetType = msgspec.UNSET
    """True if the approver declared that the deploy was not theirs."""
    terms: str | msgspec.UnsetType = msgspec.UNSET
    """`terms_digest` of the record after this transition; unset in trails that older versions wrote."""
