"""The way of an entry: sinks, topic, triggers, subscriptions, dead letters. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator

from remediate.doctor.codes import Code
from remediate.doctor.finding import APPLY, Finding, command, not_known, unseen
from remediate.doctor.names import Site, policy_words
from remediate.doctor.requirements import PUBLISHING
from remediate.doctor.resources import (
    Absent,
    AllowPolicy,
    Measured,
    ProjectFacts,
    Role,
    Sink,
    Subscription,
    Trigger,
    Unknown,
)
from remediate.doctor.snapshot import Installation
from remediate.entries.log_filter import DENIALS

PUBLISHED, WRITTEN = "google.cloud.pubsub.topic.v1.messagePublished", "google.cloud.audit.log.v1.written"
_ATTEMPTS = "20"
_DEADLINE, _ENOUGH = 60, 120  # seconds that a push may take: too few, and as deployed
_BEHIND = 600  # seconds; Pub/Sub's own longest back-off


def sinks(found: Installation) -> Iterator[Finding]:
    """Each scope's sink is there, takes what the recogniser knows from all below, and leaves it to others too."""
    for scope, sink in found.sinks.items():
        name, flag = f"{found.site.name}-denials", _flag(scope)
        destination = f"pubsub.googleapis.com/{found.site.topic}"
        update = ("gcloud", "logging", "sinks", "update", name, flag)
        match sink:
            case Unknown():
                yield not_known(sink)
            case Absent():
                make = ("gcloud", "logging", "sinks", "create", name, destination, flag, "--include-children")
                yield Finding(
                    Code.SINK_MISSING, f"{scope} has no sink {name}", command(*make, f"--log-filter={DENIALS}")
                )
            case Sink():
                if sink.disabled:
                    yield Finding(
                        Code.SINK_DISABLED, f"{scope}: sink {name} is disabled", command(*update, "--no-disabled")
                    )
                if _words(sink.filter) != _words(DENIALS):
                    what = f"{scope}: the filter of sink {name} is not this version's"
                    yield Finding(Code.SINK_FILTER, what, command(*update, f"--log-filter={DENIALS}"))
                for exclusion in sink.exclusions:
                    if not exclusion.get("disabled"):
                        own = str(exclusion.get("name", ""))
                        what = f"{scope}: sink {name} has the exclusion {own}: {exclusion.get('filter')}"
                        yield Finding(Code.SINK_EXCLUDES, what, command(*update, f"--remove-exclusions={own}"))
                if not sink.include_children:
                    what = f"{scope}: sink {name} does not include children"
                    yield Finding(Code.SINK_CHILDREN, what, command(*update, "--include-children"))
                if sink.intercept_children:
                    what = f"{scope}: sink {name} intercepts"
                    yield Finding(Code.SINK_INTERCEPTS, what, command(*update, "--no-intercept-children"))
                if sink.destination != destination:
                    what = f"{scope}: sink {name} writes to {sink.destination}, not to {destination}"
                    yield Finding(Code.SINK_DESTINATION, what, command(*update[:5], destination, flag))


