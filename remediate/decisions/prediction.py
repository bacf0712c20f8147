"""Predicts the next denials of the same deploy, so that one review covers them all.

Cloud Run reports one denial at a time: the deployer before the service agent, and one image after another.
"""

from __future__ import annotations

import msgspec

from remediate.decisions.policy import service_agent_denied_next
from remediate.entries.denial import Denial, IncompleteDenial, Reader
from remediate.iam.member import Member
from remediate.iam.repository import Repository
from remediate.reasons import Reason

_OF_THE_DEPLOY = (Reason.SOURCE_UNKNOWN, Reason.PROJECT_MISMATCH)
"""Doubts about the entry and the project. They apply to every denial of the same deploy."""


def follow_up_denial(denial: Denial, reader: Reader, member: Member, repository: Repository) -> Denial:
    """A denial of the same deploy that follows after the given one is fixed."""
    image = denial.image if repository == denial.repository else None
    doubts = tuple(doubt for doubt in denial.doubts if doubt in _OF_THE_DEPLOY)
    return msgspec.structs.replace(
        denial, reader=reader, member=member, repository=repository, image=image, doubts=doubts, others=()
    )


def predict_denials(denial: Denial) -> list[Denial]:
    """The next denials of this deploy: the service agent's, and both readers' for its images in other repositories."""
    if isinstance(denial, IncompleteDenial) or denial.reader is None:
        return []
    grant, found = denial.grant, list[Denial]()
    for repository in (grant.repository, *denial.others):
        there = msgspec.structs.replace(denial, repository=repository)
        if repository != grant.repository:
            found.append(follow_up_denial(denial, denial.reader, grant.member, repository))
        if agent := service_agent_denied_next(there):
            found.append(follow_up_denial(denial, Reader.SERVICE_AGENT, agent, repository))
    return found
