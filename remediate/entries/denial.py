"""Turns an audit log entry into a Denial (which member could not read which repository), or says why it is not one."""

from __future__ import annotations

import re

import msgspec

from remediate.entries import deploy as deploys
from remediate.entries.authorization import is_authorized
from remediate.entries.denied_image import denied_image
from remediate.entries.deploy import Body
from remediate.entries.deploy import Deploy as Deploy
from remediate.entries.deploy import ResourceKind as ResourceKind
from remediate.entries.error_details import Details, details_of, troubleshooter_link
from remediate.entries.error_text import ImageDenied, read_text
from remediate.entries.error_text import Reader as Reader
from remediate.entries.log_entry import AuditLog, LogEntry, decode
from remediate.entries.source import Log, Source, source_of
from remediate.iam.grant import Grant
from remediate.iam.member import Member, MemberKind, parse_member, run_service_agent
from remediate.iam.repository import Repository
from remediate.reasons import Reason

CLOUD_RUN = "run.googleapis.com"

# 7 for the deployer's call, 9 for a failed revision, 13 in a v2 operation. With any other code a reviewer decides.
_USUAL_CODES = (7, 9, 13)
_ADDRESS = re.compile(r"[^\s@{}<>*\[\]]+@[^\s@{}<>*\[\]]+\Z")  # an address that was not redacted
_WEIGHTY = ("status", "authenticationInfo", "split", "operation", "resourceName", "logName")
_REFUSED = (Reason.PUBLIC_MEMBER, Reason.DELETED_MEMBER, Reason.GROUP_MEMBER)


class EntryId(msgspec.Struct, frozen=True):
    """The identity of a log entry. Cloud Logging's key is log name, insert id and timestamp together."""

    insert_id: str | None = None
    log_name: str | None = None
    timestamp: str | None = None
    """RFC 3339, as written in the entry."""
    split_uid: str | None = None
    """Equal in all parts of a split entry. Source: "Split audit log entries"."""

    @property
    def key(self) -> str | None:
        """Equal for every delivery of one entry, and for every part of a split entry; None if the entry has no id."""
        own = self.split_uid or self.insert_id
        return "\n".join((self.log_name or "", own, self.timestamp or "")) if own else None


class Denial(msgspec.Struct, frozen=True):
    """Cloud Run refused a deploy because `reader` (`member`) could not read `repository`. None means unknown.

    `doubts` lists what is missing or contradictory. A reviewer decides every denial that has doubts.
    """

    entry: EntryId
    deploy: Deploy
    reader: Reader | None
    member: Member | None
    repository: Repository | None
    image: str | None
    deployer: Member | None = None
    """The identity that deployed; equal to `member` if the deployer was denied."""
    doubts: tuple[Reason, ...] = ()
    others: tuple[Repository, ...] = ()
    """The repositories of the deploy's other images. Cloud Run may deny them next."""
    behind: tuple[Member, ...] = ()
    """The other identities of the call: the external identity, and each one that impersonated another."""
    operation: str | None = None
    """The operation id that joins a system event, or the last entry of a call, with the call's own entry."""
    call: EntryId | None = None
    """The call's entry that named the deployer, if the denial's own entry does not."""
    authorized: bool | None = None
    """Whether the caller may deploy here according to `authorizationInfo`; None if it is not recorded."""
    image_confirmed: bool = False
    """Whether text and structure name the same image or repository; False if only one of them names any."""
    repository_number: str | None = None
    """The project number that the entry gives next to the repository project's id. Resource Manager must agree."""
    troubleshooter: str | None = None
    """The Policy Troubleshooter link from the error, with its host and path checked."""

    @property
    def grant(self) -> Grant:
        """The grant that would fix the denial. Raises ValueError for an `IncompleteDenial`."""
        if self.repository is None or self.member is None:
            raise ValueError("an incomplete denial has no grant")
        return Grant(self.repository, self.member)

    @property
    def is_shared(self) -> bool | None:
        """Whether many deploys run as the member. The deploying project's own Cloud Run agent is not shared.

        None if the project's number, and therefore the agent's project, is unknown.
        """
        if self.member is None:
            return None
        agent_of = self.member.run_agent_of if self.reader is Reader.SERVICE_AGENT else None
        if agent_of is None:
            return self.member.is_shared
        return None if self.deploy.number is None else agent_of != self.deploy.number