def publishers(found: Installation) -> Iterator[Finding]:
    """The topic is there; the sinks' writers may publish to it, and nobody else."""
    site = found.site
    if isinstance(found.topic, Unknown):
        yield not_known(found.topic)
    if isinstance(found.topic, Absent):
        create = command("gcloud", "pubsub", "topics", "create", f"{site.name}-denials", f"--project={site.project}")
        yield Finding(Code.TOPIC_MISSING, f"there is no topic {site.topic}", create)
        return
    writers = {sink.writer_identity for sink in found.sinks.values() if isinstance(sink, Sink)}
    every_writer_known = all(isinstance(sink, Sink) for sink in found.sinks.values())
    own = found.policies.get(site.here)
    inherited = own.members_of(*PUBLISHING) if isinstance(own, AllowPolicy) else []
    yield from unseen(found.topic_policy)
    yield from unseen(own)
    if isinstance(found.topic_policy, AllowPolicy):
        bound = found.topic_policy.members_of(*PUBLISHING)
        for writer in sorted(writers - {*bound, *inherited}):
            what = f"{writer}, the sink's writer, may not publish to {site.topic}"
            yield Finding(Code.TOPIC_WRITER, what, _topic(site, "add", writer, "roles/pubsub.publisher"))
        for binding in found.topic_policy.bindings:
            extra = [each for each in binding.members if each not in writers]
            role = found.roles.get(binding.role)
            custom = isinstance(role, Role) and "pubsub.topics.publish" in role.included_permissions
            for member in extra if (binding.role in PUBLISHING or custom) and every_writer_known else ():
                what = f"{member} may publish to {site.topic} ({binding.role}) and is no sink's writer"
                yield Finding(Code.TOPIC_EXTRA_PUBLISHER, what, _topic(site, "remove", member, binding.role))
    for place, policy in found.above.items():
        for binding in policy.bindings:
            for member in binding.members if binding.role in PUBLISHING[:3] else ():
                if member not in writers and not member.startswith("deleted:"):
                    what = f"{member} may publish to every topic of {place} ({binding.role})"
                    words = ("gcloud", *policy_words(place, "remove"))
                    fix = command(*words, f"--member={member}", f"--role={binding.role}")
                    yield Finding(Code.TOPIC_INHERITED_PUBLISHER, what, fix)


def triggers(found: Installation) -> Iterator[Finding]:
    """Each trigger is there and well, listens to the right thing, and calls the receiver as it should."""
    for name, trigger in found.triggers.items():
        match trigger:
            case Unknown():
                yield not_known(trigger)
            case Absent():
                yield Finding(Code.TRIGGER_MISSING, f"there is no trigger {name}", APPLY)
            case Trigger():
                yield from _trigger(found.site, name, trigger)


def _trigger(site: Site, name: str, trigger: Trigger) -> Iterator[Finding]:
    short, receiver = name.rpartition("/")[2], f"{site.name}-receiver"
    where = (short, f"--location={site.region}", f"--project={site.project}")
    update = ("gcloud", "eventarc", "triggers", "update", *where)
    again = f"{command('gcloud', 'eventarc', 'triggers', 'delete', *where)} && {APPLY}"
    wanted = PUBLISHED if site.by_sink else WRITTEN
    if trigger.event_type != wanted:
        what = f"trigger {short} matches {trigger.event_type or 'no type'}, not {wanted}"
        yield Finding(Code.TRIGGER_EVENT, what, again)
    if site.by_sink and trigger.transport.pubsub.topic != site.topic:
        what = f"trigger {short} listens to {trigger.transport.pubsub.topic or 'no topic'}, not to {site.topic}"
        yield Finding(Code.TRIGGER_TOPIC, what, again)
    target = trigger.destination.cloud_run
    if (target.service.rpartition("/")[2], target.region) != (receiver, site.region):
        what = f"trigger {short} calls {target.service or 'nothing'} in {target.region or 'no region'}, not {receiver}"
        to = (f"--destination-run-service={receiver}", f"--destination-run-region={site.region}")
        yield Finding(Code.TRIGGER_DESTINATION, what, command(*update, *to))
    if trigger.service_account != (account := site.account("trigger")):
        what = f"trigger {short} calls as {trigger.service_account or 'nobody'}, not as {account}"
        yield Finding(Code.TRIGGER_IDENTITY, what, command(*update, f"--service-account={account}"))
    for about, condition in trigger.conditions.items():
        if condition.code not in ("", 0, "OK"):
            what = f"trigger {short}: {about}: {condition.message or condition.code}"
            yield Finding(
                Code.TRIGGER_UNHEALTHY, what, command(*("gcloud", "eventarc", "triggers", "describe"), *where)
            )
    if not trigger.transport.pubsub.subscription:
        yield Finding(Code.SUBSCRIPTION_MISSING, f"trigger {short} names no subscription", again)


