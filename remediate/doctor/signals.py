"""APIs that are on, and how much of their quotas is left. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator

from remediate.doctor.codes import Code
from remediate.doctor.expected import APIS
from remediate.doctor.facts import Fact, Measured, ServicesUsed, TimeSeries
from remediate.doctor.finding import Finding, command, unseen
from remediate.doctor.installation import Installation

_FULL = 0.8  # of a quota; beyond that the next burst is refused
_LIMITS = {
    "logging.googleapis.com/read_requests": 60.0,
    "artifactregistry.googleapis.com/project_region_requests": 60_000.0,
}
"""What Google gives a minute unless more was asked for ("Quotas and limits" of Logging and of Artifact Registry)."""


def apis(found: Installation) -> Iterator[Finding]:
    """Every API that the service calls is enabled in its project."""
    yield from unseen(found.apis)
    if isinstance(found.apis, ServicesUsed):
        for api in APIS:
            if not found.apis.enabled(api):
                fix = command("gcloud", "services", "enable", api, f"--project={found.site.project}")
                yield Finding(Code.API_DISABLED, f"{api} is not enabled in {found.site.project}", fix)


def quotas(found: Installation) -> Iterator[Finding]:
    """In the last hour no minute used up nearly all of a quota."""
    for metric, used in found.quota_used.items():
        yield from unseen(used)
        if isinstance(used, Measured):
            limit = _limit(found.quota_limits.get(metric)) or _LIMITS.get(metric, 0.0)
            most = max((point.number for series in used.time_series for point in series.points), default=0.0)
            if limit and most >= _FULL * limit:
                what = f"{metric}: {most:.0f} in one minute of the last hour, of {limit:.0f}"
                service = metric.partition("/")[0]
                words = ("gcloud", "alpha", "services", "quota", "list", f"--service={service}")
                fix = command(*words, f"--consumer=projects/{found.site.project}")
                yield Finding(Code.QUOTA_LOW, what, fix)


def _limit(measured: Fact[Measured] | None) -> float | None:
    """The smallest limit a minute that is in force; daily limits say so in their names."""
    series = measured.time_series if isinstance(measured, Measured) else ()
    known = [each.points[0].number for each in series if each.points and _by_minute(each)]
    return min((each for each in known if each > 0), default=None)


def _by_minute(series: TimeSeries) -> bool:
    name = series.metric.labels.get("limit_name", "").lower()
    return "day" not in name and "month" not in name
