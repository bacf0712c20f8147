"""The filter, in the Logging query language, that picks out of all logs what may be a denial: for sink and sweep.

It is made of the recogniser's own words, so that both always look for the same; it may let through a little more (a
text that quotes the words), never less. No backslash stands in it, as how many a filter needs is easily got wrong.
Source: "Logging query language".
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
    """The clause for entries of this log alone. `logName:"..."` would mean "contains", and so other logs as well."""
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
    """The filter for these entries, each by log name, insert id and timestamp (RFC 3339, with any offset)."""
    times = sorted(_in_utc(timestamp) for _, _, timestamp in names)
    return "\n".join(
        (
            f'timestamp>="{times[0]}" timestamp<="{times[-1]}"',
            f"logName=({_any(log_name for log_name, _, _ in names)})",
            f"insertId=({_any(insert_id for _, insert_id, _ in names)})",
        )
    )


def _in_utc(timestamp: str) -> str:
    """The moment in UTC to the nanosecond, so that texts sort as moments do: a datetime knows microseconds alone."""
    fraction = timestamp[19:].rstrip("Zz").partition("+")[0].partition("-")[0].removeprefix(".")
    moment = datetime.fromisoformat(timestamp).astimezone(UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='seconds')}.{fraction:0<9}Z"


def deploys_by(repositories: Iterable[Repository], members: Sequence[Member], after: str, before: str) -> str:
    """The filter for calls by these members, in that time, in which an address of the repository stands somewhere.

    It only preselects: where the address stands, and how the call ended, its reader judges. `repositories` is one
    repository by each name of its project. A host is no part of a word, so that each of Artifact Registry's is found.
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
    """The filter for the last entries of these operations of Cloud Run, from that moment on."""
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
    """The filter for who set the policy of this repository, or of its project, from that moment on.

    By the repository's place and name alone, as its project goes by an id and by a number.
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
    """What stands in every address of the repository's images; a domain-scoped project is two parts of a path."""
    project = repository.project.replace(":", "/")
    yield f"/{project}/{repository.name}/"
    if repository.is_gcr_io:
        yield f"{repository.name}/{project}/"
        yield f"{repository.name}:443/{project}/"


def calls_of(operation: str, around: tuple[str, str]) -> str:
    """The filter for entries that hold an operation's id, within that time; whose it is, their structure tells."""
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
    """The text as a string of the language; nothing in it can end the string or begin another clause."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
