"""Parses an identity from a log entry into an IAM member, and determines its kind.

Source: "Principal identifiers", "Service account types" and "Agent identities" (IAM).
"""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import unquote

import msgspec

from remediate.iam.repository import is_project, is_project_number
from remediate.reasons import Reason

_MAX_MEMBER = 1024  # characters; a federated subject alone may have 127

_EMAIL = re.compile(
    r"([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64})"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63})\Z"
)
_DOMAIN = re.compile(r"@?((?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63})\Z")
_SERVICE_ACCOUNT_DOMAIN = re.compile(r"(?:.+\.)?gserviceaccount\.com\Z")
# One federated identity. `principalSet://` is a set and never a member here. The pool of a GKE cluster or a fleet is
# named after its project: `my-project.svc.id.goog`, `example.com:my-project.svc.id.goog`.
_FEDERATED = re.compile(
    r"principal://iam\.googleapis\.com/"
    r"(?:projects/[1-9][0-9]{0,18}/locations/global/workloadIdentityPools"
    r"/(?:[a-z][a-z0-9-]{2,62}|[a-z0-9](?:[a-z0-9.:-]{0,100}[a-z0-9])?(?:\.svc)?\.id\.goog)"
    r"|locations/global/workforcePools/(?P<pool>[a-z][a-z0-9-]{2,62}))"
    r"/subject/(?P<subject>[\x21-\x7e]{1,127})\Z"
)
# The identity of an AI agent, in the trust domain of an organization, or of a project without an organization.
_AGENT_IDENTITY = re.compile(
    r"principal://agents\.[a-z0-9-]{1,40}\.(?:org|proj|project)-[1-9][0-9]{0,18}\.system\.id\.goog"
    r"(?:/[A-Za-z0-9][A-Za-z0-9._~:-]{0,99}){1,16}\Z"
)
_RUN_AGENT = re.compile(r"serviceAccount:service-([1-9][0-9]{0,18})@serverless-robot-prod\.iam\.gserviceaccount\.com\Z")
# Accounts that Google creates and manages, and that many callers share: service agents (`service-N@...`), default
# accounts (`N-compute@developer`, `P@appspot`, `N@cloudservices`, `N@cloudbuild`), and accounts in Google's projects.
# An account that a customer creates is in PROJECT.iam, and its name does not begin with a digit.
_MANAGED_NAME = re.compile(r"(?:service-(?:org-|folder-)?|(?:project-)(?=[0-9]{6}))?[0-9]+(?:-[a-z0-9-]+)?\Z")
_MANAGED_DOMAIN = re.compile(r"(?:gcp-sa-[a-z0-9-]+|(?:.+\.)?google\.com)\.iam\.gserviceaccount\.com\Z")
_NEVER = {
    "allusers": Reason.PUBLIC_MEMBER,
    "allauthenticatedusers": Reason.PUBLIC_MEMBER,
    "deleted:": Reason.DELETED_MEMBER,
    "group:": Reason.GROUP_MEMBER,
    "domain:": Reason.GROUP_MEMBER,
    "principalset:": Reason.GROUP_MEMBER,
}


class MemberKind(StrEnum):
    """The kinds of member that can get a grant. The values are IAM's own prefixes."""

    USER = "user"
    SERVICE_ACCOUNT = "serviceAccount"
    PRINCIPAL = "principal"


