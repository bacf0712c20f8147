"""Log names that are not those of Google's two audit logs: users' own logs, other kinds of log, and misspelled names."""

from __future__ import annotations

ACTIVITY = "cloudaudit.googleapis.com%2Factivity"
LOGS = "projects/deploy-prj/logs"
FORGED = (
    f"{LOGS}/x%2F{ACTIVITY}",
    f"{LOGS}/xcloudaudit.googleapis.com%2Factivity",
    f"{LOGS}/run.googleapis.com%2F{ACTIVITY}",
    f"{LOGS}/x-{ACTIVITY}",
    f"{LOGS}/{ACTIVITY}.x",
    f"{LOGS}/{ACTIVITY}%2Fx",
    f"{LOGS}/{ACTIVITY}-x",
    f"{LOGS}/{ACTIVITY} ",
    f"{LOGS}/{ACTIVITY}\n",
    f"\n{LOGS}/{ACTIVITY}",
    f" {LOGS}/{ACTIVITY}",
    f"{LOGS}/cloudaudit.googleapis.com%2factivity",
    f"{LOGS}/cloudaudit.googleapis.com%252Factivity",
    f"{LOGS}/cloudaudit.googleapis.com/activity",
    f"{LOGS}/cloudaudit.googleapis.com%2FActivity",
    f"{LOGS}/CLOUDAUDIT.googleapis.com%2Factivity",
    f"{LOGS}/cloudaudit%2Egoogleapis.com%2Factivity",
    f"{LOGS}/cloudauditXgoogleapis.com%2Factivity",
    f"{LOGS}/cloudaudit.googleapis.com%2Fdata_access",
    f"{LOGS}/cloudaudit.googleapis.com%2Fpolicy",
    f"{LOGS}/externalaudit.googleapis.com%2Factivity",
    f"organizations/9/logs/{ACTIVITY}",
    f"folders/9/logs/{ACTIVITY}",
    f"billingAccounts/0-0-0/logs/{ACTIVITY}",
    f"Projects/deploy-prj/logs/{ACTIVITY}",
    f"/{LOGS}/{ACTIVITY}",
    f"//logging.googleapis.com/{LOGS}/{ACTIVITY}",
    f"projects/a/projects/deploy-prj/logs/{ACTIVITY}",
    f"projects//logs/{ACTIVITY}",
    f"projects/Deploy-Prj/logs/{ACTIVITY}",
    f"projects/deploy-prj\n/logs/{ACTIVITY}",
    f"projects/deploy%2Dprj/logs/{ACTIVITY}",
    f"projects/007/logs/{ACTIVITY}",
    f"projects/\u0661\u0662/logs/{ACTIVITY}",
    f"projects/deploy-prj/locations/global/buckets/b/views/v/logs/{ACTIVITY}",
    ACTIVITY,
    "",
)
"""Log names that do not exactly equal those of Google's two audit logs."""
