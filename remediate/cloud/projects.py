"""Resource Manager by Google's client: projects, their ancestors, policies and tags, cached for a few minutes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from remediate.cloud.client import client_options, is_behind_perimeter, translate_errors, with_retries
from remediate.cloud.interface import Project
from remediate.iam.allow_policy import Binding
from remediate.timed_cache import TimedCache

if TYPE_CHECKING:
    from google.cloud.resourcemanager_v3 import FoldersClient, ProjectsClient

_REMEMBERED = 300.0  # seconds that a project is cached: a move to another organization shows after that
_FRESH = 60.0  # seconds that a policy or a tag is cached
_MOST = 10_000
_T = TypeVar("_T")
_DEEPEST = 12  # "Resource hierarchy": folders nest ten levels deep


class GoogleProjects:
    """A `Projects`. `endpoint` overrides Google's address; `timeout` is in seconds per call."""

    def __init__(self, endpoint: str | None, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._found = TimedCache[str, Project | None](_REMEMBERED, _MOST, monotonic)
        self._policies = TimedCache[str, list[Binding] | None](_FRESH, _MOST, monotonic)
        self._tags = TimedCache[str, frozenset[str] | None](_FRESH, _MOST, monotonic)

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
        with translate_errors(f"get projects/{project}"):
            return self._found.get(
                project,
                partial(self._look_up, project),
                is_good=lambda found: found is not None,
                also=lambda found: (found.id, found.number) if found else (),  # asked for under either
            )

    def list_projects(self, scope: str) -> list[str]:
        """Lists the projects one by one, because each project has its own log.

        Leaves out the projects of Apps Script, of which a Workspace organization may have thousands: none deploys. The
        query `NOT projectId:sys-*` would also leave out `sys-admin`, so the answer is filtered here.
        """
        if scope.startswith("projects/"):
            return [scope]
        above: dict[str, tuple[str, ...]] = {}

        def ancestors(parent: str) -> tuple[str, ...]:
            if parent not in above:
                above[parent] = self._ancestry(parent)[1]
            return above[parent]

        with translate_errors(f"search the projects of {scope}"):
            search = partial(self._projects.search_projects, query="state:ACTIVE", timeout=self._timeout, retry=None)
            found = with_retries(lambda: [each for each in search() if not _is_script(each.project_id)], self._timeout)
            return [f"projects/{each.project_id}" for each in found if scope in ancestors(each.parent)]

    def bindings(self, scope: str) -> list[Binding] | None:
        with translate_errors(f"getIamPolicy {scope}"):
            return self._policies.get(scope, partial(self._bindings, scope))

    def tags(self, project: Project, *, fresh: bool = False) -> frozenset[str] | None:
        if fresh:
            self._tags.forget(project.number)
        with translate_errors(f"list the effective tags of projects/{project.id}"):
            return self._tags.get(project.number, partial(self._effective_tags, project.number))

    def _bindings(self, scope: str) -> list[Binding] | None:
        from google.cloud.resourcemanager_v3 import OrganizationsClient
        from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest
        from google.iam.v1.options_pb2 import GetPolicyOptions

        kind = scope.partition("/")[0]
        if kind == "organizations":
            options, credentials = client_options(self._endpoint)
            client = OrganizationsClient(transport="rest", credentials=credentials, client_options=options)
            call: Callable[..., Any] = client.get_iam_policy
        else:
            call = self._folders.get_iam_policy if kind == "folders" else self._projects.get_iam_policy
        request = GetIamPolicyRequest(resource=scope, options=GetPolicyOptions(requested_policy_version=3))
        policy = self._seen(lambda: call(request=request, timeout=self._timeout, retry=None))
        if policy is None:
            return None
        return [Binding(each.role, tuple(each.members), each.HasField("condition")) for each in policy.bindings]

    def _effective_tags(self, number: str) -> frozenset[str] | None:
        from google.cloud.resourcemanager_v3 import TagBindingsClient

        options, credentials = client_options(self._endpoint)
        client = TagBindingsClient(transport="rest", credentials=credentials, client_options=options)
        parent = f"//cloudresourcemanager.googleapis.com/projects/{number}"
        tags = self._seen(lambda: list(client.list_effective_tags(parent=parent, timeout=self._timeout, retry=None)))
        if tags is None:
            return None
        return frozenset(name for each in tags for name in (each.tag_value, each.namespaced_tag_value))

    def _look_up(self, project: str) -> Project | None:
        from google.auth.exceptions import DefaultCredentialsError

        try:
            answer = self._get(self._projects.get_project, f"projects/{project}")
        except DefaultCredentialsError:
            return None  # without credentials a retry cannot succeed
        if answer is None:
            return None
        number = answer.name.partition("/")[2]
        organization, ancestors = self._ancestry(answer.parent)
        return Project(answer.project_id, number, organization, ancestors)

    def _ancestry(self, parent: str) -> tuple[str | msgspec.UnsetType | None, tuple[str, ...]]:
        """The organization (UNSET if unknown), and the visible folders and organization above, nearest first."""
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
        """The resource; None if it does not exist or the service may not see it."""
        return self._seen(lambda: get(name=name, timeout=self._timeout, retry=None))

    def _seen(self, call: Callable[[], _T]) -> _T | None:
        """The answer; None for a 403 or 404. Google answers 403 for a project that does not exist.

        A project behind a perimeter exists, so that 403 is raised.
        """
        from google.api_core.exceptions import Forbidden, NotFound

        try:
            return with_retries(call, self._timeout)
        except (Forbidden, NotFound) as error:
            if is_behind_perimeter(error):
                raise
            return None


def _is_script(project: str) -> bool:
    """Whether a project belongs to an Apps Script: Google makes one for each script, `sys-` and 26 digits."""
    return re.fullmatch(r"sys-[0-9]{26}", project) is not None
