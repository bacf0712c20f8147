"""Decides who may review what: nobody may review their own deploy, and a rule may name its reviewers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from remediate.errors import BadInput, Refused
from remediate.iam.member import Member, parse_member
from remediate.records.remediation import Remediation


class Reviewers(msgspec.Struct, frozen=True):
    """Who may review. `allowed`: keys and domains (empty: anybody). `service`: keys of the service's own accounts."""

    allowed: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    """Keys of the people who may loosen the mode alone, also if they are not reviewers."""

    def switcher(self, actor: str) -> tuple[Member, bool]:
        """The person who switches the mode, and whether they may loosen it alone. Raises as `person` does."""
        person = parse_member(actor)
        if isinstance(person, Member) and person.key in self.operators and person.key not in self.service:
            return person, True
        return self.person(actor), False

    def person(self, actor: str) -> Member:
        """The reviewer. Raises BadInput for an invalid address, Refused for one that may not review at all."""
        person = parse_member(actor)
        if not isinstance(person, Member):
            raise BadInput(f"{actor!r} cannot review: expected the address of a user or service account")
        if person.key in self.service:
            raise Refused(f"{person.id} is the service itself; another reviewer must decide")
        if self.allowed and not {person.key, person.domain} & set(self.allowed):
            raise Refused(f"{person.id} is not a reviewer", advice="REMEDIATE_REVIEWERS lists the reviewers.")
        return person

    def among(self, allowed: Sequence[str], approver: str) -> bool:
        """Whether a rule with these reviewers (empty: anybody) lets this approver review."""
        person = parse_member(approver)
        return not allowed or (isinstance(person, Member) and bool({person.key, person.domain} & {*allowed}))

    def of(
        self,
        record: Remediation,
        actor: str,
        *,
        about_own: bool = False,
        cleared: Callable[[Member], bool] = lambda _: False,
    ) -> Member:
        """The reviewer of this record. Raises Refused if they would review their own deploy.

        `cleared` says whether the log has none of the entries that name this person as deployer.
        """
        person = self.person(actor)
        if not about_own:
            deployers = {Member(text).key for text in record.names.deployers}
            if person.key == Member(record.member).key or (person.key in deployers and not cleared(person)):
                raise own_deploy(record, person)
            if record.names.crowded:
                raise Refused(
                    f"{record.id} names too many deployers, and the service could not read the log to check them",
                    advice="Give the service the role to read the log. After this proposal expires, the next denial"
                    " opens one that you can review.",
                )
        if not self.among(record.terms.reviewers, person.id):
            allowed = ", ".join(record.terms.reviewers)
            raise Refused(f"{person.id} may not review {record.id}: rule {record.terms.rule!r} allows only {allowed}")
        return person


def own_deploy(record: Remediation, person: Member) -> Refused:
    """The error for a reviewer who would review their own deploy."""
    return Refused(
        f"{person.id} may not review {record.id}: it is about their own deploy",
        advice="A reviewer who is neither the member nor the deployer must decide.",
    )
