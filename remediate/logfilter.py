"""The filter, in the Logging query language, that picks out of all logs what may be a denial: for sink and sweep.

It is made of the recogniser's own words, so that both always look for the same; it may let through a little more (a
text that quotes the words), never less. No backslash stands in it, as how many a filter needs is easily got wrong.
Source: "Logging query language".
"""

from __future__ import annotations

from remediate.denial import ACTIVITY, CLOUD_RUN, SYSTEM_EVENT
from remediate.wording import CONDITION_REASONS, SOUGHT

_LOOSE = [each.replace(r"\s+", ".+").replace(r"\.", ".") for each in SOUGHT]
_TEXTS = " OR ".join(f'protoPayload.status.message=~"(?is){each}"' for each in _LOOSE)
_REASONS = " OR ".join(f'"{each}"' for each in CONDITION_REASONS)

DENIALS = "\n".join(
    (
        f'protoPayload.serviceName="{CLOUD_RUN}"',
        f'(logName:"{ACTIVITY}" OR logName:"{SYSTEM_EVENT}")',
        f"({_TEXTS} OR {_REASONS})",
    )
)