class IncompleteDenial(Denial, frozen=True):
    """A denial without a member or a repository, so there is nothing to grant yet."""

    @property
    def missing(self) -> tuple[Reason, ...]:
        """The reasons that name the missing parts."""
        lacks_repository = (Reason.REPOSITORY_UNKNOWN,) if self.repository is None else ()
        return (*lacks_repository, Reason.MEMBER_UNKNOWN) if self.member is None else lacks_repository


def as_known(denial: Denial) -> Denial | IncompleteDenial:
    """The same denial, as `Denial` if member and repository are known, otherwise as `IncompleteDenial`."""
    kind = IncompleteDenial if denial.repository is None or denial.member is None else Denial
    return denial if type(denial) is kind else kind(*msgspec.structs.astuple(denial))


class NotADenial(msgspec.Struct, frozen=True):
    """A reader grant cannot fix this entry; `reason` says what the entry is instead."""

    entry: EntryId
    deploy: Deploy | None
    reason: Reason


def understand(entry: LogEntry) -> Denial | IncompleteDenial | NotADenial:
    """The denial that one audit log entry describes, or the reason why it describes none.

    Pure and total: every readable entry gets an answer. Reads text and structure together; a contradiction between
    them becomes a doubt, and nothing is guessed.
    """
    ident = EntryId(entry.insert_id, entry.log_name, entry.timestamp, entry.split.uid if entry.split else None)
    audit = entry.proto_payload
    if audit is None:
        return NotADenial(ident, None, Reason.NOT_AUDIT_LOG)
    if (audit.method_name or "").endswith("SetIamPolicy"):
        return NotADenial(ident, None, Reason.POLICY_CHANGE)
    if audit.service_name != CLOUD_RUN:
        return NotADenial(ident, None, Reason.NOT_CLOUD_RUN if audit.service_name else Reason.NOT_AUDIT_LOG)
    source = source_of(entry.log_name)
    body = deploys.Body.of(audit)
    where = deploys.deploy_of(entry, audit, body, source)
    if entry.log_name is not None and (source is None or not deploys.has_matching_project_label(entry, source)):
        return NotADenial(ident, where, Reason.OTHER_LOG)
    system_event = source.log is Log.SYSTEM_EVENT if source else audit.authentication_info is None
    details = details_of(audit.status)
    said = _what_was_said(audit, body, details, system_event=system_event)
    if isinstance(said, Reason):
        return NotADenial(ident, where, said)
    found = _denial(ident, audit, body, where, said, details, system_event=system_event)
    if isinstance(found, NotADenial):
        return found
    found = _with_field_doubts(found, entry.unusual)
    return as_known(_proved(found, entry, audit, source, deploys.operation(body) if system_event else None))


def _proved(denial: Denial, entry: LogEntry, audit: AuditLog, source: Source | None, noted: str | None) -> Denial:
    """The denial with its operation, and with doubts about the entry's source and caller.

    `noted` is the operation id that Cloud Run writes on a system event's resource.
    """
    where, doubts = denial.deploy, list(denial.doubts)
    if source is None or source.project not in (where.project, where.number):
        doubts.append(Reason.SOURCE_UNKNOWN)
    if deploys.has_project_mismatch(audit, where):
        doubts.append(Reason.PROJECT_MISMATCH)
    allowed, operation = is_authorized(audit, where), None
    if deploys.has_separate_call_entry(entry, source):
        operation = noted or deploys.bare_operation(entry.operation)
        allowed = False if allowed is False else None  # the call's own entry decides
    return msgspec.structs.replace(denial, doubts=tuple(doubts), operation=operation, authorized=allowed)


