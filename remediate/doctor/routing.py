"""Checks of event delivery: sinks, topic, triggers, subscriptions, dead letters."""

from __future__ import annotations

from collections.abc import Iterator

from remediate.doctor import resources as gcp
from remediate.doctor.codes import Code
from remediate.doctor.finding import APPLY, Finding, report_missing, report_unavailable, report_unknown
from remediate.doctor.names import command
from remediate.doctor.requirements import PUBLISHING
from remediate.doctor.resources import Absent, AllowPolicy, bindings, grants, members
from remediate.doctor.snapshot import Snapshot
from remediate.entries.log_filter import DENIALS

PUBLISHED, WRITTEN = "google.cloud.pubsub.topic.v1.messagePublished", "google.cloud.audit.log.v1.written"
_ATTEMPTS = "20"
_DEADLINE, _ENOUGH = 60, 120  # seconds that a push may take: too few, and as deployed
_BEHIND = 600  # seconds; Pub/Sub's own longest back-off


def sinks(facts: Snapshot) -> Iterator[Finding]:
    """Each scope's sink exists, selects this version's denials in all projects below, and intercepts nothing."""
    for scope in facts.names.watched_scopes:
        yield from _sink(facts, scope)


def _sink(facts: Snapshot, scope: str) -> Iterator[Finding]:
    sink, name = facts.get(gcp.LogSink, facts.names.sink(scope)), f"{facts.names.name}-denials"
    destination, kind = f"pubsub.googleapis.com/{facts.names.topic}", scope.partition("s/")[0]
    flag, selects = f"--{kind}={scope.rpartition('/')[2]}", f"--log-filter={DENIALS}"
    create = command("gcloud", "logging", "sinks", "create", name, destination, flag, "--include-children", selects)
    yield from report_missing(sink, Finding(Code.SINK_MISSING, f"{scope} has no sink {name}", create))
    if not isinstance(sink, gcp.LogSink):
        return

    def finding(code: Code, what: str, change: str) -> Finding:
        update = command("gcloud", "logging", "sinks", "update", name, flag, change)
        return Finding(code, f"{scope}: sink {name} {what}", update)

    if sink.disabled:
        yield finding(Code.SINK_DISABLED, "is disabled", "--no-disabled")
    if sink.filter.split() != DENIALS.split():  # layout does not change what a filter selects
        yield finding(Code.SINK_FILTER, "has a filter of another version", selects)
    for exclusion in sink.exclusions:
        if not exclusion.get("disabled"):
            own = exclusion.get("name", "")
            what = f"has the exclusion {own}: {exclusion.get('filter')}"
            yield finding(Code.SINK_EXCLUDES, what, f"--remove-exclusions={own}")
    if not sink.include_children:
        yield finding(Code.SINK_CHILDREN, "does not include children", "--include-children")
    if sink.intercept_children:
        yield finding(Code.SINK_INTERCEPTS, "intercepts entries", "--no-intercept-children")
    if sink.destination != destination:
        yield finding(Code.SINK_DESTINATION, f"writes to {sink.destination}, not to {destination}", destination)


def publishers(facts: Snapshot) -> Iterator[Finding]:
    """The topic exists, and only the sinks' writers can publish to it."""
    names, topic = facts.names, facts.names.topic
    create = names.gcloud("pubsub", "topics", "create", f"{names.name}-denials")
    fact = facts.get(gcp.PubSubTopic, topic)
    yield from report_missing(fact, Finding(Code.TOPIC_MISSING, f"topic {topic} does not exist", create))
    if isinstance(fact, Absent):
        return
    all_sinks = [facts.get(gcp.LogSink, names.sink(scope)) for scope in names.watched_scopes]
    writers = {sink.writer_identity for sink in all_sinks if isinstance(sink, gcp.LogSink)}
    policy, own = facts.get(AllowPolicy, topic), facts.get(AllowPolicy, names.project_path)
    yield from report_unavailable(policy)
    yield from report_unavailable(own)
    if isinstance(policy, AllowPolicy):
        for writer in sorted(writers - {*members(policy, *PUBLISHING), *members(own, *PUBLISHING)}):
            fix = names.change_binding("add", topic, writer, "roles/pubsub.publisher")
            yield Finding(Code.TOPIC_WRITER, f"{writer}, the sink's writer, cannot publish to {topic}", fix)
    if all(isinstance(sink, gcp.LogSink) for sink in all_sinks):  # else any member may be a writer
        for binding in bindings(policy):
            role = facts.get(gcp.IamRole, binding.role)
            custom = isinstance(role, gcp.IamRole) and "pubsub.topics.publish" in role.included_permissions
            for member in binding.members if binding.role in PUBLISHING or custom else ():
                if member not in writers:
                    what = f"{member} can publish to {topic} ({binding.role}) and is no sink's writer"
                    fix = names.change_binding("remove", topic, member, binding.role)
                    yield Finding(Code.TOPIC_EXTRA_PUBLISHER, what, fix)
    for place, above in facts.inherited_policies.items():
        for granted, member in grants(above, *PUBLISHING[:3]):
            if member not in writers and not member.startswith("deleted:"):
                what = f"{member} can publish to every topic in {place} ({granted})"
                fix = names.change_binding("remove", place, member, granted)
                yield Finding(Code.TOPIC_INHERITED_PUBLISHER, what, fix)


