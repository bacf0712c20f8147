"""APIs that are on, and how much of their quotas is left. Facts in, findings out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from remediate.doctor.codes import Code
from remediate.doctor.environment import environment
from remediate.doctor.finding import Finding, command, unseen
from remediate.doctor.installation import APIS, CONDITIONAL_APIS
from remediate.doctor.resources import Fact, Measured, Service, ServicesUsed, TimeSeries
from remediate.doctor.snapshot import Installation

_FULL = 0.8  # of a quota; beyond that the next burst is refused
_LIMITS = {"logging.googleapis.com/read_requests": 60.0}
"""What Google gives a minute unless more was asked for ("Quotas and limits", Cloud Logging), where none is measured."""

_Quota = tuple[str, str]  # its metric, and the location that it is counted in, if any


def apis(found: Installation) -> Iterator[Finding]:
    """Every API that the service calls is enabled in its project."""
    yield from unseen(found.apis)
    if isinstance(found.apis, ServicesUsed):
        for api in (*APIS, *(api for api, only in CONDITIONAL_APIS.items() if _holds(found, only))):
            if not found.apis.enabled(api):
                fix = command("gcloud", "services", "enable", api, f"--project={found.site.project}")
                yield Finding(Code.API_DISABLED, f"{api} is not enabled in {found.site.project}", fix)


def _holds(found: Installation, only: str) -> bool:
    """Whether the condition of an API holds: the deployed receiver asks Policy Troubleshooter."""
    said = environment(found.receiver) if isinstance(found.receiver, Service) else {}
    return said.get({"troubleshooter": "REMEDIATE_TROUBLESHOOTER"}[only]) == "on"


def quotas(found: Installation) -> Iterator[Finding]:
    """In the last hour no minute used up nearly all of a quota."""
    for service, used in found.quota_used.items():
        yield from unseen(used)
        limits = _limits(found.quota_limits.get(service))
        for (metric, location), most in _most(used).items() if isinstance(used, Measured) else ():
            limit = limits.get((metric, location)) or limits.get((metric, "")) or _LIMITS.get(metric, 0.0)
            if limit and most >= _FULL * limit:
                place = f" in {location}" if location else ""
                what = f"{metric}: {most:.0f} in one minute of the last hour{place}, of {limit:.0f}"
                words = ("gcloud", "alpha", "services", "quota", "list", f"--service={service}")
                yield Finding(Code.QUOTA_LOW, what, command(*words, f"--consumer=projects/{found.site.project}"))


def _most(used: Measured) -> dict[_Quota, float]:
    """The most that was used of each quota in one minute; each method has a series of its own."""
    minutes: defaultdict[tuple[_Quota, str], float] = defaultdict(float)
    for series in used.time_series:
        for point in series.points:
            minutes[_quota(series), point.interval.get("endTime", "")] += point.number
    most: dict[_Quota, float] = {}
    for (quota, _), number in minutes.items():
        most[quota] = max(number, most.get(quota, 0.0))
    return most


def _limits(measured: Fact[Measured] | None) -> dict[_Quota, float]:
    """The smallest limit a minute of each quota; limits of a day say so in their names."""
    limits: dict[_Quota, float] = {}
    for series in measured.time_series if isinstance(measured, Measured) else ():
        if series.points and _by_minute(series) and (number := series.points[0].number) > 0:
            limits[_quota(series)] = min(number, limits.get(_quota(series), number))
    return limits


def _quota(series: TimeSeries) -> _Quota:
    location = series.resource.labels.get("location", "")
    return series.metric.labels.get("quota_metric", ""), "" if location == "global" else location


def _by_minute(series: TimeSeries) -> bool:
    name = series.metric.labels.get("limit_name", "").lower()
    return "day" not in name and "month" not in name
