"""IAM: whether a custom role lets its members download images, cached for a minute; and the predefined roles that do.

Source: `projects.roles.get`, `organizations.roles.get` and `roles.list` (IAM API v1).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from remediate.cloud.rest import get
from remediate.decoding import decode_json
from remediate.errors import TerminalFault, TransientFault
from remediate.iam.access import DOWNLOAD
from remediate.timed_cache import TimedCache

_GOOGLE = "https://iam.googleapis.com"
_CUSTOM = re.compile(r"(?:projects|organizations)/[A-Za-z0-9.:-]{1,80}/roles/[A-Za-z0-9_.]{1,64}\Z")
_REMEMBERED = 60.0  # seconds that a role is cached
_MOST = 10_000


class _Role(msgspec.Struct, rename="camel"):
    name: str = ""
    included_permissions: list[str] = []
    deleted: bool = False


class _Roles(msgspec.Struct, rename="camel"):
    roles: list[_Role] = []
    next_page_token: str = ""


class UnknownRoles:
    """For a local Google Cloud without IAM: custom roles are unknown."""

    def holds(self, role: str) -> bool | None:
        """Always None: unknown."""
        del role
        return None


class GoogleRoles:
    """A `Roles`. `endpoint` overrides Google's address; `timeout` is in seconds per call."""

    def __init__(self, endpoint: str | None, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._address = endpoint or _GOOGLE
        self._timeout = timeout
        self._found = TimedCache[str, bool | None](_REMEMBERED, _MOST, monotonic)

    def holds(self, role: str) -> bool | None:
        """Whether a custom role lets its members download images; None if the service may not see the role."""
        if not _CUSTOM.match(role):
            return None
        return self._found.get(role, partial(self._look_up, role))

    def _look_up(self, role: str) -> bool | None:
        try:
            found = decode_json(get(f"{self._address}/v1/{role}", self._timeout, f"get {role}"), _Role)
        except (TerminalFault, TransientFault, msgspec.MsgspecError):
            return None
        return DOWNLOAD in found.included_permissions and not found.deleted

    def predefined_readers(self) -> Iterator[str]:
        """The predefined roles that have the permission now. Raises TransientFault or TerminalFault."""
        token = ""
        while True:
            url = f"{self._address}/v1/roles?view=FULL&pageSize=1000&pageToken={token}"
            page = decode_json(get(url, self._timeout, "list predefined roles"), _Roles)
            yield from (each.name for each in page.roles if DOWNLOAD in each.included_permissions)
            token = page.next_page_token
            if not token:
                return
