"""Reads an installation's resources by plain REST, one call a fact.

404 gives Absent; 403, a disabled API or a fault gives Unknown, with the missing permission and a command to grant it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from remediate.cloud.rest import get, post
from remediate.decoding import decode_json
from remediate.doctor.resources import Absent, Fact, Unknown
from remediate.errors import BehindPerimeter, Missing, TerminalFault, TransientFault

_T = TypeVar("_T")
_CALL = re.compile(r"\b(?:GET|POST) https?://\S+: ")  # the prefix of an error of Google's client library
_ME = '"user:$(gcloud config get-value account)"'  # the shell fills in the caller


class ReadPermission(NamedTuple):
    """The permission that a read needs, a predefined role that holds it, and where to grant the role."""

    permission: str
    role: str
    on: str
    """`projects/P`, `folders/N` or `organizations/N`."""


class ResourceApi:
    """Reads for one project. `endpoints` override Google's addresses; `local`: only these addresses are called."""

    def __init__(self, project: str, endpoints: Mapping[str, str], timeout: float, *, local: bool, again: str) -> None:
        self._project = project
        self._again = again
        self._endpoints = endpoints
        self._timeout = timeout
        self._local = local
        self._lock = threading.Lock()
        self._silent: dict[str, str] = {}

    def read(
        self, service: str, path: str, kind: type[_T], right: ReadPermission, body: dict[str, object] | None = None
    ) -> Fact[_T]:
        """The resource at this path of a service, by GET, or by POST where there is a body."""
        name = path.partition("?")[0].split("/", 2)[2]
        if service in self._silent:  # do not wait for each query to an API that does not answer
            return Unknown(name, self._silent[service], right.permission, self._again)
        address = self._endpoints.get(service)
        if address is None and self._local:
            variable = f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}"
            why = f"the other endpoints are on this machine, and {variable} is not set"
            return Unknown(name, why, right.permission, f"export {variable}=http://HOST:PORT/")
        url = (address or f"https://{_host(service)}") + path
        try:
            what = get(url, self._timeout, name) if body is None else post(url, body, self._timeout, name)
            return decode_json(what, kind)
        except Missing:
            return Absent(name)
        except TerminalFault as fault:
            return Unknown(name, _google_text(fault, name), right.permission, self._fix(service, fault, right))
        except BehindPerimeter as fault:  # another project of the same API may answer
            return Unknown(name, _google_text(fault, name), right.permission, fault.advice)
        except TransientFault as fault:
            why = _google_text(fault, name)
            with self._lock:
                self._silent.setdefault(service, why)
            fix = "gcloud auth application-default login" if "credentials" in why else self._again
            return Unknown(name, why, right.permission, fix)
        except msgspec.MsgspecError as error:
            return Unknown(name, f"unexpected answer: {error}", right.permission, self._again)

    def _fix(self, service: str, fault: TerminalFault, right: ReadPermission) -> str:
        if getattr(fault.__cause__, "reason", None) == "SERVICE_DISABLED":
            return f"gcloud services enable {_host(service)} --project={self._project}"
        kind, _, own = right.on.partition("/")
        words = {"organizations": "organizations", "folders": "resource-manager folders", "projects": "projects"}[kind]
        return f"gcloud {words} add-iam-policy-binding {own} --member={_ME} --role={right.role}"


def _google_text(fault: Exception, name: str) -> str:
    """The fault's text without the name and address of the call, which the finding names already."""
    return _CALL.sub("", str(fault).removeprefix(f"{name}: "))


def _host(service: str) -> str:
    return f"{service.lower()}.googleapis.com"
