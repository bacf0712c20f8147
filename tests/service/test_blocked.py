"""A proposal that nobody can approve yet: its registry cannot be seen, or did not opt in. A sweep decides again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from remediate.cloud.interface import PolicyChange, Project
from remediate.decisions.policy import Mode
from remediate.errors import Forbidden, Refused, TransientFault
from remediate.iam.allow_policy import Binding
from remediate.iam.grant import ROLE
from remediate.iam.member import Member
from remediate.reasons import Reason
from remediate.records.notice import NoticeContext, NoticeKind, notice_for
from remediate.records.remediation import Remediation
from remediate.records.states import State
from tests.audit_entries import LOGGED, REPOSITORY, activity, agent_text, denial
from tests.fakes import MemoryLogs
from tests.service.helpers import MEMBER, Overlaid, Registry, cross, of_rules, same, same_entry
from tests.service.world import REVIEWER, World

TAG = "400000000001/remediate/yes"
_ANY = REPOSITORY.split("/")[1]


def unseen(world: World, project: str = _ANY) -> Any:
    """Resource Manager, with one project that the service may not see."""
    return Overlaid(world.projects, find=lambda name: None if name == project else world.projects.find(name))


def opened(world: World, entry: Any, mode: Mode = Mode.DRY_RUN, **how: Any) -> Remediation:
    record = world.instance(mode, **how).handle(entry).remediation
    assert record
    return record


def swept(world: World, record: Remediation, mode: Mode = Mode.DRY_RUN, **how: Any) -> Remediation:
    faults = [each.fault for each in world.instance(mode, **how).sweep() if each.fault]
    assert faults == []
    found = world.ledger.get(record.id)
    assert found
    return found


def notice(world: World, record: Remediation) -> Any:
    steps = list(world.ledger.trail(record.id))
    return notice_for(record, steps[-1:], NoticeContext(opt_in_tag=TAG), world.ledger.get)


# A registry that cannot be seen


@pytest.mark.parametrize("mode", [Mode.DRY_RUN, Mode.ENFORCE])
def test_a_registry_that_cannot_be_seen_is_proposed_with_the_variable_to_set(world: World, mode: Mode) -> None:
    record = opened(world, cross(), mode, projects=unseen(world))
    assert record.state is State.PROPOSED
    assert Reason.REPOSITORY_UNSEEN in record.reasons
    told = notice(world, record)
    assert told.kind is NoticeKind.PROPOSED
    assert "Registry not in `registries`" in told.summary
    assert f"projects/{_ANY}" in told.advice
    assert "`registries`" in told.advice


def test_nobody_approves_what_cannot_be_seen_and_the_proposal_stays(world: World) -> None:
    record = opened(world, cross(), projects=unseen(world))
    with pytest.raises(Refused, match=r"cannot be approved yet\. Registry not in `registries`") as refused:
        world.instance(projects=unseen(world)).approve(record.id, actor=REVIEWER)
    assert "add it, or a folder above it, to `registries`" in refused.value.advice
    assert f"projects/{_ANY}" in refused.value.advice
    assert swept(world, record, projects=unseen(world)) == record
    assert world.registry.writes == 0


def test_what_becomes_unseen_after_the_proposal_is_not_approved(world: World) -> None:
    record = opened(world, cross())
    with pytest.raises(Refused, match="cannot be approved yet"):
        world.instance(projects=unseen(world)).approve(record.id, actor=REVIEWER)
    after = world.ledger.get(record.id)
    assert after
    assert (after.state, Reason.REPOSITORY_UNSEEN in after.reasons) == (State.PROPOSED, True)
    assert world.registry.writes == 0


def test_the_sweep_decides_again_once_the_registry_is_seen(world: World) -> None:
    record = opened(world, cross(), projects=unseen(world))
    after = swept(world, record)
    assert after.state is State.PROPOSED
    assert Reason.REPOSITORY_UNSEEN not in after.reasons
    assert Reason.CROSS_PROJECT in after.reasons
    assert after.tally.denials == 1
    assert swept(world, record) == after  # once
    assert world.instance().approve(record.id, actor=REVIEWER).written
    world.check_trail()


def test_a_new_denial_unblocks_it_too(world: World) -> None:
    record = opened(world, cross("1"), projects=unseen(world))
    after = opened(world, cross("2"))
    assert (after.id, after.state) == (record.id, State.PROPOSED)
    assert Reason.REPOSITORY_UNSEEN not in after.reasons


def test_a_repository_that_artifact_registry_hides_is_unseen_too(world: World) -> None:
    def hidden(*_: Any) -> Any:
        raise Forbidden("get projects/platform-images/...: 403 Permission denied")

    record = opened(world, cross(), registry=Registry(world, describe=hidden))
    assert (record.state, Reason.REPOSITORY_UNSEEN in record.reasons) == (State.PROPOSED, True)
    assert swept(world, record, registry=Registry(world, describe=hidden)) == record
    assert Reason.REPOSITORY_UNSEEN not in swept(world, record).reasons


def test_the_sweep_refuses_what_turns_out_to_be_another_organizations(world: World) -> None:
    record = opened(world, cross(), projects=unseen(world))
    world.projects.projects[1] = Project("platform-images", "210987654321", "999")
    after = swept(world, record)
    assert (after.state, after.reasons) == (State.REFUSED, (Reason.OTHER_ORGANIZATION,))


def test_the_sweep_grants_nothing_in_dry_run(world: World) -> None:
    hidden = unseen(world, "shop-frontend")
    record = opened(world, same(), Mode.ENFORCE, projects=hidden)
    assert record.state is State.PROPOSED
    assert swept(world, record, Mode.ENFORCE, projects=hidden).state is State.PROPOSED
    dry = swept(world, record)
    assert (dry.state, Reason.DRY_RUN in dry.reasons) == (State.PROPOSED, True)


def test_the_sweep_grants_on_the_entry_in_the_log_alone(world: World) -> None:
    """What the log does not have, nobody grants: not by a rule, and not after the registry can be seen."""
    hidden = unseen(world, "shop-frontend")
    record = opened(world, same(), Mode.ENFORCE, projects=hidden)
    world.now += timedelta(minutes=5)
    after = swept(world, record, Mode.ENFORCE, logs=MemoryLogs())
    assert after.state is State.REFUSED
    assert world.registry.writes == 0


def test_the_sweep_grants_at_once_what_a_rule_grants(world: World) -> None:
    hidden = unseen(world, "shop-frontend")
    logs = MemoryLogs(lambda _: same_entry("1"))
    record = opened(world, same("1"), Mode.ENFORCE, projects=hidden, logs=logs)
    after = swept(world, record, Mode.ENFORCE, logs=logs)
    assert (after.state, after.lifecycle.approver) == (State.GRANTED, "rule:same project")
    assert world.registry.writes == 1
    world.check_trail()


# A registry that did not opt in


def test_what_is_not_opted_in_says_the_command_and_stays(world: World) -> None:
    record = opened(world, same(), Mode.ENFORCE, opt_in_tag=TAG)
    assert (record.state, record.reasons) == (State.PROPOSED, (Reason.NOT_OPTED_IN,))
    assert "gcloud resource-manager tags bindings create --tag-value=" + TAG in notice(world, record).advice
    with pytest.raises(Refused, match="This registry is not opted in") as refused:
        world.instance(opt_in_tag=TAG).approve(record.id, actor=REVIEWER)
    assert f"--tag-value={TAG} " in refused.value.advice
    assert swept(world, record, opt_in_tag=TAG) == record
    assert world.registry.writes == 0


def test_the_sweep_decides_again_after_the_opt_in(world: World) -> None:
    record = opened(world, same(), opt_in_tag=TAG)
    world.projects.tagged["shop-frontend"] = frozenset({TAG})
    after = swept(world, record, opt_in_tag=TAG)
    assert (after.state, Reason.NOT_OPTED_IN in after.reasons) == (State.PROPOSED, False)
    assert world.instance(opt_in_tag=TAG).approve(record.id, actor=REVIEWER).written


def refusing(world: World, *, untag: bool) -> Registry:
    """A registry whose write is a 403, as IAM's condition on the tag answers; `untag`: the tag goes before it."""

    def add(*_: Any, **__: Any) -> PolicyChange:
        if untag:
            world.projects.tagged.clear()
        raise Forbidden("setIamPolicy: 403 Permission 'artifactregistry.repositories.setIamPolicy' denied")

    return Registry(world, add_reader=add)


