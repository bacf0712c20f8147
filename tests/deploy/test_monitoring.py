"""The dashboard and the alerts, as the module plans them."""

from __future__ import annotations

import json

import pytest

from tests.deploy.paper import FIVE, SCOPES, Paper, Plan


def test_a_second_plan_of_the_dashboard_is_the_first(plans: dict[tuple[str, str], Plan]) -> None:
    """Google Cloud leaves zeros out of its answer, so the module leaves them out of its question."""
    [board] = plans["organization", "dry-run"].of("google_monitoring_dashboard").values()
    tiles = json.loads(board["dashboard_json"])["mosaicLayout"]["tiles"]
    assert len(tiles) == 8
    assert [(each.get("xPos"), each.get("yPos")) for each in tiles[:4]] == [
        (None, None),
        (24, None),
        (None, 16),
        (24, 16),
    ]
    assert all(each["widget"]["title"] and each["width"] == 24 for each in tiles)


def test_every_query_names_one_kind_of_resource_exactly(plans: dict[tuple[str, str], Plan]) -> None:
    plan = plans["organization", "dry-run"]
    [board] = plan.of("google_monitoring_dashboard").values()
    assert "monitored_resource=~" not in board["dashboard_json"]
    [errors] = [each for name, each in plan.of("google_monitoring_alert_policy").items() if '"errors"' in name]
    [condition] = errors["conditions"]
    query = condition["condition_prometheus_query_language"][0]["query"]
    assert query == (
        '(sum(increase(logging_googleapis_com:user_remediate_errors{monitored_resource="cloud_run_revision"}[15m])) or vector(0))'
        ' + (sum(increase(logging_googleapis_com:user_remediate_errors{monitored_resource="cloud_run_job"}[15m])) or vector(0))'
        " > 10"
    )


def _query(plan: Plan, alert: str) -> str:
    [found] = [each for name, each in plan.of("google_monitoring_alert_policy").items() if f'"{alert}"' in name]
    [condition] = found["conditions"]
    return str(condition["condition_prometheus_query_language"][0]["query"])


def _ended(task: str, more: str = "") -> str:
    resource = f'monitored_resource="cloud_run_job", job_name="remediate-{task}"{more}'
    return f"run_googleapis_com:job_completed_execution_count{{{resource}}}"


@pytest.mark.parametrize(
    ("schedule", "sweep", "due"),
    [
        ({}, "3h", "1h"),
        ({"sweep_schedule": "0 */6 * * *"}, "1d", "1h"),
        ({"due_schedule": "*/30 * * * *"}, "3h", "1d"),
    ],
)
def test_a_sweep_that_never_runs_raises_an_alert(paper: Paper, schedule: dict[str, str], sweep: str, due: str) -> None:
    """A failed run counts as a run here, as it has an alert of its own. Cloud Monitoring looks back at most a day."""
    plan = paper.plan(scope=SCOPES["organization"], **FIVE, **schedule)
    wanted = f"absent_over_time({_ended('sweep')}[{sweep}]) or absent_over_time({_ended('due')}[{due}])"
    assert _query(plan, "sweep-missing") == wanted


def test_a_sweep_of_what_is_due_that_fails_raises_an_alert_if_none_succeeds(plans: dict[tuple[str, str], Plan]) -> None:
    """It runs again in five minutes, so a failure is one of many; the hourly sweep's is not."""

    def count(task: str, result: str) -> str:
        more = f', result="{result}"'
        return f"sum(increase({_ended(task, more)}[2h])) > 0"

    wanted = f"{count('sweep', 'failed')} or ({count('due', 'failed')} unless {count('due', 'succeeded')})"
    assert _query(plans["organization", "dry-run"], "sweep-failed") == wanted
