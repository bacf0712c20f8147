"""The filter, in the Logging query language, that picks out of all logs what may be a denial: for sink and sweep.

It is made of the recogniser's own words, so that both always look for the same; it may let through a little more (a
text that quotes the words), never less. No backslash stands in it, as how many a filter needs is easily got wrong.
Source: "Logging query language".
"""

from __future__ import annotations

from collections.abc import Iterable

from remediate.denial import CLOUD_RUN
from remediate.image import Repository
from remediate.principal import Member
from remediate.source import Log
from remediate.wording import CONDITION_REASONS, SOUGHT


def in_log(which: Log) -> str:
    """The clause for entries of this log alone. `logName:"..."` would mean "contains", and so other logs as well."""
    return f'log_id("{which.value}")'


_LOOSE = [each.replace(r"\s+", ".+").replace(r"\.", ".") for each in SOUGHT]
_TEXTS = " OR ".join(f'protoPayload.status.message=~"(?is){each}"' for each in _LOOSE)
_REASONS = " OR ".join(f'"{each}"' for each in CONDITION_REASONS)

DENIALS = "\n".join(
    (
        f'protoPayload.serviceName="{CLOUD_RUN}"',
        f"({in_log(Log.ACTIVITY)} OR {in_log(Log.SYSTEM_EVENT)})",
        f"({_TEXTS} OR {_REASONS})",
    )
)


def entries_named(names: list[tuple[str, str, str]]) -> str:
    """The filter for these entries, each by log name, insert id and timestamp."""
    times = sorted(timestamp for _, _, timestamp in names)
    return "\n".join(
        (
            f'timestamp>="{times[0]}" timestamp<="{times[-1]}"',
            f"logName=({_any(log_name for log_name, _, _ in names)})",
            f"insertId=({_any(insert_id for _, insert_id, _ in names)})",
        )
    )


def deployed_by(repository: Repository, member: Member, after: str, before: str) -> str:
    """The filter for successful deploys of images of this repository by this member in that time."""
    address = member.id.partition(":")[2]
    image = f"{repository.location}-docker.pkg.dev/{repository.project}/{repository.name}/"
    return "\n".join(
        (
            f'protoPayload.serviceName="{CLOUD_RUN}"',
            in_log(Log.ACTIVITY),
            f'timestamp>="{after}" timestamp<"{before}"',
            f"protoPayload.authenticationInfo.principalEmail={_quoted(address)}",
            "NOT severity>=ERROR",
            _quoted(image),
        )
    )


def calls_of(operation: str, around: tuple[str, str]) -> str:
    """The filter for entries that hold an operation's id, within that time; whose it is, their structure tells."""
    return "\n".join(
        (
            f'protoPayload.serviceName="{CLOUD_RUN}"',
            in_log(Log.ACTIVITY),
            f'timestamp>="{around[0]}" timestamp<="{around[1]}"',
            f"(operation.id:{_quoted(operation)} OR {_quoted(operation)})",
        )
    )


def _any(texts: Iterable[str]) -> str:
    return " OR ".join(_quoted(text) for text in dict.fromkeys(texts))


def _quoted(text: str) -> str:
    """The text as a string of the language; nothing in it can end the string or begin another clause."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
