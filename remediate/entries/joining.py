"""Completes a denial with data from elsewhere: its operation's call, and its project in Resource Manager.

A system event and the last entry of a v2 operation name no caller. The call's own entry does, with every impersonating
identity and with the permissions that IAM checked.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from remediate.entries import deploy as deploys
from remediate.entries.authorization import is_authorized
from remediate.entries.denial import CLOUD_RUN, Denial, EntryId, NotADenial, Reader, as_known, behind_of, deployer_of
from remediate.entries.deploy import Body
from remediate.entries.log_entry import AuditLog, LogEntry
from remediate.entries.source import Log, source_of
from remediate.iam.member import Member, run_service_agent
from remediate.reasons import Reason

_NOTED = b"run.googleapis.com/operation-id"


class Call(msgspec.Struct, frozen=True):
    """A call that started an operation, and its caller, from the call's own entry in a project's activity log."""

    entry: EntryId
    project: str
    """The project (id or number) in the log's name."""
    operations: tuple[str, ...]
    """The operation ids, from the entry's own field and from Cloud Run's annotation; never from a request."""
    deployer: Member
    behind: tuple[Member, ...]
    authorized: bool | None


def call_of(entry: LogEntry) -> Call | None:
    """The call in an entry; None unless it is in Google's activity log and has one caller and an operation."""
    audit, source = entry.proto_payload, source_of(entry.log_name)
    if audit is None or audit.service_name != CLOUD_RUN or audit.authentication_info is None:
        return None
    if source is None or source.log is not Log.ACTIVITY or not deploys.has_matching_project_label(entry, source):
        return None
    operations = _operations(entry, audit)
    if not operations:
        return None
    deployer, doubts = deployer_of(audit, Body(None, None))
    if deployer is None or doubts:
        return None
    where = deploys.deploy_of(entry, audit, Body(None, None), source)
    ident = EntryId(entry.insert_id, entry.log_name, entry.timestamp, entry.split.uid if entry.split else None)
    return Call(ident, source.project, operations, deployer, behind_of(audit), is_authorized(audit, where))


def _operations(entry: LogEntry, audit: AuditLog) -> tuple[str, ...]:
    noted = None
    if _NOTED in bytes(audit.response):  # decodes only the few responses that can have the annotation
        noted = deploys.operation(Body(None, Body.of(audit).response))
    return tuple(dict.fromkeys(each for each in (deploys.bare_operation(entry.operation), noted) if each))


def join_call(denial: Denial, calls: Iterable[Call]) -> Denial:
    """The denial with the deployer, the identities behind them and their permissions from the same operation's call.

    Only calls in the deploying project's own log count. The caller takes precedence over an annotation; the person in
    the annotation cannot approve either. If the calls name several callers, the deployer stays unknown, and none of
    the callers can approve.
    """
    places = {denial.deploy.project, denial.deploy.number} - {None}
    found = [
        call
        for call in calls
        if denial.operation in call.operations and call.project in places and call.entry != denial.entry
    ]
    if not found:
        return denial
    callers = {call.deployer.key: call.deployer for call in found}
    named = (*denial.behind, *(each for call in found for each in (*call.behind, call.deployer)), denial.deployer)
    behind = tuple(dict.fromkeys(each for each in named if each is not None))
    denial = msgspec.structs.replace(denial, behind=behind)
    if len(callers) != 1:
        return denial
    # Only the first entry has the permissions; the last one may also name the caller.
    best = next((call for call in found if call.authorized is not None), found[0])
    said = {denial.authorized, *(call.authorized for call in found)}
    allowed = False if False in said else True if True in said else None
    denial = msgspec.structs.replace(denial, deployer=best.deployer, call=best.entry, authorized=allowed)
    return _denied(denial, best.deployer) if denial.reader is Reader.DEPLOYER else denial


def _denied(denial: Denial, caller: Member) -> Denial:
    """The denial with the caller as its member. An annotation that names another identity becomes a doubt."""
    doubts = tuple(doubt for doubt in denial.doubts if doubt is not Reason.MEMBER_UNKNOWN)
    if denial.member is not None and denial.member.key != caller.key:
        doubts = tuple(dict.fromkeys((*doubts, Reason.MEMBER_MISMATCH)))
    return as_known(msgspec.structs.replace(denial, member=caller, doubts=doubts))


def resolve_deploying_project(denial: Denial, project: str, number: str) -> Denial | NotADenial:
    """The denial with the deploying project's id and number from Resource Manager.

    `NotADenial` if the log belongs to another project. Any other part with another project or number becomes a doubt.
    """
    deploy, doubts = denial.deploy, list(denial.doubts)
    source = source_of(denial.entry.log_name)
    if source is not None:
        if source.project not in (project, number):
            return NotADenial(denial.entry, deploy, Reason.OTHER_LOG)
        doubts = [doubt for doubt in doubts if doubt is not Reason.SOURCE_UNKNOWN]
    if deploy.project not in (None, project) or deploy.number not in (None, number):
        doubts.append(Reason.PROJECT_MISMATCH)
    member = denial.member
    if denial.reader is Reader.SERVICE_AGENT:
        if member is None and Reason.PROJECT_NUMBER_UNKNOWN in doubts:
            member = run_service_agent(number)
            doubts.remove(Reason.PROJECT_NUMBER_UNKNOWN)
        elif member is not None and member.run_agent_of != number:
            doubts.append(Reason.MEMBER_MISMATCH)
    deploy = msgspec.structs.replace(deploy, project=project, number=number)
    found = msgspec.structs.replace(denial, deploy=deploy, member=member, doubts=tuple(dict.fromkeys(doubts)))
    return as_known(found)
