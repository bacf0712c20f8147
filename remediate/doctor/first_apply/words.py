"""What a report may hold: numbers, booleans, versions, and words out of lists that are written down here.

Texts of Google Cloud hold names and addresses, and no pattern finds all of them. So no text gets into a report: a word
is either a member of an enumeration of this program, or it is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias, TypeVar

import msgspec

_W = TypeVar("_W", bound=StrEnum)
_VERSION = re.compile(r"(?<![\w.])v?(\d{1,4}(?:\.\d{1,4}){1,3})(?![\d.])")


class Version(msgspec.Struct, frozen=True):
    """A version number: nothing but short numbers and dots."""

    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers))


def version(text: str) -> Version | None:
    """The first version number in a text; None where there is none. A project's number is too long to be one."""
    found = _VERSION.search(text)
    return Version(tuple(map(int, found[1].split(".")))) if found else None


class Status(StrEnum):
    """How a call ended. Source: google.rpc.Code, and what there is where no answer came."""

    OK = "OK"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    NO_ANSWER = "NO_ANSWER"
    NO_CREDENTIALS = "NO_CREDENTIALS"
    NOT_ASKED = "NOT_ASKED"
    """The other endpoints are on this machine, and this API has none here."""
    OTHER = "OTHER"


class ErrorReason(StrEnum):
    """Why a call was refused. Source: google.api.ErrorReason, and the reasons of IAM and VPC Service Controls."""

    SERVICE_DISABLED = "SERVICE_DISABLED"
    BILLING_DISABLED = "BILLING_DISABLED"
    API_KEY_SERVICE_BLOCKED = "API_KEY_SERVICE_BLOCKED"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    RESOURCE_QUOTA_EXCEEDED = "RESOURCE_QUOTA_EXCEEDED"
    LOCATION_TAX_POLICY_VIOLATED = "LOCATION_TAX_POLICY_VIOLATED"
    USER_PROJECT_DENIED = "USER_PROJECT_DENIED"
    CONSUMER_SUSPENDED = "CONSUMER_SUSPENDED"
    CONSUMER_INVALID = "CONSUMER_INVALID"
    SECURITY_POLICY_VIOLATED = "SECURITY_POLICY_VIOLATED"
    ACCESS_TOKEN_EXPIRED = "ACCESS_TOKEN_EXPIRED"
    ACCESS_TOKEN_SCOPE_INSUFFICIENT = "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    ACCESS_TOKEN_TYPE_UNSUPPORTED = "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    ACCOUNT_STATE_INVALID = "ACCOUNT_STATE_INVALID"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    RESOURCE_PROJECT_INVALID = "RESOURCE_PROJECT_INVALID"
    USER_BLOCKED_BY_ADMIN = "USER_BLOCKED_BY_ADMIN"
    RESOURCE_USAGE_RESTRICTION_VIOLATED = "RESOURCE_USAGE_RESTRICTION_VIOLATED"
    ORG_RESTRICTION_VIOLATION = "ORG_RESTRICTION_VIOLATION"
    SERVICE_NOT_VISIBLE = "SERVICE_NOT_VISIBLE"
    GCP_SUSPENDED = "GCP_SUSPENDED"
    LOCATION_POLICY_VIOLATED = "LOCATION_POLICY_VIOLATED"
    IAM_PERMISSION_DENIED = "IAM_PERMISSION_DENIED"
    OTHER = "OTHER"


class ResourceType(StrEnum):
    """The kinds of monitored resource that this product knows. Source: "Monitored resource types"."""

    CLOUD_RUN_REVISION = "cloud_run_revision"
    CLOUD_RUN_JOB = "cloud_run_job"
    CLOUD_RUN_INSTANCE = "cloud_run_instance"
    CLOUD_RUN_WORKER_POOL = "cloud_run_worker_pool"
    LOGGING_BUCKET = "logging_bucket"
    AUDITED_RESOURCE = "audited_resource"
    GLOBAL = "global"
    OTHER = "other"


class BuildStatus(StrEnum):
    """How a build ended. Source: Cloud Build v1."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    QUEUED = "QUEUED"
    PENDING = "PENDING"
    WORKING = "WORKING"
    OTHER = "OTHER"


class InstanceLabel(StrEnum):
    """What the label with an instance's name may be called."""

    INSTANCE_NAME = "instance_name"
    INSTANCE_ID = "instance_id"
    INSTANCE = "instance"
    SERVICE_NAME = "service_name"
    RESOURCE_NAME = "resource_name"
    NAME = "name"


class State(StrEnum):
    """The state of a Cloud Run service, or how an execution of a job ended. Source: Cloud Run Admin v2."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    PENDING = "pending"
    RECONCILING = "reconciling"
    ABSENT = "absent"
    UNREADABLE = "unreadable"
    NONE = "none"
    OTHER = "other"


def known(kind: type[_W], text: object) -> _W:
    """The member of this enumeration; its `OTHER` where the text is none of them."""
    other = next(each for each in kind if each.name == "OTHER")
    return next((each for each in kind if each.value == text), other)


class Answer(msgspec.Struct, frozen=True):
    """How Google Cloud answered a call: the HTTP status, Google's code, and its reason code if it gave one."""

    http: int
    code: Status
    reason: ErrorReason | None = None

    @property
    def is_ok(self) -> bool:
        """The call succeeded."""
        return self.code is Status.OK


Fact: TypeAlias = "bool | int | float | StrEnum | Version | Answer | tuple[Fact, ...] | Mapping[str, Fact] | None"
"""What an item may report. A plain text is none of these; keys are written in this program."""


def encode(fact: Fact) -> object:
    """The fact as JSON's types. Raises TypeError for a plain text, which may hold a name."""
    match fact:
        case bool() | int() | float() | None:
            return fact
        case StrEnum():
            return fact.value
        case Version():
            return str(fact)
        case Answer():
            shown: dict[str, object] = {"http": fact.http, "code": fact.code.value}
            return shown | ({"reason": fact.reason.value} if fact.reason else {})
        case tuple():
            return [encode(each) for each in fact]
        case Mapping():
            return {str(name): encode(each) for name, each in fact.items()}
    raise TypeError(f"a report holds no {type(fact).__name__}")