def triggers(facts: Snapshot) -> Iterator[Finding]:
    """Each trigger exists, is healthy, matches the right events, and calls the receiver as the trigger's identity."""
    if facts.pushes:
        return
    for name in facts.names.triggers:
        trigger = facts.get(gcp.Trigger, name)
        yield from report_missing(trigger, Finding(Code.TRIGGER_MISSING, f"trigger {name} does not exist", APPLY))
        if isinstance(trigger, gcp.Trigger):
            yield from _trigger(facts, name.rpartition("/")[2], trigger)


def _trigger(facts: Snapshot, short: str, trigger: gcp.Trigger) -> Iterator[Finding]:
    names, target, pubsub = facts.names, trigger.destination.cloud_run, trigger.transport.pubsub
    receiver, account = f"{names.name}-receiver", names.account("trigger")

    def gcloud(verb: str, *flags: str) -> str:
        return names.gcloud("eventarc", "triggers", verb, short, f"--location={names.region}", *flags)

    recreate = f"{gcloud('delete')} && {APPLY}"
    move = gcloud("update", f"--destination-run-service={receiver}", f"--destination-run-region={names.region}")
    use_account = gcloud("update", f"--service-account={account}")
    called = f"{target.service.rpartition('/')[2] or 'no service'} in {target.region or 'no region'}"
    rows = (
        (trigger.event_type, PUBLISHED if names.has_sinks else WRITTEN, Code.TRIGGER_EVENT, "matches", recreate),
        (pubsub.topic, names.topic if names.has_sinks else pubsub.topic, Code.TRIGGER_TOPIC, "listens to", recreate),
        (called, f"{receiver} in {names.region}", Code.TRIGGER_DESTINATION, "calls", move),
        (trigger.service_account, account, Code.TRIGGER_IDENTITY, "calls as", use_account),
    )
    for actual, wanted, code, verb, fix in rows:
        if actual != wanted:
            yield Finding(code, f"trigger {short} {verb} {actual or '(none)'}, not {wanted}", fix)
    for about, condition in trigger.conditions.items():
        if condition.code not in ("", 0, "OK"):
            what = f"trigger {short}: {about}: {condition.message or condition.code}"
            yield Finding(Code.TRIGGER_UNHEALTHY, what, gcloud("describe"))
    if not pubsub.subscription:
        yield Finding(Code.SUBSCRIPTION_MISSING, f"trigger {short} has no subscription", recreate)


def subscriptions(facts: Snapshot) -> Iterator[Finding]:
    """Each subscription exists, delivers in time, and keeps what it cannot deliver."""
    names = facts.names
    pushing = facts.get(gcp.Subscription, names.push_subscription)
    if isinstance(pushing, gcp.Subscription):
        yield from _push(facts, pushing)
        yield from _subscription(facts, names.push_subscription, [], pushing)
        return
    for name, users in facts.event_subscriptions.items():
        triggers = " and ".join(each.rpartition("/")[2] for each in users)
        delete = names.gcloud("eventarc", "triggers", "delete", triggers, f"--location={names.region}")
        what = f"subscription {name} of trigger {triggers} does not exist"
        subscription = facts.get(gcp.Subscription, name)
        yield from report_missing(subscription, Finding(Code.SUBSCRIPTION_MISSING, what, f"{delete} && {APPLY}"))
        if isinstance(subscription, gcp.Subscription):
            yield from _subscription(facts, name, users, subscription)


def _push(facts: Snapshot, subscription: gcp.Subscription) -> Iterator[Finding]:
    """The push subscription calls the receiver, as the trigger's identity."""
    names, short, config = facts.names, facts.names.push_subscription.rpartition("/")[2], subscription.push_config
    own, account = f"{names.service('receiver').rpartition('/')[2]}-", names.account("trigger")
    if own not in config.push_endpoint:
        what = f"subscription {short} calls {config.push_endpoint or '(none)'}, not {own[:-1]}"
        yield Finding(Code.SUBSCRIPTION_BROKEN, what, APPLY)
    if config.oidc_token.service_account_email != account:
        what = f"subscription {short} calls as {config.oidc_token.service_account_email or 'nobody'}, not {account}"
        yield Finding(Code.SUBSCRIPTION_BROKEN, what, APPLY)


