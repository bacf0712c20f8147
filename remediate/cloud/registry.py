"""Artifact Registry by Google's client: descriptions of repositories, their policies, and the one policy write."""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from remediate.cloud.client import client_options, translate_errors, with_retries
from remediate.cloud.interface import PolicyChange, RepositoryDescription
from remediate.decisions.variables import NEWCOMERS
from remediate.errors import TerminalFault, TransientFault
from remediate.iam.allow_policy import (
    AlreadyThere,
    AppendTo,
    Binding,
    BindingChange,
    NewBinding,
    NotThere,
    RemoveFrom,
    change_by_adding,
    edit_to_add,
    edit_to_remove,
)
from remediate.iam.grant import ROLE, Grant
from remediate.iam.member import Member
from remediate.iam.repository import Repository

if TYPE_CHECKING:
    from google.cloud.artifactregistry_v1 import ArtifactRegistryClient
    from google.iam.v1.policy_pb2 import Policy

Edit = AlreadyThere | AppendTo | NewBinding | NotThere | RemoveFrom
_LABEL = "remediate"
"""The label of a repository. With the value `deployers`, its owner opts in to grants to newcomers."""
_POLICY_VERSION = 3  # older versions lose the conditions of bindings between read and write


class GoogleRegistry:
    """A `Registry`. `endpoint` overrides Google's address; `timeout` is in seconds per call."""

    def __init__(self, endpoint: str | None, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._writing: defaultdict[Repository, threading.Lock] = defaultdict(threading.Lock)

    @cached_property
    def _client(self) -> ArtifactRegistryClient:
        from google.cloud.artifactregistry_v1 import ArtifactRegistryClient

        options, credentials = client_options(self._endpoint)
        return ArtifactRegistryClient(transport="rest", credentials=credentials, client_options=options)

    def describe(self, repository: Repository) -> RepositoryDescription | None:
        from google.api_core.exceptions import NotFound

        with translate_errors(f"get {repository}"):
            try:
                found = with_retries(
                    lambda: self._client.get_repository(name=str(repository), timeout=self._timeout, retry=None),
                    self._timeout,
                )
            except NotFound:
                return None
        redirected = self._redirected(repository.project) if repository.is_gcr_io else None
        newcomers = found.labels.get(_LABEL) == NEWCOMERS
        return RepositoryDescription(_name(found.format_), _name(found.mode), redirected, newcomers)

    def _redirected(self, project: str) -> bool | None:
        """Whether gcr.io addresses are redirected to this project ("Transition from Container Registry")."""
        what = f"get projects/{project}/projectSettings"
        name = what.removeprefix("get ")
        with suppress(TerminalFault, TransientFault), translate_errors(what):
            found = with_retries(
                lambda: self._client.get_project_settings(name=name, timeout=self._timeout, retry=None), self._timeout
            )
            state = _name(found.legacy_redirection_state)
            return None if state is None else state != "REDIRECTION_FROM_GCR_IO_DISABLED"
        return None

    def bindings(self, repository: Repository) -> list[Binding]:
        with translate_errors(f"getIamPolicy {repository}"):
            return _bindings(with_retries(lambda: self._policy(repository), self._timeout))

    def has_reader(self, grant: Grant) -> bool:
        return isinstance(edit_to_add(self.bindings(grant.repository), grant.member), AlreadyThere)

    def change_by_adding(self, grant: Grant) -> BindingChange:
        return change_by_adding(self.bindings(grant.repository), grant.member)

    def add_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        return self._change(grant, edit_to_add, request_reason, precondition)

    def remove_reader(self, grant: Grant, *, request_reason: str, precondition: Callable[[], bool]) -> PolicyChange:
        return self._change(grant, edit_to_remove, request_reason, precondition)

    def _change(
        self,
        grant: Grant,
        edit_of: Callable[[list[Binding], Member], Edit],
        request_reason: str,
        precondition: Callable[[], bool],
    ) -> PolicyChange:
        from google.api_core.exceptions import Conflict

        repository, member = grant.repository, grant.member
        perhaps_written = False

        def attempt() -> PolicyChange:
            """One read-modify-write. A retry also recovers from an answer that was lost after the write."""
            nonlocal perhaps_written
            policy = self._policy(repository)
            edit = edit_of(_bindings(policy), member)
            if isinstance(edit, (AlreadyThere, NotThere)) or not precondition():
                return PolicyChange(written=perhaps_written, etag=_etag(policy))
            _apply(policy, edit, member)
            try:
                return PolicyChange(written=True, etag=_etag(self._write(repository, policy, request_reason)))
            except Conflict:
                raise
            except Exception:
                perhaps_written = True
                raise

        # A lock serializes our own threads; the etag detects other writers.
        with translate_errors(f"setIamPolicy {repository}"), self._writing[repository]:
            return with_retries(attempt, self._timeout, conflicts=True)

    def _policy(self, repository: Repository) -> Policy:
        from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest
        from google.iam.v1.options_pb2 import GetPolicyOptions

        options = GetPolicyOptions(requested_policy_version=_POLICY_VERSION)
        request = GetIamPolicyRequest(resource=str(repository), options=options)
        return self._client.get_iam_policy(request=request, timeout=self._timeout, retry=None)

    def _write(self, repository: Repository, policy: Policy, request_reason: str) -> Policy:
        from google.iam.v1.iam_policy_pb2 import SetIamPolicyRequest

        if not policy.etag:
            raise TerminalFault(f"setIamPolicy {repository}: the policy came without an etag, so it is not written")
        request = SetIamPolicyRequest(resource=str(repository), policy=policy)
        metadata = [("x-goog-request-reason", request_reason)]
        return self._client.set_iam_policy(request=request, timeout=self._timeout, retry=None, metadata=metadata)


def _name(value: object) -> str | None:
    """The name of an enum value; None for zero, which means unspecified; the number of a value that is too new."""
    return str(getattr(value, "name", value)) if value else None


def _bindings(policy: Policy) -> list[Binding]:
    return [Binding(each.role, tuple(each.members), each.HasField("condition")) for each in policy.bindings]


def _apply(policy: Policy, edit: AppendTo | NewBinding | RemoveFrom, member: Member) -> None:
    """Applies the edit in place; the rest of the policy stays as it was read."""
    match edit:
        case AppendTo(index):
            policy.bindings[index].members.append(member.id)
        case NewBinding():
            policy.bindings.add(role=ROLE, members=[member.id])
        case RemoveFrom(index, place):
            del policy.bindings[index].members[place]
            if not policy.bindings[index].members:
                del policy.bindings[index]


def _etag(policy: Policy) -> str:
    return base64.b64encode(policy.etag).decode()
