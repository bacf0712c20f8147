"""The code of everything that a check can find, with its severity and why it matters. Codes stay what they are."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is. Each makes `doctor` exit 1."""

    PROBLEM = "problem"
    """Something does not work, or is open."""
    WARNING = "warning"
    """It works, and not as it should."""
    UNKNOWN = "unknown"
    """It may not be read: nobody knows."""


_P, _W = Severity.PROBLEM, Severity.WARNING


class Code(StrEnum):
    """What was found: the value is the stable code; `severity` and `why` go with it."""

    severity: Severity
    why: str

    def __new__(cls, value: str, severity: Severity = Severity.PROBLEM, why: str = "") -> Code:
        member = str.__new__(cls, value)
        member._value_ = value
        member.severity = severity
        member.why = why
        return member

    NOT_KNOWN = "not_known", Severity.UNKNOWN, "What may not be read may be broken, or open, and nobody would know."

    # Configuration
    SETTINGS_INVALID = "settings_invalid", _P, "With a setting that is not accepted, the service does not start."
    SETTINGS_DISAGREE = (
        "settings_disagree",
        _P,
        "Parts that disagree decide by different rules, or in different ledgers.",
    )
    SETTINGS_DIFFER = (
        "settings_differ",
        _W,
        "Your own commands would act on another ledger, or by other rules, than the service.",
    )
    POLICY_UNREADABLE = (
        "policy_unreadable",
        _P,
        "Without a policy that can be read the service does not start, and keeps an older one.",
    )
    ORGANIZATION_UNSET = (
        "organization_unset",
        _W,
        "A repository of somebody else's organization is not told from one of ours.",
    )
    REVIEWERS_UNSET = "reviewers_unset", _W, "Whoever reaches the review pages may approve."
    IDENTITIES_UNSET = "identities_unset", _W, "The service's own identities are not kept from approving."
    SECRET_UNSET = "secret_unset", _P, "Behind Identity-Aware Proxy the review pages do not start without it."
    TAG_MISSING = (
        "tag_missing",
        _P,
        "Rules grant only where the registry project bears this tag, so they grant nowhere.",
    )
    TAG_NOT_ENFORCED = (
        "tag_not_enforced",
        _W,
        "The tag is only our own word; IAM lets the writer change policies anywhere in the scope.",
    )

    # Ledger
    LEDGER_UNREACHABLE = (
        "ledger_unreachable",
        _P,
        "Without its ledger the service remembers nothing and handles nothing.",
    )
    LEDGER_NEWER = "ledger_newer", _P, "This version does not understand what is stored, and refuses to start."
    LEDGER_OLDER = "ledger_older", _W, "It is migrated by the next start; until then this check has nothing to read."
    LEDGER_EPHEMERAL = "ledger_ephemeral", _P, "A file inside a Cloud Run instance is lost with the instance."
    DATABASE_MISSING = "database_missing", _P, "Without the database the service remembers nothing and handles nothing."
    DATABASE_MODE = "database_mode", _P, "A database in Datastore mode does not answer Firestore's client."
    INDEX_MISSING = "index_missing", _W, "Lists and pages that filter by these fields fail."

    # APIs and quotas
    API_DISABLED = "api_disabled", _P, "Every call to a disabled API is refused."
    QUOTA_LOW = "quota_low", _W, "Where a quota is used up, events are refused and come again later."

    # The way of an entry
    SINK_MISSING = "sink_missing", _P, "No log entry reaches the service."
    SINK_DISABLED = "sink_disabled", _P, "No log entry reaches the service."
    SINK_FILTER = "sink_filter", _P, "Denials in a wording that the filter does not know never arrive."
    SINK_EXCLUDES = "sink_excludes", _W, "Denials that an exclusion matches never arrive."
    SINK_CHILDREN = (
        "sink_children",
        _P,
        "Only entries of the organization or folder itself arrive, none of its projects'.",
    )
    SINK_INTERCEPTS = "sink_intercepts", _P, "Entries that it takes are kept from the sinks of the projects below."
    SINK_DESTINATION = "sink_destination", _P, "Entries go somewhere else."
    TOPIC_MISSING = "topic_missing", _P, "Entries have nowhere to go; the sink stops by itself after a while."
    TOPIC_WRITER = "topic_writer", _P, "The sink may not publish, so no entry arrives."
    TOPIC_EXTRA_PUBLISHER = (
        "topic_extra_publisher",
        _P,
        "Whoever may publish can hand the service entries that no log ever had.",
    )
    TOPIC_INHERITED_PUBLISHER = (
        "topic_inherited_publisher",
        _W,
        "Whoever may publish in the whole project can forge entries too.",
    )
    TRIGGER_MISSING = "trigger_missing", _P, "Messages wait in the topic, and nobody fetches them."
    TRIGGER_EVENT = "trigger_event", _P, "The trigger waits for other events than those that come."
    TRIGGER_TOPIC = "trigger_topic", _P, "The trigger listens to another topic than the sink writes to."
    TRIGGER_DESTINATION = "trigger_destination", _P, "Events go to another service."
    TRIGGER_IDENTITY = "trigger_identity", _W, "The trigger calls with another identity than the one made for it."
    TRIGGER_UNHEALTHY = "trigger_unhealthy", _P, "Google says itself that the trigger does not work."
    SUBSCRIPTION_MISSING = (
        "subscription_missing",
        _P,
        "Events are not kept for the service; the trigger has to be made again.",
    )
    SUBSCRIPTION_BROKEN = "subscription_broken", _P, "Nothing is delivered."
    SUBSCRIPTION_IMPATIENT = (
        "subscription_impatient",
        _W,
        "An event that takes longer comes again beside itself, and is a dead letter sooner.",
    )
    SUBSCRIPTION_NO_DEAD_LETTER = (
        "subscription_no_dead_letter",
        _P,
        "What cannot be delivered for a day is lost without a trace.",
    )
    SUBSCRIPTION_BEHIND = "subscription_behind", _W, "Events arrive, and are not handled in time."
    DEAD_LETTER_MISSING = "dead_letter_missing", _P, "What cannot be delivered is not kept."
    DEAD_LETTER_RIGHT = (
        "dead_letter_right",
        _P,
        "Pub/Sub may not move what cannot be delivered, so it is tried until it is lost.",
    )
    DEAD_LETTERS_WAITING = "dead_letters_waiting", _P, "These denials were never handled."

    # Services
    SERVICE_MISSING = "service_missing", _P, "What it does is not done."
    SERVICE_NOT_READY = "service_not_ready", _P, "Cloud Run does not serve it, or serves the revision before."
    SERVICE_IDENTITY = "service_identity", _P, "It runs as somebody else, with other rights than those made for it."
    SERVICE_OPEN = "service_open", _P, "Whoever finds its address can call it."
    SERVICE_CALLER_MISSING = "service_caller_missing", _P, "Who has to call it may not."
    SERVICE_EXTRA_CALLER = "service_extra_caller", _W, "It is meant for one caller, and others get past the door."
    IAP_OFF = "iap_off", _P, "Nobody proves who a reviewer is, and the pages refuse every request."
    IAP_AUDIENCE = "iap_audience", _P, "The pages refuse every reviewer: the proxy's word is for another audience."
    IAP_NOBODY = "iap_nobody", _W, "No reviewer gets to the pages."
    IAP_EVERYBODY = "iap_everybody", _P, "Whoever has a Google account gets to the pages."
    SWEEP_MISSING = "sweep_missing", _P, "Grants do not end, proposals do not lapse, lost denials are not picked up."
    SWEEP_FAILING = "sweep_failing", _P, "Grants do not end, proposals do not lapse, lost denials are not picked up."
    SCHEDULE_MISSING = "schedule_missing", _P, "Nobody starts the sweep: grants do not end."
    SCHEDULE_PAUSED = "schedule_paused", _P, "Nobody starts the sweep: grants do not end."
    SCHEDULE_TARGET = "schedule_target", _P, "The schedule starts something else than the sweep."
    TRAIL_NOT_KEPT = "trail_not_kept", _W, "The trail's second witness, the log, is not kept beyond the default."

    # Identities
    ACCOUNT_MISSING = "account_missing", _P, "What runs as it cannot run."
    ACCOUNT_DISABLED = "account_disabled", _P, "What runs as it cannot call anything."
    ACCOUNT_KEYS = "account_keys", _W, "Whoever has a copy of a key can act as the service, from anywhere."
    ACCOUNT_IMPERSONATED = (
        "account_impersonated",
        _W,
        "Whoever may act as it can do what the service can, and the trail names only the service.",
    )
    RIGHT_MISSING = "right_missing", _P, "A call that the service makes is refused."
    RIGHT_SUPERFLUOUS = (
        "right_superfluous",
        _P,
        "Whoever takes the service over can do more than the service ever does.",
    )
    WRITES_IN_DRY_RUN = (
        "writes_in_dry_run",
        _P,
        "In dry-run the receiver must not be able to change any policy, whatever it is told.",
    )
    ROLE_MISSING = "role_missing", _P, "Whoever was given the role holds nothing by it."
    ROLE_SUPERFLUOUS = "role_superfluous", _P, "Each holder of the role can do more than the service ever does."

    # The canary
    CANARY_NAME_TAKEN = (
        "canary_name_taken",
        _P,
        "The synthetic denial is only sent for a repository that does not exist.",
    )
    CANARY_LOST = "canary_lost", _P, "A denial that is published does not come through, so real ones do not either."
    CANARY_SLOW = "canary_slow", _W, "A denial takes long to come through; a person waits for it."
    CANARY_MISJUDGED = "canary_misjudged", _P, "A denial for a repository that does not exist was not refused."
