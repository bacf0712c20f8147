"""Each fault of an installation has its code, and a healthy installation has no findings."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from remediate.doctor.codes import Code, Severity
from remediate.doctor.names import ResourceNames
from tests.doctor.broken import (
    BROKEN,
    IAP,
    SERIES,
    SERVICES,
    Patch,
    _template,
    with_binding,
    with_env,
    with_policy_file,
    with_tag,
    without_variables,
)
from tests.doctor.installation import (
    DUE_JOB,
    HERE,
    JOB,
    LEDGER,
    RECEIVER,
    REVIEW,
    SCOPE,
    SINK,
    SUBSCRIPTION,
    TRIGGER,
    WRITER,
    WRITES,
    Installation,
    member,
)


def test_a_healthy_installation_has_no_findings(installation: Installation) -> None:
    report = installation.run()
    assert report.findings == []
    assert not any(check.findings for check in report.checks)


@pytest.mark.parametrize(("patch", "codes"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_is_broken_is_told_by_its_code(installation: Installation, patch: Patch, codes: set[Code]) -> None:
    installation.change(patch(installation) if callable(patch) else patch)
    findings = installation.run().findings
    assert {finding.code for finding in findings} == codes
    for finding in findings:
        assert finding.what
        assert shlex.split(finding.fix)


def test_every_code_is_found_by_some_test() -> None:
    elsewhere = {  # in test_doctor.py and test_canary.py
        Code.REGISTRY_UNSEEN, Code.LEDGER_UNREACHABLE, Code.LEDGER_EPHEMERAL, Code.SETTINGS_DIFFER,
        Code.CANARY_LOST, Code.CANARY_MISJUDGED, Code.CANARY_NAME_TAKEN, Code.CANARY_SLOW,
    }  # fmt: skip
    assert {code for _, _, codes in BROKEN for code in codes} | elsewhere == set(Code)


def test_a_filter_may_be_laid_out_otherwise(installation: Installation) -> None:
    text = installation.sandbox.call("GET", SINK)[1]["filter"]
    installation.change({SINK: {"filter": text.replace("\n", "   \n\n ")}})
    assert installation.codes() == set()


def test_predefined_roles_that_carry_what_is_needed_are_well(installation: Installation) -> None:
    listed = [each for each in installation.policy(HERE) if each["role"] != LEDGER]
    who = [member(task) for task in ("receiver", "review", "sweep", "writer")]
    installation.change({f"policy {HERE}": [*listed, {"role": "roles/datastore.user", "members": who}]})
    assert installation.codes() == set()


def test_in_enforce_mode_the_receiver_has_to_be_able_to_write(installation: Installation) -> None:
    installation.set_env(REMEDIATE_MODE="enforce")
    missing = installation.finding(Code.RIGHT_MISSING)
    assert member("receiver") in missing.what
    assert f"--role={WRITER}" in shlex.split(missing.fix)
    installation.change(with_binding(SCOPE, WRITER, member("receiver"))(installation))
    assert installation.codes() == set()


def test_where_the_switches_decide_the_receiver_may_write_and_need_not(installation: Installation) -> None:
    installation.change(
        {
            k: v
            for p in (RECEIVER, REVIEW, WRITES, JOB, DUE_JOB)
            for k, v in without_variables(p, "REMEDIATE_MODE")(installation).items()
        }
    )
    assert installation.codes() == set()
    installation.change(with_binding(SCOPE, WRITER, member("receiver"))(installation))
    assert installation.codes() == set()


def test_a_tag_that_iam_enforces_is_well(installation: Installation) -> None:
    condition = {"title": "t", "expression": "resource.matchTagId('tagKeys/7', 'tagValues/77')"}
    installation.change(with_tag(condition)(installation))
    assert installation.codes() == set()
    by_name = {"title": "t", "expression": "resource.matchTag('400000000001/remediate', 'yes')"}
    installation.change(with_tag(by_name)(installation))
    assert installation.codes() == set()


def test_both_values_of_the_tag_may_let_the_writer_in(installation: Installation) -> None:
    both = "resource.matchTagId('tagKeys/7', 'tagValues/77') || resource.matchTagId('tagKeys/7', 'tagValues/78')"
    installation.change(with_tag({"title": "t", "expression": both}, "tagValues/77,tagValues/78")(installation))
    assert installation.codes() == set()
    named = " || ".join(f"resource.matchTag('400000000001/remediate', '{value}')" for value in ("yes", "deployers"))
    installation.change(with_tag({"title": "t", "expression": named})(installation))
    assert installation.codes() == set()


def test_a_tag_that_may_not_be_seen_is_unknown_and_not_missing(installation: Installation) -> None:
    installation.set_env(REMEDIATE_OPT_IN_TAG="400000000001/remediate/gone")
    assert "resourcemanager.tagValues.get" in installation.finding(Code.NOT_KNOWN).what


def test_a_single_project_is_watched_by_a_trigger_for_each_method(installation: Installation) -> None:
    report = installation.run(ResourceNames("remediate-ops", "asia-northeast1", scopes=(HERE,)))
    missing = [each for each in report.findings if each.code is Code.TRIGGER_MISSING]
    assert len(missing) == 8
    assert any("remediate-v2-services-updateservice" in each.what for each in missing)
    assert Code.SINK_MISSING not in {each.code for each in report.findings}
    [events] = [each for each in report.findings if "eventarc.events.receiveEvent" in each.what]
    assert "--role=roles/eventarc.eventReceiver" in shlex.split(events.fix)


def test_two_folders_have_a_sink_each(installation: Installation) -> None:
    folders = ("folders/310000000001", "folders/310000000002")
    sinks = {
        f"/v2/{folder}/sinks/remediate-denials": installation.sandbox.call("GET", SINK)[1] for folder in folders[:1]
    }
    installation.change(sinks)
    findings = installation.run(ResourceNames("remediate-ops", "asia-northeast1", scopes=folders)).findings
    [missing] = [each for each in findings if each.code is Code.SINK_MISSING]
    assert missing.what.startswith(folders[1])
    assert "--folder=310000000002" in shlex.split(missing.fix)


def test_without_any_permission_everything_is_unknown_and_nothing_passes(
    installation: Installation,
) -> None:
    installation.sandbox.faults({"match": ".", "effect": "status", "code": 403, "times": None})
    report = installation.run(ResourceNames("remediate-ops", "asia-northeast1", scopes=(SCOPE,)))
    codes = {finding.code for finding in report.findings}
    assert codes == {Code.NOT_KNOWN}
    assert all(finding.severity is Severity.UNKNOWN for finding in report.findings)
    well = {check.title for check in report.checks if str(check.status) == "ok"}
    assert well == {"settings of this environment"}


@pytest.mark.parametrize("code", [403, 503])
def test_without_the_sweep_no_check_guesses_the_scope(installation: Installation, code: int) -> None:
    installation.sandbox.faults(
        {"match": "/v2/projects/.*/(services|jobs)/", "effect": "status", "code": code, "times": None}
    )
    report = installation.run(REMEDIATE_TIMEOUT="1")
    assert [finding.code for finding in report.findings] == [Code.NOT_KNOWN]
    assert "what is watched is not known: set --scope" in {check.note for check in report.checks}
    assert installation.run(
        ResourceNames("remediate-ops", "asia-northeast1", scopes=(SCOPE,)), REMEDIATE_TIMEOUT="1"
    ).findings


def test_without_any_deployment_there_is_one_finding(installation: Installation) -> None:
    report = installation.run(ResourceNames("remediate-ops", "asia-northeast2"))
    [finding] = report.findings
    assert finding.code is Code.SERVICE_MISSING
    assert "neither the receiver nor the sweep exists" in finding.what


def test_reviewers_may_have_access_from_above(installation: Installation) -> None:
    installation.change({IAP: {"bindings": None}})
    installation.change(with_binding(HERE, "roles/iap.httpsResourceAccessor", "domain:example.com")(installation))
    assert installation.codes() == set()


@pytest.mark.parametrize("variable", ["REMEDIATE_REVIEWERS", "REMEDIATE_IDENTITIES", "REMEDIATE_GRANTS_AN_HOUR"])
def test_no_cure_removes_what_keeps_others_out(installation: Installation, variable: str) -> None:
    wrong = "ana@" if variable != "REMEDIATE_GRANTS_AN_HOUR" else "-1"
    installation.change(
        {
            k: v
            for p in (RECEIVER, REVIEW, WRITES, JOB, DUE_JOB)
            for k, v in with_env(p, **{variable: wrong})(installation).items()
        }
    )
    fixes = [finding.fix for finding in installation.run().findings if finding.code is Code.SETTINGS_INVALID]
    assert len(fixes) == 5
    assert all(f"--update-env-vars={variable}=..." in fix for fix in fixes)
    installation.reset()
    installation.change(without_variables(RECEIVER, "REMEDIATE_REVIEWERS")(installation))
    [fix] = {finding.fix for finding in installation.run().findings if finding.code is Code.SETTINGS_DISAGREE}
    assert shlex.split(fix)[4] == "remediate-receiver"
    assert "--update-env-vars=" in fix


def test_lists_and_conditions_are_written_as_gcloud_takes_them(installation: Installation) -> None:
    installation.change(with_env(REVIEW, REMEDIATE_REVIEWERS="user:ana@example.com,example.com")(installation))
    fixes = [finding.fix for finding in installation.run().findings if finding.code is Code.SETTINGS_DISAGREE]
    assert fixes
    assert all("," not in fix or "--update-env-vars=^;^" in fix for fix in fixes)
    installation.reset()
    condition = {"title": "opted in", "expression": "resource.matchTagId('tagKeys/1', 'tagValues/77')"}
    installation.change(with_tag(condition)(installation))
    listed = installation.policy(SCOPE)
    for binding in listed:
        if binding["role"] == WRITER:
            binding["members"] = [each for each in binding["members"] if each != member("sweep")]
    installation.change({f"policy {SCOPE}": listed})
    fixes = [finding.fix for finding in installation.run().findings if finding.code is Code.RIGHT_MISSING]
    assert any(
        f"--condition=^;^title=opted in;expression={condition['expression']}" in shlex.split(fix) for fix in fixes
    )


@pytest.mark.parametrize(
    "path",
    [
        "sinks/remediate-view", "views/remediate-denials$", "views/remediate-denials:getIam",
        "sinks/remediate-denials", "topics/remediate-denials$", "topics/remediate-denials:getIam", "triggers/", "/services/remediate-receiver$",
        "subscriptions/eventarc[^:]*$", "subscriptions/eventarc.*:getIam", "dead-letters$", "dead-letters:getIam", "iap_web", "timeSeries",
        "services/remediate-review:getIam", "jobs/remediate-sweep", "sinks/remediate-trail", "buckets/", "serviceAccounts/[^/:]*$", "/keys$", "com:getIam",
        "projects/remediate-ops:getIam", "organizations/400000000001:getIam", "roles/remediateReader", "databases/remediate$", "indexes",
        "documents/settings/schema", "v3/projects/remediate-ops$", "folders/310000000002:getIam", "services:batchGet",
    ],
)  # fmt: skip
def test_whatever_single_thing_may_not_be_read_is_said_with_the_right_that_it_needs(
    installation: Installation, path: str
) -> None:
    installation.sandbox.faults({"match": path, "effect": "status", "code": 403, "times": None})
    findings = installation.run(ResourceNames("remediate-ops", "asia-northeast1", scopes=(SCOPE,))).findings
    assert {finding.code for finding in findings} == {Code.NOT_KNOWN}
    for finding in findings:
        assert "403" in finding.what
        assert finding.fix.startswith("gcloud ")
        assert " it needs " in finding.what


def test_what_lies_behind_a_perimeter_is_said_so_and_no_role_is_said_to_help(installation: Installation) -> None:
    installation.sandbox.faults({"match": "triggers/", "effect": "perimeter", "times": None})
    installation.change({SINK: {"disabled": True}})
    assert installation.codes() == {Code.NOT_KNOWN, Code.SINK_DISABLED}
    finding = installation.finding(Code.NOT_KNOWN)
    assert "VPC Service Controls stopped the call" in finding.what
    assert "docs/hardened-organizations.md" in finding.fix
    assert "gcloud" not in finding.fix


def test_an_api_that_does_not_answer_is_unknown_and_the_others_are_checked(installation: Installation) -> None:
    installation.sandbox.faults({"match": "triggers/", "effect": "status", "code": 503, "times": None})
    installation.change({SINK: {"disabled": True}})
    assert installation.codes(REMEDIATE_TIMEOUT="1") == {Code.NOT_KNOWN, Code.SINK_DISABLED}


def test_a_setting_that_is_kept_in_a_secret_is_set(installation: Installation) -> None:
    hidden = {"secretKeyRef": {"secret": "x", "version": "latest"}}
    names = ("REMEDIATE_LEDGER", "REMEDIATE_REVIEWERS", "REMEDIATE_IDENTITIES", "REMEDIATE_ORGANIZATION")
    for path in (RECEIVER, REVIEW, WRITES, JOB, DUE_JOB):
        kept = [each for each in installation.variables(path) if each["name"] not in names]
        installation.change(
            {path: _template(path, [*kept, *({"name": name, "valueSource": hidden} for name in names)])}
        )
    environ = {name: value for name, value in installation.environ.items() if name != "REMEDIATE_ORGANIZATION"}
    installation.environ = environ
    assert installation.codes() == set()


def test_a_policy_file_in_a_bucket_is_read_as_the_receiver_reads_it(installation: Installation) -> None:
    installation.change(
        with_policy_file({"rules": [{"name": "n", "when": 'member.kind == "user"', "then": "ask"}]})(installation)
    )
    assert installation.codes() == set()
    installation.sandbox.faults({"match": "storage/v1", "effect": "status", "code": 403, "times": None})
    assert "storage.objects.get" in installation.finding(Code.NOT_KNOWN).what


def test_what_all_methods_use_of_a_quota_in_a_minute_counts_together(installation: Installation) -> None:
    def series(kind: str, minute: str, value: int, **labels: str) -> dict[str, Any]:
        named = {"quota_metric": "artifactregistry.googleapis.com/reads", **labels}
        return {
            "metric": {"type": f"serviceruntime.googleapis.com/quota/{kind}", "labels": named},
            "resource": {
                "type": "consumer_quota",
                "labels": {"service": "artifactregistry.googleapis.com", "location": "us"},
            },
            "points": [{"interval": {"endTime": f"2026-01-01T00:0{minute}:00Z"}, "value": {"int64Value": str(value)}}],
        }

    limits = [
        series("limit", "0", 100, limit_name="ReadsPerMinute"),
        series("limit", "0", 10, limit_name="ReadsPerDay"),
    ]
    apart = [series("rate/net_usage", "1", 45, method="get"), series("rate/net_usage", "2", 45, method="list")]
    installation.change({SERIES: {"timeSeries": [*limits, *apart]}})
    assert installation.codes() == set()
    together = [series("rate/net_usage", "1", 45, method="get"), series("rate/net_usage", "1", 45, method="list")]
    installation.change({SERIES: {"timeSeries": [*limits, *together]}})
    assert "90 in one minute of the last hour in us, of 100" in installation.finding(Code.QUOTA_LOW).what


def test_a_disabled_api_has_the_command_that_enables_it(installation: Installation) -> None:
    installation.change({SERVICES: {"eventarc.googleapis.com": "DISABLED"}})
    fixes = {finding.code: finding.fix for finding in installation.run().findings}
    assert fixes[Code.API_DISABLED] == "gcloud services enable eventarc.googleapis.com --project=remediate-ops"
    assert fixes[Code.NOT_KNOWN] == fixes[Code.API_DISABLED]


PUSH = f"/v1/{HERE}/subscriptions/remediate-denials"


def pushed(installation: Installation, **more: Any) -> dict[str, Any]:
    """An installation without Eventarc: a push subscription delivers."""
    eventarcs = installation.sandbox.call("GET", SUBSCRIPTION)[1]
    token = {"serviceAccountEmail": member("trigger").partition(":")[2]}
    push = {"pushEndpoint": "https://remediate-receiver-444444444444.asia-northeast1.run.app", "oidcToken": token}
    own = {**eventarcs, "name": PUSH[4:], "pushConfig": push, **more}
    policy = installation.sandbox.call("GET", f"{SUBSCRIPTION}:getIamPolicy")[1]
    gone = {TRIGGER: None, SUBSCRIPTION: None, f"{SUBSCRIPTION}:getIamPolicy": None}
    return {**gone, PUSH: own, f"{PUSH}:getIamPolicy": policy, SERVICES: {"eventarc.googleapis.com": "DISABLED"}}


def test_an_installation_without_eventarc_has_no_findings(installation: Installation) -> None:
    installation.change(pushed(installation))
    report = installation.run()
    assert report.findings == []
    notes = {check.title: check.note for check in report.checks if check.skipped}
    assert notes["trigger calls the receiver"] == "a push subscription delivers, without Eventarc"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"pushConfig": {"pushEndpoint": "https://elsewhere.example"}}, Code.SUBSCRIPTION_BROKEN),
        ({"pushConfig": {"pushEndpoint": "https://remediate-receiver-1.r.run.app"}}, Code.SUBSCRIPTION_BROKEN),
        ({"deadLetterPolicy": None}, Code.SUBSCRIPTION_NO_DEAD_LETTER),
        ({"ackDeadlineSeconds": 10}, Code.SUBSCRIPTION_IMPATIENT),
        ({"topic": f"{HERE}/topics/other"}, Code.SUBSCRIPTION_BROKEN),
        ({"state": "RESOURCE_ERROR"}, Code.SUBSCRIPTION_BROKEN),
    ],
)
def test_a_push_that_is_broken_is_told(installation: Installation, more: dict[str, Any], code: Code) -> None:
    installation.change(pushed(installation, **more))
    assert installation.codes() == {code}
