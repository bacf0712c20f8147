"""The code of everything that a check can find, with its severity and why it matters. Codes never change."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is. Any finding makes `doctor` exit 1."""

    PROBLEM = "problem"
    """Something does not work, or is open."""
    WARNING = "warning"
    """Something works, but not as it should."""
    UNKNOWN = "unknown"
    """Something could not be read."""


_P, _W = Severity.PROBLEM, Severity.WARNING


class Code(StrEnum):
    """What was found: the value is the stable code; `severity` and `why` belong to it."""

    severity: Severity
    why: str

    def __new__(cls, value: str, severity: Severity = Severity.PROBLEM, why: str = "") -> Code:
        member = str.__new__(cls, value)
        member._value_ = value
        member.severity = severity
        member.why = why
        return member

    NOT_KNOWN = "not_known", Severity.UNKNOWN, "This could not be read, so it may be broken or open."

    # Configuration
    SETTINGS_INVALID = "settings_invalid", _P, "The service does not start with an invalid setting."
    SETTINGS_DISAGREE = "settings_disagree", _P, "The parts decide by different rules, or use different ledgers."
    SETTINGS_DIFFER = "settings_differ", _W, "Local commands use another ledger or other rules than the service."
    POLICY_UNREADABLE = "policy_unreadable", _P, "The service does not start; a running one keeps an older policy."
    ORGANIZATION_UNSET = "organization_unset", _W, "The service cannot tell its own organization from others."
    REVIEWERS_UNSET = "reviewers_unset", _W, "Anyone who reaches the review pages can approve."
    IDENTITIES_UNSET = "identities_unset", _W, "The service's own accounts can approve."
    SECRET_UNSET = "secret_unset", _P, "The review pages do not start behind Identity-Aware Proxy without it."
    WRITER_NOT_WOKEN = "writer_not_woken", _W, "What people approve waits for the next sweep."
    WRITER_TOPIC_UNSET = "writer_topic_unset", _P, "The pages may change no policy and wake no writer: approvals fail."
    TAG_MISSING = "tag_missing", _P, "Rules need this tag on a registry project, so no rule grants anything."
    TAG_NOT_ENFORCED = "tag_not_enforced", _W, "IAM lets the writer change policies of projects without the tag."

    # Ledger
    LEDGER_UNREACHABLE = "ledger_unreachable", _P, "The service cannot handle anything without its ledger."
    LEDGER_NEWER = "ledger_newer", _P, "This version cannot read the ledger and refuses to start."
    LEDGER_OLDER = "ledger_older", _W, "The next start migrates the ledger; this check cannot read it until then."
    LEDGER_EPHEMERAL = "ledger_ephemeral", _P, "A file inside a Cloud Run instance is lost with the instance."
    DATABASE_MISSING = "database_missing", _P, "The service cannot handle anything without the database."
    DATABASE_MODE = "database_mode", _P, "Firestore's client cannot use a database in Datastore mode."
    INDEX_MISSING = "index_missing", _W, "Lists and pages that filter by these fields fail."

    REGISTRY_UNSEEN = "registry_unseen", _W, "Nobody can approve a proposal about a registry that may not be seen."

    # APIs and quotas
    API_DISABLED = "api_disabled", _P, "Google refuses every call to a disabled API."
    QUOTA_LOW = "quota_low", _W, "Once a quota is used up, events are refused and delivered again later."

    # Event delivery
    SINK_MISSING = "sink_missing", _P, "No log entry reaches the service."
    SINK_DISABLED = "sink_disabled", _P, "No log entry reaches the service."
    SINK_FILTER = "sink_filter", _P, "Denials that the filter does not select never arrive."
    SINK_EXCLUDES = "sink_excludes", _W, "Denials that an exclusion matches never arrive."
    SINK_CHILDREN = "sink_children", _P, "No entry of the projects below arrives."
    SINK_INTERCEPTS = "sink_intercepts", _P, "The sink keeps entries from the sinks of the projects below."
    SINK_DESTINATION = "sink_destination", _P, "Entries go elsewhere."
    TOPIC_MISSING = "topic_missing", _P, "The sink has nowhere to write, and stops after a while."
    TOPIC_WRITER = "topic_writer", _P, "The sink cannot publish, so no entry arrives."
    TOPIC_EXTRA_PUBLISHER = "topic_extra_publisher", _P, "This member can send the service forged entries."
    TOPIC_INHERITED_PUBLISHER = "topic_inherited_publisher", _W, "This member can send the service forged entries."
    LOG_VIEW_MISSING = (
        "log_view_missing",
        _P,
        "The sweep finds no lost denial; entries are read in each project.",
    )
    LOG_VIEW_UNFED = "log_view_unfed", _P, "The sweep does not find lost denials that are not in the log view."
    LOG_VIEW_RIGHT = "log_view_right", _P, "Entries are read back from each project; the sweep finds no lost denial."
    LOG_VIEW_EXTRA_READER = "log_view_extra_reader", _W, "This member can read whole entries, with what was deployed."
    TRIGGER_MISSING = "trigger_missing", _P, "The service does not get the messages in the topic."
    TRIGGER_EVENT = "trigger_event", _P, "The trigger ignores the events that arrive."
    TRIGGER_TOPIC = "trigger_topic", _P, "The sink writes to another topic than the trigger reads."
    TRIGGER_DESTINATION = "trigger_destination", _P, "Events go to another service."
    TRIGGER_IDENTITY = "trigger_identity", _W, "The trigger does not call with its own service account."
    TRIGGER_UNHEALTHY = "trigger_unhealthy", _P, "Google reports that the trigger does not work."
    SUBSCRIPTION_MISSING = "subscription_missing", _P, "Events are lost; the trigger has to be created again."
    SUBSCRIPTION_BROKEN = "subscription_broken", _P, "Nothing is delivered."
    SUBSCRIPTION_IMPATIENT = "subscription_impatient", _W, "Pub/Sub delivers slow events twice, and gives up sooner."
    SUBSCRIPTION_NO_DEAD_LETTER = "subscription_no_dead_letter", _P, "Events that fail for a day are lost."
    SUBSCRIPTION_BEHIND = "subscription_behind", _W, "Events arrive but are not handled in time."
    DEAD_LETTER_MISSING = "dead_letter_missing", _P, "Undeliverable events are not kept."
    DEAD_LETTER_RIGHT = "dead_letter_right", _P, "Pub/Sub cannot move undeliverable events, so they are lost."
    DEAD_LETTERS_WAITING = "dead_letters_waiting", _P, "These denials were never handled."

    # Services
    SERVICE_MISSING = "service_missing", _P, "Its task is not done."
    SERVICE_NOT_READY = "service_not_ready", _P, "Cloud Run does not serve it, or still serves an older revision."
    SERVICE_IDENTITY = "service_identity", _P, "It runs with the permissions of another identity."
    SERVICE_OPEN = "service_open", _P, "Anyone on the internet can reach it."
    SERVICE_CALLER_MISSING = "service_caller_missing", _P, "Its expected caller cannot call it."
    SERVICE_EXTRA_CALLER = "service_extra_caller", _W, "Identities other than the expected caller can invoke it."
    IAP_OFF = "iap_off", _P, "The pages cannot identify reviewers and refuse every request."
    IAP_AUDIENCE = "iap_audience", _P, "The pages refuse every reviewer: the proxy signs for another audience."
    IAP_NOBODY = "iap_nobody", _W, "No reviewer can open the pages."
    IAP_EVERYBODY = "iap_everybody", _P, "Anyone with a Google account can open the pages."
    SWEEP_MISSING = "sweep_missing", _P, "Grants and proposals expire late or never, and lost denials may not be found."
    SWEEP_FAILING = "sweep_failing", _P, "Grants and proposals expire late or never, and lost denials may not be found."
    SCHEDULE_MISSING = "schedule_missing", _P, "A sweep does not start, so grants expire late or never."
    SCHEDULE_PAUSED = "schedule_paused", _P, "A sweep does not start, so grants expire late or never."
    SCHEDULE_TARGET = "schedule_target", _P, "The schedule does not start its sweep, so grants expire late or never."
    TRAIL_NOT_KEPT = "trail_not_kept", _W, "The log copy of the audit trail is deleted after the default period."

    # Identities
    ACCOUNT_MISSING = "account_missing", _P, "The part that uses it cannot run."
    ACCOUNT_DISABLED = "account_disabled", _P, "The part that uses it cannot call any API."
    ACCOUNT_KEYS = "account_keys", _W, "Anyone with a copy of the key can act as the service."
    ACCOUNT_IMPERSONATED = "account_impersonated", _W, "This member can act as the service; logs name only the service."
    RIGHT_MISSING = "right_missing", _P, "Google refuses a call that the service makes."
    RIGHT_SUPERFLUOUS = "right_superfluous", _P, "An attacker in the service could do more than the service does."
    PAGES_WRITE = "pages_write", _P, "The pages can be reached from outside, and must not be able to change any policy."
    WRITES_IN_DRY_RUN = "writes_in_dry_run", _P, "In dry-run the receiver must not be able to change any policy."
    ROLE_MISSING = "role_missing", _P, "The role's members hold no permissions by it."
    ROLE_SUPERFLUOUS = "role_superfluous", _P, "An attacker in the service could do more than the service does."

    # The canary
    CANARY_NAME_TAKEN = "canary_name_taken", _P, "A synthetic denial needs a repository that does not exist."
    CANARY_LOST = "canary_lost", _P, "A published denial does not arrive, so real ones do not either."
    CANARY_SLOW = "canary_slow", _W, "Users wait a long time for their denials to be handled."
    CANARY_MISJUDGED = "canary_misjudged", _P, "A denial for a repository that does not exist was not refused."