class Member(msgspec.Struct, frozen=True, order=True):
    """One identity as in an allow policy, `serviceAccount:a@p.iam.gserviceaccount.com`; `str()` is that text."""

    id: str

    def __str__(self) -> str:
        return self.id

    @property
    def kind(self) -> MemberKind:
        return MemberKind(self.id.partition(":")[0])

    @property
    def key(self) -> str:
        """Equal for two spellings of one identity: addresses are compared ignoring case."""
        return self.id if self.kind is MemberKind.PRINCIPAL else self.id.casefold()

    @property
    def domain(self) -> str | None:
        """The address's domain, or None for a federated identity."""
        return None if self.kind is MemberKind.PRINCIPAL else self.id.rpartition("@")[2].casefold()

    @property
    def project(self) -> str | None:
        """The project (id or number) of a service account, if its address contains it."""
        if self.kind is not MemberKind.SERVICE_ACCOUNT:
            return None
        local, _, domain = self.id.partition(":")[2].partition("@")
        if domain == "appspot.gserviceaccount.com":
            return local if is_project(local) else None
        if domain == "developer.gserviceaccount.com":
            number = local.removesuffix("-compute")
            return number if is_project_number(number) else None
        name = domain.removesuffix(".iam.gserviceaccount.com")
        if name == domain:
            return None
        first, dot, rest = name.partition(".")
        project = f"{rest}:{first}" if dot else first
        return project if is_project(project) else None

    @property
    def is_shared(self) -> bool:
        """Whether many deploys run as this identity, so that a grant to it affects more than one deployer.

        True for every account that Google manages. `Denial.is_shared` makes an exception for Cloud Run's own agent.
        """
        if self.kind is not MemberKind.SERVICE_ACCOUNT:
            return False
        name, _, domain = self.id.partition(":")[2].casefold().partition("@")
        customers = domain.endswith(".iam.gserviceaccount.com") and not _MANAGED_DOMAIN.match(domain)
        return not customers or _MANAGED_NAME.match(name) is not None

    @property
    def is_agent_identity(self) -> bool:
        """Whether this is the identity of an AI agent."""
        return _AGENT_IDENTITY.match(self.id) is not None

    @property
    def workforce_pool(self) -> str | None:
        """The workforce pool of a federated person; None for every other identity."""
        match = _FEDERATED.match(self.id)
        return match["pool"] if match else None

    @property
    def person(self) -> Member | None:
        """The person whose address is the subject of a workforce pool's identity; None for other identities.

        The owner of a workload identity pool chooses its subjects, so these identify no person, even as an address.
        """
        match = _FEDERATED.match(self.id)
        if match is None or match["pool"] is None:
            return None
        named = parse_member(unquote(match["subject"]))  # a subject may be URL-encoded
        return named if isinstance(named, Member) and named.kind is MemberKind.USER else None

    @property
    def run_agent_of(self) -> str | None:
        """The number of the project whose Cloud Run service agent this is; None for every other identity."""
        match = _RUN_AGENT.match(self.id)
        return match[1] if match else None


def parse_member(text: str) -> Member | Reason:
    """The member that an e-mail address, a prefixed address or a `principal://` subject names.

    Returns a Reason if there is none: `public_member`, `deleted_member` or `group_member` for identities that never
    get a grant, `member_unknown` for any other text.
    """
    if len(text) > _MAX_MEMBER:
        return Reason.MEMBER_UNKNOWN
    for prefix, reason in _NEVER.items():
        if text.casefold().startswith(prefix):
            return reason
    if _FEDERATED.match(text) or _AGENT_IDENTITY.match(text):
        return Member(text)
    prefix, colon, address = text.rpartition(":")
    match = _EMAIL.match(address)
    if not match or ".." in address:
        return Reason.MEMBER_UNKNOWN
    is_service_account = _SERVICE_ACCOUNT_DOMAIN.match(match[2].lower())
    kind = MemberKind.SERVICE_ACCOUNT if is_service_account else MemberKind.USER
    if colon and prefix != kind:
        return Reason.MEMBER_UNKNOWN
    return Member(f"{kind}:{address}")


def reviewer_key(text: str) -> str | None:
    """An address's key, or a domain in lower case (without a leading @); None for any other text."""
    member = parse_member(text)
    if isinstance(member, Member):
        return member.key
    match = _DOMAIN.match(text)
    return match[1].casefold() if match else None


def run_service_agent(project_number: str) -> Member:
    """The Cloud Run service agent of the project with this number. Raises ValueError if it is not a number."""
    if not is_project_number(project_number):
        raise ValueError(f"not a project number: {project_number!r}")
    return Member(f"serviceAccount:service-{project_number}@serverless-robot-prod.iam.gserviceaccount.com")
