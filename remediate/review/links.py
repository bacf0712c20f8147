"""Links to the Google Cloud console, and commands for the same grant.

The pages open a link only when a person clicks it; every part of an address is quoted.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from remediate.entries.denial import Deploy, ResourceKind
from remediate.entries.error_details import troubleshooter_link
from remediate.iam.repository import Repository
from remediate.presentation.equivalents import gcloud_command, terraform_resource
from remediate.records.remediation import Remediation
from remediate.times import parse_time, to_rfc3339

_CONSOLE = "https://console.cloud.google.com"
_LABELS = {
    ResourceKind.SERVICE: ("cloud_run_revision", "service_name"),
    ResourceKind.JOB: ("cloud_run_job", "job_name"),
    ResourceKind.WORKER_POOL: ("cloud_run_worker_pool", "worker_pool_name"),
    ResourceKind.INSTANCE: ("cloud_run_instance", "instance_name"),
}
"""Cloud Run's monitored resources, and the label with the name ("Monitored resource types", Cloud Logging)."""
_DETAILS = {ResourceKind.SERVICE: "run/detail", ResourceKind.JOB: "run/jobs/details"}
_MARGIN = timedelta(seconds=1)  # entry times are stored to the microsecond, and never in the future


def console_links(record: Remediation) -> list[tuple[str, str]]:
    """Names and addresses: log entry, deployed resource, repository, IAM page, Policy Troubleshooter."""
    found = []
    deploy = record.tally.deploys[-1] if record.tally.deploys else None
    if deploy and deploy.project:
        if record.tally.denials:
            found.append(("Log entry", _log_entry_url(record, deploy)))
        if deploy.kind in _DETAILS and deploy.location and deploy.name:
            path = "/".join(quote(part, safe="") for part in (deploy.location, deploy.name))
            found.append(
                (deploy.kind.capitalize(), f"{_CONSOLE}/{_DETAILS[deploy.kind]}/{path}{_project_query(deploy.project)}")
            )
    repository = Repository.parse(record.repository)
    if repository:
        parts = (repository.project, repository.location, repository.name)
        path = "/".join(quote(part, safe="") for part in parts)
        found.append(("Repository", f"{_CONSOLE}/artifacts/docker/{path}{_project_query(repository.project)}"))
        found.append(("IAM of the registry project", f"{_CONSOLE}/iam-admin/iam{_project_query(repository.project)}"))
    if link := troubleshooter_link(record.tally.troubleshooter or ""):
        found.append(("Policy Troubleshooter", link))
    return found


def _log_entry_url(record: Remediation, deploy: Deploy) -> str:
    """The Logs Explorer at the entry of the last denial, by time, resource and severity."""
    seen = parse_time(record.tally.last_seen)
    query = ['protoPayload.serviceName="run.googleapis.com"', "severity>=ERROR"]
    if deploy.kind in _LABELS and deploy.name:
        kind, label = _LABELS[deploy.kind]
        query += [f'resource.type="{kind}"', f'resource.labels.{label}="{deploy.name}"']
    query += [f'timestamp>="{to_rfc3339(seen - _MARGIN)}"', f'timestamp<="{to_rfc3339(seen + _MARGIN)}"']
    text = quote("\n".join(query), safe="")
    cursor = quote(record.tally.last_seen, safe="")
    return f"{_CONSOLE}/logs/query;query={text};cursorTimestamp={cursor}{_project_query(deploy.project)}"


def _project_query(project: str | None) -> str:
    return f"?project={quote(project or '', safe='')}"


def manual_commands(record: Remediation) -> list[tuple[str, str]]:
    """The same grant as gcloud command and as Terraform; none when the repository is invalid."""
    if Repository.parse(record.repository) is None:
        return []
    grant = (record.repository, record.role, record.member)
    return [("gcloud", gcloud_command(*grant)), ("Terraform", terraform_resource(*grant, set()))]
