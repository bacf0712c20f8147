"""The items of the checklist in docs/first-apply.md, in its order. Codes never change."""

from __future__ import annotations

from enum import StrEnum

PAGE = "docs/first-apply.md"


class Item(StrEnum):
    """One item. `by_hand`: no command can settle it, so a person follows the page."""

    by_hand: bool

    def __new__(cls, value: str, how: str = "command") -> Item:
        member = str.__new__(cls, value)
        member._value_ = value
        member.by_hand = how == "by hand"
        return member

    @property
    def anchor(self) -> str:
        """Its section of the page."""
        return f"{PAGE}#{self.value}"

    # Before the apply
    TOOLS = "tools"
    CALLER = "caller"
    QUOTA_PROJECT = "quota_project"
    INSTALLER_RIGHTS = "installer_rights"
    INHERITED_OWNER = "inherited_owner"
    ORGANIZATION_POLICIES = "organization_policies", "by hand"

    # The apply
    FIRST_APPLY = "first_apply", "by hand"
    BUILD = "build"
    PYTHON_VERSION = "python_version", "by hand"
    SECOND_PLAN = "second_plan", "by hand"

    # After the apply
    DOCTOR = "doctor"
    TRIGGER = "trigger"
    LAUNCHER = "launcher"
    CANARY = "canary"
    MESSAGE_SIZE = "message_size"
    IAP_POLICY = "iap_policy"
    IAP_REVIEWER = "iap_reviewer"
    SWEEP = "sweep"
    LEDGER_ROLE = "ledger_role"
    DENIED_OPERATION = "denied_operation"
    INSTANCE_LABELS = "instance_labels"
    FIRST_PROPOSAL = "first_proposal"
    CHAT_NOTICE = "chat_notice", "by hand"
    TRAIL_BUCKET = "trail_bucket"
    METRIC_RESOURCES = "metric_resources"
    METRIC_NAMES = "metric_names"
    UNREADABLE_PROJECT = "unreadable_project"
    ADVANCED_EVENTARC = "advanced_eventarc", "by hand"


class Verdict(StrEnum):
    """What became of an item."""

    AS_EXPECTED = "as_expected"
    OTHERWISE = "otherwise"
    """The page says what to change."""
    NOT_KNOWN = "not_known"
    """It could not be read, or there is nothing to look at yet."""
    BY_HAND = "by_hand"
