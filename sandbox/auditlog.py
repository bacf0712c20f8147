"""Writes audit log entries for events in the sandbox, in the published shapes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

ACTIVITY, SYSTEM_EVENT = "activity", "system_event"
_AUDIT_LOG = "type.googleapis.com/google.cloud.audit.AuditLog"


def now() -> str:
    """The current time in RFC 3339, as in log entries."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def entry(project: str, log: str, severity: str, resource: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    """One log entry of a project's audit log."""
    moment = now()
    return {
        "protoPayload": {"@type": _AUDIT_LOG, **payload},
        "insertId": secrets.token_hex(6),
        "resource": resource,
        "timestamp": moment,
        "severity": severity,
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2F{log}",
        "receiveTimestamp": moment,
    }


def request_metadata(agent: str) -> dict[str, Any]:
    """`requestMetadata` of a call. The IP address is one for documentation (RFC 5737)."""
    attributes = {"time": now(), "auth": {}}
    return {
        "callerIp": "203.0.113.7",
        "callerSuppliedUserAgent": agent,
        "requestAttributes": attributes,
        "destinationAttributes": {},
    }


def authentication(member: str, via: str | None) -> dict[str, Any]:
    """`authenticationInfo` of a member; `via` is the external principal that impersonated the service account."""
    if member.startswith("principal://"):
        return {"principalSubject": member}
    info: dict[str, Any] = {"principalEmail": member.partition(":")[2], "principalSubject": member}
    if via:
        info["serviceAccountDelegationInfo"] = [{"principalSubject": via}]
    return info


def checked(permission: str, resource: str, *, granted: bool) -> dict[str, Any]:
    """One item of `authorizationInfo`. A false `granted` is left out, as Google does."""
    check: dict[str, Any] = {"resource": resource, "permission": permission, "permissionType": "ADMIN_WRITE"}
    return check | ({"granted": True} if granted else {}) | {"resourceAttributes": {}}


def policy_written(
    project: str, location: str, resource: str, caller: str, deltas: list[dict[str, str]], policy: dict[str, Any]
) -> dict[str, Any]:
    """The Admin Activity entry of a SetIamPolicy on a repository."""
    payload = {
        "status": {},
        "authenticationInfo": {"principalEmail": caller},
        "requestMetadata": request_metadata("sandbox"),
        "serviceName": "artifactregistry.googleapis.com",
        "methodName": "google.devtools.artifactregistry.v1.ArtifactRegistry.SetIamPolicy",
        "authorizationInfo": [
            {"resource": resource, "permission": "artifactregistry.repositories.setIamPolicy", "granted": True}
        ],
        "resourceName": resource,
        "serviceData": {
            "@type": "type.googleapis.com/google.iam.v1.logging.AuditData",
            "policyDelta": {"bindingDeltas": deltas},
        },
        "response": {"@type": "type.googleapis.com/google.iam.v1.Policy", **policy},
    }
    labels = {"service": "artifactregistry.googleapis.com", "method": payload["methodName"], "project_id": project}
    made = entry(project, ACTIVITY, "NOTICE", {"type": "audited_resource", "labels": labels}, payload)
    made["protoPayload"]["resourceLocation"] = {"currentLocations": [location]}
    return made
