"""Turns a member into whether it belongs to our organization, and into what lies above it; unknown is None.

An identity belongs to the organization of the project that it lives in (a service account's, a workload identity
pool's), or to the organization that owns its domain or workforce pool, which the settings name. Source: "Principal
identifiers" and "Service account types" (IAM).
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
# Anybody may call an account of theirs `service-123`, so the domain has to be one of Google's own, by its whole name.
# Source: "Service agents" (IAM), of which these deploy, build or run. Another one is not known to be the project's.
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
    """Where an identity lives: whether inside our organization, and what lies above it, nearest first."""

    inside: bool | None = None
    ancestors: tuple[str, ...] | None = None

    def with_other(self, other: Home) -> Home:
        """This home, as far inside as the less certain of both."""
        both = (self.inside, other.inside)
        return Home(False if False in both else None if None in both else True, self.ancestors)


class HomeNames(msgspec.Struct, frozen=True):
    """What the settings name as ours: domains of people, and workforce pools. Empty: nothing is known."""

    domains: tuple[str, ...] = ()
    workforce_pools: tuple[str, ...] = ()


def home_project(member: Member) -> str | None:
    """The project (id or number) that a service account, a Google-managed account or a workload's pool lives in."""
    if match := _POOL_OF.match(member.id) or _GOOGLES.match(member.id):
        return next(number for number in match.groups() if number)
    return member.project


def home_by_name(member: Member, home_names: HomeNames, organization: str | None) -> Home:
    """Where an identity that lives in no project is at home, as far as its name and the settings tell."""
    if match := _AGENT_OF.match(member.id):
        inside = None if organization is None else match[1] == organization
        return Home(inside, (f"organizations/{match[1]}",))
    if match := _WORKFORCE.match(member.id):
        return Home(match[1] in home_names.workforce_pools if home_names.workforce_pools else None)
    if member.kind is MemberKind.USER:
        return Home(member.domain in home_names.domains if home_names.domains else None)
    return Home()


def home_offline(home_names: HomeNames) -> Callable[[Member, Deploy], bool | None]:
    """What an export alone tells: what lives in the deploying project is inside; of other projects nothing is known."""

    def inside(member: Member, deploy: Deploy) -> bool | None:
        project = home_project(member)
        if project is not None:
            return True if project in (deploy.project, deploy.number) else None
        return home_by_name(member, home_names, None).inside

    return inside
