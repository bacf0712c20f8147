"""Reads an installation's own resources by plain REST, one call a fact: there, not there, or not known.

Nothing is concluded here. A 404 is Absent; a 403, a disabled API or a fault is Unknown, with the right
that was missing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from remediate.cloud.rest import get, post
from remediate.doctor.resources import Absent, Fact, Unknown
from remediate.errors import Missing, TerminalFault, TransientFault

_T = TypeVar("_T")
_GOOGLE = {
    "ARTIFACTREGISTRY": "artifactregistry.googleapis.com",
    "CLOUDRESOURCEMANAGER": "cloudresourcemanager.googleapis.com",
    "CLOUDSCHEDULER": "cloudscheduler.googleapis.com",
    "EVENTARC": "eventarc.googleapis.com",
    "FIRESTORE": "firestore.googleapis.com",
    "IAM": "iam.googleapis.com",
    "IAP": "iap.googleapis.com",
    "LOGGING": "logging.googleapis.com",
    "MONITORING": "monitoring.googleapis.com",
    "PUBSUB": "pubsub.googleapis.com",
    "RUN": "run.googleapis.com",
    "SERVICEUSAGE": "serviceusage.googleapis.com",
}
_CALL = re.compile(r"\b(?:GET|POST) https?://\S+: ")  # how Google's client library leads an error
_ME = '"user:$(gcloud config get-value account)"'  # the shell fills in who asks


class Right(NamedTuple):
    """What reading something needs: the permission, a predefined role that holds it, and where to grant that."""

    permission: str
    role: str
    on: str
    """`projects/P`, `folders/N` or `organizations/N`."""


class GoogleDeployment:
    """Reads for one project. `endpoints` override Google's addresses; `local`: nothing but these is ever called."""

    def __init__(self, project: str, endpoints: Mapping[str, str], timeout: float, *, local: bool, again: str) -> None:
        self._project = project
        self._again = again
        self._endpoints = endpoints
        self._timeout = timeout
        self._local = local
        self._lock = threading.Lock()
        self._silent: dict[str, str] = {}

    def read(
        self, service: str, path: str, kind: type[_T], right: Right, body: dict[str, object] | None = None
    ) -> Fact[_T]:
        """What is at this path of a service, which is asked by GET, or by POST where there is a body."""
        if service in self._silent:  # an API that does not answer is not waited for sixty times
            return Unknown(
                path.partition("?")[0].split("/", 2)[2], self._silent[service], right.permission, self._again
            )
        address = self._endpoints.get(service)
        if address is None and self._local:
            name = f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}"
            why = f"the other endpoints are on this machine, and {name} is not set"
            return Unknown(path, why, right.permission, f"export {name}=http://HOST:PORT/")
        url = (address or f"https://{_GOOGLE[service]}") + path
        name = path.partition("?")[0].split("/", 2)[2]
        try:
            what = get(url, self._timeout, name) if body is None else post(url, body, self._timeout, name)
            return msgspec.json.decode(what, type=kind)
        except Missing:
            return Absent(name)
        except TerminalFault as fault:
            return Unknown(name, _google_said(fault, name), right.permission, self._cure(service, fault, right))
        except TransientFault as fault:
            why = _google_said(fault, name)
            with self._lock:
                self._silent.setdefault(service, why)
            no_credentials = "credentials" in why
            fix = "gcloud auth application-default login" if no_credentials else self._again
            return Unknown(name, why, right.permission, fix)
        except msgspec.MsgspecError as error:
            return Unknown(name, f"the answer is not what it should be: {error}", right.permission, self._again)

    def _cure(self, service: str, fault: TerminalFault, right: Right) -> str:
        if getattr(fault.__cause__, "reason", None) == "SERVICE_DISABLED":
            return f"gcloud services enable {_GOOGLE[service]} --project={self._project}"
        kind, _, own = right.on.partition("/")
        words = {"organizations": "organizations", "folders": "resource-manager folders", "projects": "projects"}[kind]
        return f"gcloud {words} add-iam-policy-binding {own} --member={_ME} --role={right.role}"


def _google_said(fault: Exception, name: str) -> str:
    """The fault's text without the name and address of the call, which is told beside it."""
    return _CALL.sub("", str(fault).removeprefix(f"{name}: "))
