"""Resource Manager by Google's client: a project's id, number and organization, remembered for a few minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from remediate.cloud.connection import client_options, retried, translated
from remediate.cloud.interface import Project

if TYPE_CHECKING:
    from google.cloud.resourcemanager_v3 import FoldersClient, ProjectsClient

_REMEMBERED = 300.0  # seconds; a project that moves to another organization is noticed after that
_MOST = 10_000
_DEEPEST = 12  # "Resource hierarchy": folders nest ten levels deep


class GoogleProjects:
    """A `Projects`. `endpoint` overrides Google's address; `timeout` is seconds a call."""

    def __init__(self, endpoint: str | None, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, Project]] = {}

    @cached_property
    def _projects(self) -> ProjectsClient:
        from google.cloud.resourcemanager_v3 import ProjectsClient

        options, credentials = client_options(self._endpoint)
        return ProjectsClient(transport="rest", credentials=credentials, client_options=options)

    @cached_property
    def _folders(self) -> FoldersClient:
        from google.cloud.resourcemanager_v3 import FoldersClient

        options, credentials = client_options(self._endpoint)
        return FoldersClient(transport="rest", credentials=credentials, client_options=options)

    def find(self, project: str) -> Project | None:
        with self._lock:
            remembered = self._found.get(project)
        if remembered and self._monotonic() - remembered[0] < _REMEMBERED:
            return remembered[1]
        with translated(f"get projects/{project}"):
            found = self._look_up(project)
        if found:
            with self._lock:
                if len(self._found) >= _MOST:
                    self._found.clear()
                self._found[project] = (self._monotonic(), found)
        return found

    def _look_up(self, project: str) -> Project | None:
        from google.auth.exceptions import DefaultCredentialsError

        try:
            answer = self._get(self._projects.get_project, f"projects/{project}")
        except DefaultCredentialsError:
            return None  # no credentials at all see nothing, however often they ask
        if answer is None:
            return None
        number = answer.name.partition("/")[2]
        organization, ancestors = self._ancestry(answer.parent)
        return Project(answer.project_id, number, organization, ancestors)

    def _ancestry(self, parent: str) -> tuple[str | msgspec.UnsetType | None, tuple[str, ...]]:
        """The organization, and every folder and organization above, nearest first."""
        ancestors: list[str] = []
        for _ in range(_DEEPEST):
            kind, _, name = parent.partition("/")
            if kind not in ("folders", "organizations"):
                return None, tuple(ancestors)
            ancestors.append(parent)
            if kind == "organizations":
                return name, tuple(ancestors)
            folder = self._get(self._folders.get_folder, parent)
            if folder is None:
                break
            parent = folder.parent
        return msgspec.UNSET, tuple(ancestors)

    def _get(self, get: Callable[..., Any], name: str) -> Any:
        """The resource, or None where Google says 403 or 404; it says 403 for a project that does not exist."""
        from google.api_core.exceptions import Forbidden, NotFound

        try:
            return retried(lambda: get(name=name, timeout=self._timeout, retry=None), self._timeout)
        except (Forbidden, NotFound):
            return None
