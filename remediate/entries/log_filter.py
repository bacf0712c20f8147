"""Builds Cloud Logging filters: for possible denials (used by sink and sweep), deploys and policy changes.

The filter for denials is built from `error_text`'s own patterns, so that both find the same entries. It may match a few
more (a text that quotes the patterns), never fewer. It contains no backslashes, because filters need them escaped
several times. Source: "Logging query language".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from remediate.entries.access_changes import PROJECTS, REGISTRY
from remediate.entries.denial import CLOUD_RUN
from remediate.entries.error_text import CONDITION_REASONS, DENIAL_PATTERNS
from remediate.entries.source import Log
from remediate.iam.member import Member, MemberKind
from remediate.iam.repository import Repository


def log_clause(which: Log) -> str:
    """The clause for entries of exactly this log. `logName:"..."` means "contains" and would match other logs too."""
    return f'log_id("{which.value}")'


_LOOSE = [each.replace(r"\s+", ".+").replace(r"\.", ".") for each in DENIAL_PATTERNS]
_TEXTS = " OR ".join(f'protoPayload.status.message=~"(?is){each}"' for each in _LOOSE)
_REASONS = " OR ".join(f'"{each}"' for each in CONDITION_REASONS)
_CALLER = "protoPayload.authenticationInfo"

DENIALS = "\n".join(
    (
        f'protoPayload.serviceName="{CLOUD_RUN}"',
        f"({log_clause(Log.ACTIVITY)} OR {log_clause(Log.SYSTEM_EVENT)})",
        f"({_TEXTS} OR {_REASONS})",
    )
)


def entries_by_id(names: list[tuple[str, str, str]]) -> str:
    """The filter for these entries, each given by log name, insert id and timestamp (RFC 3339, any offset)."""
    times = sorted(_in_utc(timestamp) for _, _, timestamp in names)
    return "\n".join(
        (
            f'timestamp>="{times[0]}" timestamp<="{times[-1]}"',
            f"logName=({_any(log_name for log_name, _, _ in names)})",
            f"insertId=({_any(insert_id for _, insert_id, _ in names)})",
        )
    )


def _in_utc(timestamp: str) -> str:
    """The timestamp in UTC with nanoseconds, so that texts sort by time. A datetime has only microseconds."""
    fraction = timestamp[19:].rstrip("Zz").partition("+")[0].partition("-")[0].removeprefix(".")
    at = datetime.fromisoformat(timestamp).astimezone(UTC).replace(tzinfo=None)
    return f"{at.isoformat(timespec='seconds')}.{fraction:0<9}Z"


def deploys_by(repositories: Iterable[Repository], members: Sequence[Member], after: str, before: str) -> str:
    """The filter for calls by these members in that time that contain an address of the repository.

    It only preselects: `earlier_deploys` checks where the address is and how the call ended. `repositories` is one
    repository under each name of its project. The search words contain no host, so that all hosts match.
    """
    addresses = [each.id.partition(":")[2] for each in members if each.kind is not MemberKind.PRINCIPAL]
    subjects = [each.id for each in members if each.kind is MemberKind.PRINCIPAL]
    callers = [f"{_CALLER}.principalEmail=({_any(addresses)})"] if addresses else []
    callers += [f"{_CALLER}.principalSubject=({_any(subjects)})"] if subjects else []
    return "\n".join(
        (
            f'protoPayload.serviceName="{CLOUD_RUN}"',
            log_clause(Log.ACTIVITY),
            f'timestamp>="{after}" timestamp<"{before}"',
            f"({' OR '.join(callers)})",
            "NOT severity>=ERROR",
            f"({_any(word for each in repositories for word in _addresses(each))})",
        )
    )


def ends_of(operations: Iterable[str], after: str) -> str:
    """The filter for the last entries of these Cloud Run operations, from `after` on (RFC 3339)."""
    return "\n".join(
        (
            f'protoPayload.serviceName="{CLOUD_RUN}"',
            log_clause(Log.ACTIVITY),
            f'timestamp>="{after}"',
            "operation.last=true",
            f"operation.id=({_any(operations)})",
        )
    )


def policy_changes(repository: Repository, after: str) -> str:
    """The filter for policy changes of this repository or of its project, from `after` on (RFC 3339).

    It matches the repository's location and name only, because entries name the project by id or by number.
    """
    return "\n".join(
        (
            f'protoPayload.serviceName=("{REGISTRY}" OR "{PROJECTS}")',
            log_clause(Log.ACTIVITY),
            f'timestamp>="{after}"',
            'protoPayload.methodName:"SetIamPolicy"',
            f'(protoPayload.serviceName="{PROJECTS}" OR protoPayload.resourceName:'
            + _quoted(f"/locations/{repository.location}/repositories/{repository.name}")
            + ")",
        )
    )


def _addresses(repository: Repository) -> Iterator[str]:
    """The part that every address of the repository's images has. A domain-scoped project is two path segments."""
    project = repository.project.replace(":", "/")
    yield f"/{project}/{repository.name}/"
    if repository.is_gcr_io:
        yield f"{repository.name}/{project}/"
        yield f"{repository.name}:443/{project}/"


def calls_of(operation: str, around: tuple[str, str]) -> str:
    """The filter for entries with an operation's id, between these two times (RFC 3339).

    The caller checks from each entry's structure whether the id is its own.
    """
    return "\n".join(
        (
            f'protoPayload.serviceName="{CLOUD_RUN}"',
            log_clause(Log.ACTIVITY),
            f'timestamp>="{around[0]}" timestamp<="{around[1]}"',
            f"(operation.id:{_quoted(operation)} OR {_quoted(operation)})",
        )
    )


def _any(texts: Iterable[str]) -> str:
    return " OR ".join(_quoted(text) for text in dict.fromkeys(texts))


def _quoted(text: str) -> str:
    """The text as a quoted string of the query language. It cannot end the string or begin another clause."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