def test_a_tag_that_goes_before_the_write_leaves_a_proposal_and_no_failure(world: World) -> None:
    world.projects.tagged["shop-frontend"] = frozenset({TAG})
    record = opened(world, same(), opt_in_tag=TAG)
    service = world.instance(opt_in_tag=TAG, registry=refusing(world, untag=True))
    done = service.approve(record.id, actor=REVIEWER).remediation
    assert (done.state, Reason.NOT_OPTED_IN in done.reasons) == (State.PROPOSED, True)
    assert (done.lifecycle.approver, done.lifecycle.approvals) == (None, ())
    assert world.projects.fresh == 1
    world.check_trail()


def test_a_tag_that_iam_does_not_know_yet_is_tried_again_and_then_fails(world: World) -> None:
    world.projects.tagged["shop-frontend"] = frozenset({TAG})
    record = opened(world, same(), opt_in_tag=TAG)
    how: dict[str, Any] = {"opt_in_tag": TAG, "registry": refusing(world, untag=False)}
    with pytest.raises(TransientFault, match="IAM does not let remediate in by the opt-in tag yet"):
        world.instance(**how).approve(record.id, actor=REVIEWER)
    found = world.ledger.get(record.id)
    assert found
    assert found.state is State.APPROVED
    assert swept(world, record, opt_in_tag=TAG).state is State.GRANTED
    assert Member(MEMBER).id in world.registry.readers(found.repository)


