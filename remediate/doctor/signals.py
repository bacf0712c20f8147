"""Checks of the APIs that have to be enabled, and of their quotas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from remediate.doctor.codes import Code
from remediate.doctor.environment import environment
from remediate.doctor.finding import Finding, report_unavailable
from remediate.doctor.installation import APIS, CONDITIONAL_APIS
from remediate.doctor.names import QUOTA_APIS, command
from remediate.doctor.resources import ApiStates, Measurements, TimeSeries
from remediate.doctor.snapshot import Snapshot

_FULL = 0.8  # of a quota; beyond that the next burst is refused
_LIMITS = {"logging.googleapis.com/read_requests": 60.0}
"""Google's default limit a minute ("Quotas and limits", Cloud Logging), where none is measured."""

_Quota = tuple[str, str]  # its metric, and the location that it is counted in, if any


def apis(facts: Snapshot) -> Iterator[Finding]:
    """The project has every API enabled that the service calls."""
    states = facts.get(ApiStates, facts.names.project_path)
    yield from report_unavailable(states)
    if isinstance(states, ApiStates):
        troubleshooter = environment(facts.receiver).get("REMEDIATE_TROUBLESHOOTER") == "on"
        conditions = {"troubleshooter": troubleshooter, "eventarc": not facts.pushes}
        for api in (*APIS, *(each for each, only in CONDITIONAL_APIS.items() if conditions[only])):
            if not states.is_enabled(api):
                fix = facts.names.gcloud("services", "enable", api)
                yield Finding(Code.API_DISABLED, f"{api} is not enabled in {facts.names.project}", fix)


def quotas(facts: Snapshot) -> Iterator[Finding]:
    """No minute of the last hour nearly used up a quota."""
    for api in QUOTA_APIS:
        used = facts.get(Measurements, f"{api}:rate/net_usage")
        yield from report_unavailable(used)
        limits = _limits(facts.get(Measurements, f"{api}:limit"))
        for (metric, location), most in _peaks(used).items():
            limit = limits.get((metric, location)) or limits.get((metric, "")) or _LIMITS.get(metric, 0.0)
            if limit and most >= _FULL * limit:
                place = f" in {location}" if location else ""
                what = f"{metric}: {most:.0f} in one minute of the last hour{place}, of {limit:.0f}"
                words = ("gcloud", "alpha", "services", "quota", "list", f"--service={api}")
                yield Finding(Code.QUOTA_LOW, what, command(*words, f"--consumer=projects/{facts.names.project}"))


def _peaks(used: object) -> dict[_Quota, float]:
    """The highest use of each quota in one minute, its methods together."""
    minutes: defaultdict[tuple[_Quota, str], float] = defaultdict(float)
    for series in used.time_series if isinstance(used, Measurements) else ():
        for point in series.points:
            minutes[_quota(series), point.interval.get("endTime", "")] += point.number
    peaks: dict[_Quota, float] = {}
    for (quota, _), number in minutes.items():
        peaks[quota] = max(number, peaks.get(quota, 0.0))
    return peaks


def _limits(measured: object) -> dict[_Quota, float]:
    """The smallest limit a minute of each quota; the names of other limits say `day` or `month`."""
    limits: dict[_Quota, float] = {}
    for series in measured.time_series if isinstance(measured, Measurements) else ():
        name = series.metric.labels.get("limit_name", "").lower()
        by_minute = "day" not in name and "month" not in name
        if series.points and by_minute and (number := series.points[0].number) > 0:
            limits[_quota(series)] = min(number, limits.get(_quota(series), number))
    return limits


def _quota(series: TimeSeries) -> _Quota:
    location = series.resource.labels.get("location", "")
    return series.metric.labels.get("quota_metric", ""), "" if location == "global" else location
