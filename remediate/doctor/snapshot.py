"""All facts of one installation, as they were surveyed: what every check is a function of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from remediate.doctor.names import Site
from remediate.doctor.resources import (
    Account,
    AllowPolicy,
    Bucket,
    Database,
    Fact,
    Indexes,
    Job,
    Keys,
    Measured,
    ProjectFacts,
    Role,
    Schedule,
    Service,
    ServicesUsed,
    Sink,
    Subscription,
    TagValue,
    Topic,
    Trigger,
)
from remediate.settings import Settings


@dataclass(frozen=True)
class LedgerFacts:
    """The ledger that the service uses, or that the local commands use where there is no service."""

    url: str
    schema: int | None
    """None where it is not made yet, or could not be asked."""
    newest: int
    """The schema that this version writes."""
    fault: str = ""
    """Why it could not be asked; empty where it could."""
    refused: bool = False
    """Whether that is because whoever asks may not."""


@dataclass(frozen=True)
class Local:
    """What can be known on this machine without any Google Cloud."""

    environ: Mapping[str, str]
    settings: Settings | None
    problems: tuple[str, ...] = ()
    """What is wrong with the settings, a line each; `settings` is None then."""
    policy_fault: str = ""
    ledger: LedgerFacts | None = None


@dataclass(frozen=True)
class Installation:
    """One installation's resources. A field that is None does not exist in this kind of installation."""

    site: Site
    local: bool
    """Whether this Google Cloud is one on this machine."""
    project: Fact[ProjectFacts]
    apis: Fact[ServicesUsed]
    receiver: Fact[Service]
    review: Fact[Service]
    sweep: Fact[Job]
    schedule: Fact[Schedule]
    receiver_policy: Fact[AllowPolicy]
    review_policy: Fact[AllowPolicy]
    sweep_policy: Fact[AllowPolicy]
    iap_policy: Fact[AllowPolicy]
    sinks: Mapping[str, Fact[Sink]]
    """The sinks of the scopes, by scope; none where a single project is watched by triggers."""
    topic: Fact[Topic] | None
    topic_policy: Fact[AllowPolicy] | None
    triggers: Mapping[str, Fact[Trigger]]
    subscriptions: Mapping[str, Fact[Subscription]]
    """The subscriptions that the triggers made for themselves, by name."""
    subscription_policies: Mapping[str, Fact[AllowPolicy]]
    backlogs: Mapping[str, Fact[Measured]]
    dead_letter_topic: Fact[Topic]
    dead_letter_policy: Fact[AllowPolicy]
    dead_letter_subscription: Fact[Subscription]
    dead_letters: Fact[Measured]
    trail_sink: Fact[Sink]
    trail_bucket: Fact[Bucket] | None
    database: Fact[Database] | None
    indexes: Fact[Indexes] | None
    tag: Fact[TagValue] | None
    quota_used: Mapping[str, Fact[Measured]] = field(default_factory=dict)
    quota_limits: Mapping[str, Fact[Measured]] = field(default_factory=dict)
    accounts: Mapping[str, Fact[Account]] = field(default_factory=dict)
    keys: Mapping[str, Fact[Keys]] = field(default_factory=dict)
    account_policies: Mapping[str, Fact[AllowPolicy]] = field(default_factory=dict)
    """Who may act as each service account."""
    policies: Mapping[str, Fact[AllowPolicy]] = field(default_factory=dict)
    """The allow policies of the project, the scope and what lies above the project, by name."""
    roles: Mapping[str, Fact[Role]] = field(default_factory=dict)
    """The roles that our identities hold there, and what others hold on the topic, by name."""

    @property
    def above(self) -> dict[str, AllowPolicy]:
        """The allow policies that reach everything in the installation's project: its own, and of what lies above."""
        known = self.project.ancestors if isinstance(self.project, ProjectFacts) else ()
        found = ((place, self.policies.get(place)) for place in (self.site.here, *known))
        return {place: policy for place, policy in found if isinstance(policy, AllowPolicy)}