def _subscription(facts: Snapshot, name: str, users: list[str], subscription: gcp.Subscription) -> Iterator[Finding]:
    names, short = facts.names, name.rpartition("/")[2]

    def finding(code: Code, what: str, verb: str, *flags: str) -> Finding:
        fix = names.gcloud("pubsub", "subscriptions", verb, short, *flags)
        return Finding(code, f"subscription {short} {what}", fix)

    if subscription.detached or subscription.state != "ACTIVE":
        state = "detached" if subscription.detached else subscription.state
        yield finding(Code.SUBSCRIPTION_BROKEN, f"is {state}", "describe")
    of_triggers = [each for each in map(facts.all(gcp.Trigger).get, users) if isinstance(each, gcp.Trigger)]
    topics = (
        {names.topic}
        if names.has_sinks or facts.pushes
        else {each.transport.pubsub.topic for each in of_triggers} - {""}
    )
    if topics and subscription.topic and subscription.topic not in topics:
        what = f"reads {subscription.topic}, not its trigger's {', '.join(sorted(topics))}"
        yield finding(Code.SUBSCRIPTION_BROKEN, what, "describe")
    if (seconds := subscription.ack_deadline_seconds) < _DEADLINE:
        what = f"waits only {seconds} seconds for an answer"
        yield finding(Code.SUBSCRIPTION_IMPATIENT, what, "update", f"--ack-deadline={_ENOUGH}")
    policy, wanted = subscription.dead_letter_policy, names.dead_letter_topic
    if policy is None or policy.dead_letter_topic != wanted:
        what = f"sends dead letters to {policy.dead_letter_topic if policy else '(none)'}, not to {wanted}"
        flags = (f"--dead-letter-topic={wanted}", f"--max-delivery-attempts={_ATTEMPTS}")
        yield finding(Code.SUBSCRIPTION_NO_DEAD_LETTER, what, "update", *flags)
    backlog = facts.get(gcp.Measurements, f"{name}:oldest_unacked_message_age")
    yield from report_unavailable(backlog)
    if isinstance(backlog, gcp.Measurements) and backlog.latest > _BEHIND:
        what = f"the oldest event in subscription {short} has waited for {backlog.latest / 60:.0f} minutes"
        errors = f'resource.labels.service_name="{names.name}-receiver" severity>=ERROR'
        fix = names.gcloud("logging", "read", errors, "--freshness=1h")
        yield Finding(Code.SUBSCRIPTION_BEHIND, what, fix)


def dead_letters(facts: Snapshot) -> Iterator[Finding]:
    """The topic and subscription of dead letters exist, Pub/Sub can use them, and no dead letter waits."""
    names, short = facts.names, f"{facts.names.name}-dead-letters"
    topic, subscription = names.dead_letter_topic, names.dead_letter_subscription
    create = names.gcloud("pubsub", "topics", "create", short)
    absent = Finding(Code.DEAD_LETTER_MISSING, f"topic {topic} does not exist", create)
    yield from report_missing(facts.get(gcp.PubSubTopic, topic), absent)
    create = names.gcloud("pubsub", "subscriptions", "create", short, f"--topic={short}")
    absent = Finding(Code.DEAD_LETTER_MISSING, f"subscription {subscription} does not exist", create)
    fact = facts.get(gcp.Subscription, subscription)
    yield from report_missing(fact, absent)
    if isinstance(fact, gcp.Subscription) and (fact.detached or fact.topic not in ("", topic)):
        state = "is detached" if fact.detached else f"reads {fact.topic}"
        fix = f"{names.gcloud('pubsub', 'subscriptions', 'delete', short)} && {APPLY}"
        yield Finding(Code.DEAD_LETTER_MISSING, f"{subscription} {state}: dead letters are not kept", fix)
    yield from _dead_letter_rights(facts)
    waiting = facts.get(gcp.Measurements, f"{subscription}:num_undelivered_messages")
    yield from report_unavailable(waiting)
    if isinstance(waiting, gcp.Measurements) and waiting.latest:
        fix = names.gcloud("pubsub", "subscriptions", "pull", short, "--limit=10")
        what = f"{waiting.latest:.0f} dead letters wait in {subscription}"
        yield Finding(Code.DEAD_LETTERS_WAITING, what, fix)


def _dead_letter_rights(facts: Snapshot) -> Iterator[Finding]:
    """Pub/Sub moves dead letters as its own service agent ("Handle message failures")."""
    yield from report_unavailable(facts.project)
    if not isinstance(facts.project, gcp.ProjectAncestry):
        return
    agent = f"serviceAccount:service-{facts.project.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    needed = {facts.names.dead_letter_topic: "publisher", **dict.fromkeys(facts.event_subscriptions, "subscriber")}
    for name, task in needed.items():
        policy, enough = facts.get(AllowPolicy, name), (f"roles/pubsub.{task}", *PUBLISHING[1:3])
        yield from report_unknown(policy)
        holders = {member for each in (policy, *facts.policies.values()) for member in members(each, *enough)}
        if isinstance(policy, AllowPolicy) and agent not in holders:
            kind, short = name.split("/")[-2:]
            fix = facts.names.change_binding("add", name, agent, f"roles/pubsub.{task}")
            yield Finding(Code.DEAD_LETTER_RIGHT, f"{agent} is not a {task} of {kind[:-1]} {short}", fix)