def test_a_403_long_after_the_opt_in_fails(world: World) -> None:
    world.projects.tagged["shop-frontend"] = frozenset({TAG})
    record = opened(world, same(), opt_in_tag=TAG)
    how: dict[str, Any] = {"opt_in_tag": TAG, "registry": refusing(world, untag=False)}
    with pytest.raises(TransientFault):
        world.instance(**how).approve(record.id, actor=REVIEWER)
    world.now += timedelta(minutes=16)
    assert swept(world, record, **how).state is State.FAILED


def test_without_an_opt_in_tag_a_403_fails_as_before(world: World) -> None:
    record = opened(world, same())
    done = world.instance(registry=refusing(world, untag=True)).approve(record.id, actor=REVIEWER).remediation
    assert (done.state, Reason.TERMINAL_ANSWER in done.reasons) == (State.FAILED, True)


# What nobody may use to get around it


def hidden(*_: Any, **__: Any) -> Any:
    raise Forbidden("getIamPolicy projects/platform-images/...: 403 Permission denied")


def test_an_approval_whose_registry_is_hidden_becomes_a_proposal_again(world: World) -> None:
    """Its policy cannot be read any more, so whether the write was done is not known; it is not tried for ever."""
    record = opened(world, cross())
    blind = Registry(world, describe=hidden, bindings=hidden, has_reader=hidden, add_reader=hidden)
    with pytest.raises((Refused, Forbidden)):
        world.instance(registry=blind).approve(record.id, actor=REVIEWER)
    service = world.instance(wake=lambda _: None)
    service.approve(record.id, actor=REVIEWER)
    after = swept(world, record, registry=blind)
    assert (after.state, Reason.REPOSITORY_UNSEEN in after.reasons) == (State.PROPOSED, True)
    assert swept(world, record, registry=blind) == after


def test_an_approval_whose_registry_is_hidden_for_good_lapses(world: World) -> None:
    record = opened(world, cross())
    world.instance(wake=lambda _: None).approve(record.id, actor=REVIEWER)
    world.now += timedelta(days=8)
    assert swept(world, record, registry=Registry(world, has_reader=hidden)).state is State.LAPSED


def test_a_proposal_that_waits_for_the_opt_in_asks_no_log_in_a_sweep(world: World) -> None:
    record = opened(world, same(), opt_in_tag=TAG)
    before = world.logs.reads
    assert swept(world, record, opt_in_tag=TAG) == record
    assert world.logs.reads == before


def test_a_member_who_got_access_elsewhere_is_told_and_waits_for_nothing(world: World) -> None:
    record = opened(world, cross(), projects=unseen(world))
    world.registry.policies[REPOSITORY].append(Binding(ROLE, (record.member,)))
    after = swept(world, record)
    assert (after.state, after.reasons) == (State.PROPOSED, (Reason.ALREADY_GRANTED,))
    assert swept(world, record) == after


def test_a_tag_that_cannot_be_asked_for_withdraws_no_approval(world: World) -> None:
    world.projects.tagged["shop-frontend"] = frozenset({TAG})
    record = opened(world, same(), opt_in_tag=TAG)

    def busy(*_: Any, fresh: bool = False) -> frozenset[str]:
        if fresh:
            raise TransientFault("list the effective tags: 503")
        return frozenset({TAG})

    how: dict[str, Any] = {"opt_in_tag": TAG, "registry": refusing(world, untag=False)}
    with pytest.raises(TransientFault, match="503"):
        world.instance(**how, projects=Overlaid(world.projects, tags=busy)).approve(record.id, actor=REVIEWER)
    found = world.ledger.get(record.id)
    assert found
    assert found.state is State.APPROVED


def test_no_rule_grants_on_a_denial_that_is_only_predicted(world: World) -> None:
    """A forged event makes the predicted proposal look denied; the log has only the deploy that it is predicted from."""
    rules = of_rules("{name: all, when: true, then: grant}")
    first = world.instance(Mode.ENFORCE, opt_in_tag=TAG, rules=rules).handle(cross("1"))
    [ident] = first.partners
    forged = denial(activity(agent_text(), insert_id="forged"))
    world.instance(Mode.ENFORCE, opt_in_tag=TAG, rules=rules).handle(forged)
    record = world.ledger.get(ident)
    assert record
    assert (record.state, record.tally.predicted) == (State.PROPOSED, False)
    world.projects.tagged["platform-images"] = frozenset({TAG})
    world.now += timedelta(minutes=5)
    only_the_first = MemoryLogs(lambda insert_id: LOGGED["1"] if insert_id == "1" else None)
    after = swept(world, record, Mode.ENFORCE, opt_in_tag=TAG, rules=rules, logs=only_the_first)
    assert after.state is not State.GRANTED
    assert record.member not in world.registry.readers(REPOSITORY)