def subscriptions(found: Installation) -> Iterator[Finding]:
    """What Eventarc made for the triggers is there, delivers in time, and keeps what it cannot deliver."""
    site = found.site
    for name, subscription in found.subscriptions.items():
        short = name.rpartition("/")[2]
        words = ("gcloud", "pubsub", "subscriptions")
        match subscription:
            case Unknown():
                yield not_known(subscription)
            case Absent():
                triggers = " and ".join(each.rpartition("/")[2] for each in _users(found, name))
                where = (f"--location={site.region}", f"--project={site.project}")
                remove = command("gcloud", "eventarc", "triggers", "delete", triggers, *where)
                what = f"there is no subscription {name}, which trigger {triggers} reads"
                yield Finding(Code.SUBSCRIPTION_MISSING, what, f"{remove} && {APPLY}")
            case Subscription():
                if subscription.detached or subscription.state != "ACTIVE":
                    state = "detached" if subscription.detached else subscription.state
                    fix = command(*words, "describe", short, f"--project={site.project}")
                    yield Finding(Code.SUBSCRIPTION_BROKEN, f"subscription {short} is {state}", fix)
                listened = {_trigger_topic(found, each) for each in _users(found, name)} - {""}
                listened = {site.topic} if site.by_sink else listened
                if listened and subscription.topic and subscription.topic not in listened:
                    instead = ", ".join(sorted(listened))
                    what = f"subscription {short} reads {subscription.topic}, and its trigger {instead}"
                    fix = command(*words, "describe", short, f"--project={site.project}")
                    yield Finding(Code.SUBSCRIPTION_BROKEN, what, fix)
                if subscription.ack_deadline_seconds < _DEADLINE:
                    what = f"subscription {short} waits {subscription.ack_deadline_seconds} seconds for an answer"
                    fix = command(*words, "update", short, f"--ack-deadline={_ENOUGH}", f"--project={site.project}")
                    yield Finding(Code.SUBSCRIPTION_IMPATIENT, what, fix)
                policy = subscription.dead_letter_policy
                if policy is None or policy.dead_letter_topic != site.dead_letter_topic:
                    instead = policy.dead_letter_topic if policy else "nowhere"
                    what = f"subscription {short} puts dead letters {instead}, not to {site.dead_letter_topic}"
                    to = (f"--dead-letter-topic={site.dead_letter_topic}", f"--max-delivery-attempts={_ATTEMPTS}")
                    fix = command(*words, "update", short, *to, f"--project={site.project}")
                    yield Finding(Code.SUBSCRIPTION_NO_DEAD_LETTER, what, fix)
                yield from _behind(site, short, found.backlogs.get(name))


def _behind(site: Site, short: str, backlog: Measured | Absent | Unknown | None) -> Iterator[Finding]:
    yield from unseen(backlog)
    if isinstance(backlog, Measured) and (oldest := _newest(backlog)) > _BEHIND:
        what = f"the oldest event in subscription {short} has waited for {oldest / 60:.0f} minutes"
        service = f'resource.labels.service_name="{site.name}-receiver" severity>=ERROR'
        yield Finding(
            Code.SUBSCRIPTION_BEHIND,
            what,
            command("gcloud", "logging", "read", service, "--freshness=1h", f"--project={site.project}"),
        )