def _with_field_doubts(denial: Denial, unusual: tuple[str, ...]) -> Denial:
    """A field of an unusual type counts as absent. If that could make a decision more generous, add a doubt."""
    if not any(each.removeprefix("protoPayload.").startswith(_WEIGHTY) for each in unusual):
        return denial
    return msgspec.structs.replace(denial, doubts=(*denial.doubts, Reason.UNUSUAL_FIELD))


def _what_was_said(audit: AuditLog, body: Body, details: Details, *, system_event: bool) -> ImageDenied | Reason:
    """What the status says about an image, or the resource's conditions if the status does not mention images.

    Only a system event's conditions describe this event: a call's response still shows the previous deploy's.
    """
    code = audit.status.code if audit.status else None
    said = read_text(audit.status.message) if audit.status and audit.status.message else None
    if said is None and system_event:
        denied = [each for each in deploys.image_denied_conditions(body) if code or each.own]
        for condition in denied:
            said = said or read_text(condition.message)
        if denied and said is None:
            said = ImageDenied()  # the reason is an image denial, but the wording is unknown: a reviewer decides
    if code and details.reads and said in (None, Reason.OTHER_PERMISSION):
        # The details name the permission that the text omits.
        said = ImageDenied(Reader.DEPLOYER, registry_message_only=True, unusual=True)
    if isinstance(said, ImageDenied) and details.cause:
        return details.cause
    if isinstance(said, ImageDenied) and deploys.is_blocked_by_vpc_service_controls(audit):
        return Reason.VPC_SERVICE_CONTROLS
    if said is None:
        return Reason.OTHER_FAILURE if code else Reason.SUCCEEDED
    if isinstance(said, ImageDenied) and said.is_warning and not code:
        return Reason.WARNING_ONLY
    return said


def _denial(
    ident: EntryId,
    audit: AuditLog,
    body: Body,
    where: Deploy,
    said: ImageDenied,
    details: Details,
    *,
    system_event: bool,
) -> Denial | NotADenial:
    denied = denied_image(body, where, said, details.repositories, split=ident.split_uid is not None)
    if denied.repository is None and denied.doubts == (Reason.NOT_ARTIFACT_REGISTRY,):
        return NotADenial(ident, where, Reason.NOT_ARTIFACT_REGISTRY)
    if said.registry_message_only and system_event:
        said = msgspec.structs.replace(said, reader=None)  # the event has no caller, and the registry names no reader
    doubts = list(denied.doubts)
    if said.unusual:
        doubts.append(Reason.UNUSUAL_WORDING)
    if details.foreign:
        doubts.append(Reason.DETAILS_MISMATCH)
    deployer, deployer_doubts = deployer_of(audit, body)
    member: Member | None = None
    match said.reader:
        case Reader.DEPLOYER:
            member = deployer
            doubts += deployer_doubts
            if member and any(_named(address) not in (None, member.key) for address in said.addresses):
                doubts.append(Reason.MEMBER_MISMATCH)
        case Reader.SERVICE_AGENT:
            member, agent_doubts = _agent(said, where)
            doubts += agent_doubts
        case None:
            doubts.append(Reason.MEMBER_UNKNOWN)
    if said.reader is None:
        doubts.append(Reason.READER_UNKNOWN)
    # A system event may have its failure only in the conditions; a call's own entry has the code of its response.
    code = (audit.status.code if audit.status else None) or 0
    if said.is_warning or code not in ((*_USUAL_CODES, 0) if system_event else _USUAL_CODES):
        doubts.append(Reason.UNUSUAL_STATUS)
    known = tuple(dict.fromkeys(doubts))
    seen = Denial(ident, where, said.reader, member, denied.repository, denied.image, deployer, known, denied.others)
    link = details.troubleshooter or troubleshooter_link(audit.status.message or "" if audit.status else "")
    behind = people_behind(audit, body, deployer)
    return msgspec.structs.replace(
        seen, behind=behind, image_confirmed=denied.confirmed, repository_number=denied.number, troubleshooter=link
    )


