"""Checks of the log view that entries are read back from: its bucket, the sinks that fill it, and who may read it."""

from __future__ import annotations

from collections.abc import Iterator

from remediate.doctor import resources as gcp
from remediate.doctor.codes import Code
from remediate.doctor.finding import APPLY, Finding, report_missing, report_unavailable, report_unknown
from remediate.doctor.names import command
from remediate.doctor.requirements import DECIDES
from remediate.doctor.resources import AllowPolicy, bindings, grants
from remediate.doctor.snapshot import Snapshot
from remediate.entries.log_filter import DENIALS

ACCESS, WRITING = "roles/logging.viewAccessor", "roles/logging.bucketWriter"


def checks(facts: Snapshot) -> Iterator[Finding]:
    """The view and its bucket exist, each scope's sink fills it, and only those who decide can read it."""
    view, bucket = facts.log_view, facts.log_view.partition("/views/")[0]
    found, kept = facts.get(gcp.LogView, view), facts.get(gcp.LogBucket, bucket)
    yield from report_missing(kept, Finding(Code.LOG_VIEW_MISSING, f"log bucket {bucket} does not exist", APPLY))
    yield from report_missing(found, Finding(Code.LOG_VIEW_MISSING, f"log view {view} does not exist", APPLY))
    if isinstance(kept, gcp.LogBucket) and kept.lifecycle_state != "ACTIVE":
        fix = _in_bucket("buckets", "undelete", bucket)
        yield Finding(Code.LOG_VIEW_MISSING, f"log bucket {bucket} is {kept.lifecycle_state}", fix)
    if isinstance(found, gcp.LogView) and found.filter:
        fix = _in_bucket("views", "update", view, "--log-filter=")
        yield Finding(Code.LOG_VIEW_UNFED, f"log view {view} shows only {found.filter}", fix)
    for scope in facts.names.watched_scopes:
        yield from _sink(facts, scope, bucket)
    yield from _readers(facts, view)


def _sink(facts: Snapshot, scope: str, bucket: str) -> Iterator[Finding]:
    """The sink exists, selects this version's denials in all projects below, and can write to the bucket."""
    resource, destination = facts.names.view_sink(scope), f"logging.googleapis.com/{bucket}"
    sink, name, own = facts.get(gcp.LogSink, resource), resource.rpartition("/")[2], facts.names.project_path
    flag = f"--{scope.partition('s/')[0]}={scope.rpartition('/')[2]}"

    def fix(verb: str, *change: str) -> str:
        return command("gcloud", "logging", "sinks", verb, name, *change[:1], flag, *change[1:])

    selects = f"--log-filter={DENIALS}"
    create = fix("create", destination, "--include-children", selects)
    yield from report_missing(sink, Finding(Code.LOG_VIEW_UNFED, f"{scope} has no sink {name}", create))
    if not isinstance(sink, gcp.LogSink):
        return
    wrong = (
        (sink.disabled, "is disabled", fix("update", "--no-disabled")),
        (sink.filter.split() != DENIALS.split(), "has a filter of another version", fix("update", selects)),
        (any(not each.get("disabled") for each in sink.exclusions), "has an exclusion", fix("describe")),
        (not sink.include_children, "does not include children", fix("update", "--include-children")),
        (sink.intercept_children, "intercepts entries", fix("update", "--no-intercept-children")),
        (sink.destination != destination, f"writes to {sink.destination}", fix("update", destination)),
    )
    for is_wrong, what, change in wrong:
        if is_wrong:
            yield Finding(Code.LOG_VIEW_UNFED, f"{scope}: sink {name} {what}", change)
    policy = facts.get(AllowPolicy, own)
    yield from report_unavailable(policy)
    end = f"locations/{bucket.partition('/locations/')[2]}"
    may = any(
        each.role == WRITING
        and sink.writer_identity in each.members
        and (not each.condition or f'"{end}"' in each.condition.get("expression", ""))
        for each in bindings(policy)
    )
    if isinstance(policy, AllowPolicy) and not may:
        condition = f'--condition=^;^title=the denials alone;expression=resource.name.endsWith("{end}")'
        grant = facts.names.change_binding("add", own, sink.writer_identity, WRITING, condition)
        what = f"{sink.writer_identity}, the writer of {name}, cannot write to {bucket}"
        yield Finding(Code.LOG_VIEW_UNFED, what, grant)


def _readers(facts: Snapshot, view: str) -> Iterator[Finding]:
    policy, deciding = facts.get(AllowPolicy, view), [facts.names.member(task) for task in DECIDES]
    yield from report_unknown(policy)
    own = [(view, *each) for each in grants(policy, ACCESS)]
    above = [
        (place, each.role, member)
        for place, inherited in facts.inherited_policies.items()
        for each in bindings(inherited)
        if each.role == ACCESS and not each.condition
        for member in each.members
    ]
    read = {member for _, _, member in (*own, *above)}
    for member in deciding if isinstance(policy, AllowPolicy) else ():
        if member not in read:
            fix = facts.names.change_binding("add", view, member, ACCESS)
            yield Finding(Code.LOG_VIEW_RIGHT, f"{member} cannot read {view}", fix)
    for place, role, member in (*own, *above):
        if member not in deciding:
            fix = facts.names.change_binding("remove", place, member, role)
            yield Finding(Code.LOG_VIEW_EXTRA_READER, f"{member} can read {view} ({role} on {place})", fix)


def _in_bucket(kind: str, verb: str, resource: str, *change: str) -> str:
    place, _, rest = resource.partition("/buckets/")
    bucket, _, view = rest.partition("/views/")
    named = (view, f"--bucket={bucket}") if view else (bucket,)
    project, location = place.split("/")[1], place.rpartition("/")[2]
    where = (f"--location={location}", f"--project={project}")
    return command("gcloud", "logging", kind, verb, *named, *where, *change)