def dead_letters(found: Installation) -> Iterator[Finding]:
    """Topic and subscription of dead letters are there, Pub/Sub may use them, and nothing waits in them."""
    site = found.site
    for fact, kind, name in (
        (found.dead_letter_topic, "topic", site.dead_letter_topic),
        (found.dead_letter_subscription, "subscription", site.dead_letter_subscription),
    ):
        if isinstance(fact, Unknown):
            yield not_known(fact)
        elif isinstance(fact, Subscription) and (fact.detached or fact.topic not in ("", site.dead_letter_topic)):
            what = f"{name} reads {'nothing, as it is detached' if fact.detached else fact.topic}"
            remove = command(
                "gcloud", "pubsub", "subscriptions", "delete", name.rpartition("/")[2], f"--project={site.project}"
            )
            yield Finding(Code.DEAD_LETTER_MISSING, f"{what}: dead letters are kept nowhere", f"{remove} && {APPLY}")
        elif isinstance(fact, Absent):
            topic = (f"--topic={site.name}-dead-letters",) if kind == "subscription" else ()
            words = ("gcloud", "pubsub", f"{kind}s", "create", f"{site.name}-dead-letters", *topic)
            fix = command(*words, f"--project={site.project}")
            yield Finding(Code.DEAD_LETTER_MISSING, f"there is no {kind} {name}", fix)
    yield from _dead_letter_rights(found)
    yield from unseen(found.dead_letters)
    if isinstance(found.dead_letters, Measured) and (waiting := _newest(found.dead_letters)):
        what = f"{waiting:.0f} dead letters wait in {site.dead_letter_subscription}"
        fix = command("gcloud", "pubsub", "subscriptions", "pull", f"{site.name}-dead-letters", "--limit=10")
        yield Finding(Code.DEAD_LETTERS_WAITING, what, f"{fix} {command(f'--project={site.project}')}")


def _dead_letter_rights(found: Installation) -> Iterator[Finding]:
    """Pub/Sub moves dead letters as its own service agent ("Handle message failures")."""
    yield from unseen(found.project)
    if not isinstance(found.project, ProjectFacts):
        return
    site, agent = found.site, f"serviceAccount:service-{found.project.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    asked = [("topics", f"{site.name}-dead-letters", "publisher", found.dead_letter_policy)]
    named = ((name.rpartition("/")[2], policy) for name, policy in found.subscription_policies.items())
    asked += [("subscriptions", short, "subscriber", policy) for short, policy in named]
    for kind, short, right, policy in asked:
        if isinstance(policy, Unknown):
            yield not_known(policy)
        elif isinstance(policy, AllowPolicy):
            enough = (f"roles/pubsub.{right}", "roles/pubsub.editor", "roles/pubsub.admin")
            if agent not in policy.members_of(*enough) and not _holds_above(found, agent, enough):
                what = f"{agent} is no {right} of {kind[:-1]} {short}"
                words = ("gcloud", "pubsub", kind, "add-iam-policy-binding", short, f"--project={site.project}")
                fix = command(*words, f"--member={agent}", f"--role=roles/pubsub.{right}")
                yield Finding(Code.DEAD_LETTER_RIGHT, what, fix)


def _holds_above(found: Installation, member: str, roles: tuple[str, ...]) -> bool:
    known = (policy for policy in found.policies.values() if isinstance(policy, AllowPolicy))
    return any(member in policy.members_of(*roles) for policy in known)


def _trigger_topic(found: Installation, name: str) -> str:
    trigger = found.triggers[name]
    return trigger.transport.pubsub.topic if isinstance(trigger, Trigger) else ""


def _users(found: Installation, subscription: str) -> list[str]:
    """The triggers that read this subscription."""
    known = {name: each for name, each in found.triggers.items() if isinstance(each, Trigger)}
    return [name for name, each in known.items() if each.transport.pubsub.subscription == subscription]


def _topic(site: Site, verb: str, member: str, role: str) -> str:
    words = ("gcloud", "pubsub", "topics", f"{verb}-iam-policy-binding", f"{site.name}-denials")
    return command(*words, f"--member={member}", f"--role={role}", f"--project={site.project}")


def _flag(scope: str) -> str:
    kind, _, own = scope.partition("/")
    return f"--{kind.removesuffix('s')}={own}"


def _newest(measured: Measured) -> float:
    """The newest value of each series, together; no series is nothing measured."""
    return sum(series.points[0].number for series in measured.time_series if series.points)


def _words(text: str) -> list[str]:
    """A filter without its layout: line breaks and spaces do not change what it selects."""
    return text.split()
