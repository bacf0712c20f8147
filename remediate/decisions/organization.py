"""Determines whether a member belongs to our organization, and the ancestors of its project; None means unknown.

A service account or a workload identity pool belongs to the organization of its project. A person belongs to the
organization that owns the domain or workforce pool; the settings list ours. Source: "Principal identifiers" and
"Service account types" (IAM).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from remediate.entries.denial import Deploy
from remediate.iam.member import Member, MemberKind

_POOL_OF = re.compile(r"principal://iam\.googleapis\.com/projects/([1-9][0-9]{0,18})/locations/global/")
_WORKFORCE = re.compile(r"principal://iam\.googleapis\.com/locations/global/workforcePools/([^/]+)/subject/")
_AGENT_OF = re.compile(r"principal://agents\.global\.org-([1-9][0-9]{0,18})\.system\.id\.goog/")
# Anyone can name an account `service-123`, so the domain must be exactly one of Google's. Source: "Service agents"
# (IAM); these deploy, build or run. The project of any other agent is unknown.
_AGENTS = (
    "cloudcomposer-accounts|compute-system|container-engine-robot|containerregistry|dataflow-service-producer-prod"
    "|gcf-admin-robot|serverless-robot-prod|gcp-sa-(?:aiplatform|aiplatform-cc|artifactregistry|cloudbuild|clouddeploy"
    "|cloudscheduler|config|eventarc|firebaseapphosting|krmapihosting|pubsub|workflows|yakima)"
)
_GOOGLES = re.compile(
    r"serviceAccount:(?:([1-9][0-9]{0,18})@(?:cloudbuild|cloudservices)"
    rf"|service-([1-9][0-9]{{0,18}})@(?:{_AGENTS})\.iam)\.gserviceaccount\.com\Z",
    re.I,
)


class Home(NamedTuple):
    """Whether an identity is inside our organization, and the ancestors of its project, nearest first."""

    inside: bool | None = None
    ancestors: tuple[str, ...] | None = None

    def with_other(self, other: Home) -> Home:
        """This home, but inside only if both are: False if one is outside, None if one is unknown."""
        both = (self.inside, other.inside)
        return Home(False if False in both else None if None in both else True, self.ancestors)


class HomeNames(msgspec.Struct, frozen=True):
    """Our domains and workforce pools, from the settings. Empty: unknown."""

    domains: tuple[str, ...] = ()
    workforce_pools: tuple[str, ...] = ()


def home_project(member: Member) -> str | None:
    """The project (id or number) of a service account, a Google-managed account or a workload identity pool."""
    if match := _POOL_OF.match(member.id) or _GOOGLES.match(member.id):
        return next(number for number in match.groups() if number)
    return member.project


def home_by_name(member: Member, home_names: HomeNames, organization: str | None) -> Home:
    """The home of an identity without a project, from its name and the settings."""
    if match := _AGENT_OF.match(member.id):
        inside = None if organization is None else match[1] == organization
        return Home(inside, (f"organizations/{match[1]}",))
    if match := _WORKFORCE.match(member.id):
        return Home(match[1] in home_names.workforce_pools if home_names.workforce_pools else None)
    if member.kind is MemberKind.USER:
        return Home(member.domain in home_names.domains if home_names.domains else None)
    return Home()


def home_offline(home_names: HomeNames) -> Callable[[Member, Deploy], bool | None]:
    """A function that says from an export alone whether a member is inside.

    A member of the deploying project is inside; members of other projects are unknown (None).
    """

    def inside(member: Member, deploy: Deploy) -> bool | None:
        project = home_project(member)
        if project is not None:
            return True if project in (deploy.project, deploy.number) else None
        return home_by_name(member, home_names, None).inside

    return inside