def people_behind(audit: AuditLog, body: Body, deployer: Member | None) -> tuple[Member, ...]:
    """Every identity that may have made a deploy: from the entry's call, or from a system event's resource annotations.

    A workforce identity also yields the person whose address is its subject.
    """
    named = behind_of(audit) or _noted(body)
    people = (each.person for each in (*named, deployer) if each)
    return tuple(dict.fromkeys([*named, *(each for each in people if each)]))


def _noted(body: Body) -> tuple[Member, ...]:
    """The possible deployers from a system event's resource annotations, if these name more than one."""
    found = [parse_member(text) for text in deploys.people_in_response(body).values()]
    people = tuple(dict.fromkeys(member for member in found if isinstance(member, Member)))
    return people if len(people) > 1 else ()


def behind_of(audit: AuditLog) -> tuple[Member, ...]:
    """Every identity in the call's authentication: a person may have impersonated the service account that deployed.

    The subject of a workforce pool may be a person's address; any pool counts, because that person may not approve.
    """
    info = audit.authentication_info
    if info is None:
        return ()
    texts = [info.principal_email, info.principal_subject, *_principals(decode(info.service_account_delegation_info))]
    found = (parse_member(text) for text in texts if text)
    members = [member for member in found if isinstance(member, Member)]
    people = [person for member in members if (person := member.person)]
    return tuple(dict.fromkeys([*members, *people]))


def _principals(value: object, depth: int = 6) -> list[str]:
    """The texts under `principalEmail` and `principalSubject` in delegation info, at most `depth` levels deep."""
    if depth == 0:
        return []
    if isinstance(value, list):
        return [text for each in value[:20] for text in _principals(each, depth - 1)]
    if not isinstance(value, dict):
        return []
    own = [value.get(name) for name in ("principalEmail", "principalSubject")]
    inner = [text for each in list(value.values())[:20] for text in _principals(each, depth - 1)]
    return [text for text in own if isinstance(text, str)] + inner


def deployer_of(audit: AuditLog, body: Body) -> tuple[Member | None, list[Reason]]:
    """The caller, with doubts. A system event has no caller, so Cloud Run's annotations on the resource name it."""
    info = audit.authentication_info
    texts = [info.principal_email, info.principal_subject] if info else []
    if not any(texts):
        texts = [deploys.deployer_in_response(body)]
    found = [parse_member(text) for text in texts if text]
    refused = [member for member in found if member in _REFUSED]
    if refused:
        return None, [reason for reason in refused if isinstance(reason, Reason)]
    members = [member for member in found if isinstance(member, Member)]
    if not members:
        return None, [Reason.MEMBER_UNKNOWN]
    first, last = members[0], members[-1]
    if first.key == last.key:
        return first, []
    if last.kind is MemberKind.PRINCIPAL:
        # With impersonation the service account deployed; otherwise the external identity did.
        return (first if first.kind is MemberKind.SERVICE_ACCOUNT else last), []
    return first, [Reason.MEMBER_MISMATCH]


def _named(address: str) -> str | None:
    """The key of the member that an address in a text names; None if it is redacted or no address."""
    member = parse_member(address) if _ADDRESS.match(address) else None
    return member.key if isinstance(member, Member) else None


def _agent(said: ImageDenied, where: Deploy) -> tuple[Member | None, list[Reason]]:
    """The deploying project's Cloud Run service agent, by the text's address; checked against the project's number."""
    named = [parse_member(address) for address in said.addresses if _ADDRESS.match(address)]
    numbers = {member.run_agent_of if isinstance(member, Member) else None for member in named}
    if len(numbers) > 1 or None in numbers:
        return None, [Reason.MEMBER_MISMATCH]
    number = numbers.pop() if numbers else where.number
    if number is None:
        return None, [Reason.PROJECT_NUMBER_UNKNOWN]
    contradicted = where.number not in (None, number)
    return run_service_agent(number), [Reason.MEMBER_MISMATCH] if contradicted else []
