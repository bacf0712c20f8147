"""A policy file: what it may say, how what is wrong with it is told, and that no file can make deciding dangerous."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediate.cloud.storage import read_policy
from remediate.decisions.policy import BUILT_IN, Outcome, decide
from remediate.decisions.policy_file import FileRules, parse_policy, policy_schema
from remediate.decisions.policy_tests import parse_cases, run
from remediate.decisions.variables import ASSUMED, STANDARD, Evidence
from remediate.errors import BadInput, TransientFault
from remediate.reasons import Reason
from remediate.records.events import NO_EVENTS
from remediate.service.policy_source import PolicySource
from tests.audit_entries import DEPLOYER, PROJECT, activity, denial, user_text
from tests.fakes import Heard
from tests.policies import WIDER
from tests.sandbox_fixture import ROOT


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud Storage is asked again for half a second, where it is half a minute."""
    monkeypatch.setattr("remediate.cloud.storage._TIMEOUT", 0.2)


POLICIES = sorted(path for path in (ROOT / "deploy" / "policies").glob("*.yaml") if ".test." not in path.name)
IMAGE = f"us-docker.pkg.dev/{PROJECT}/app/web"
SAME = denial(activity(user_text(IMAGE), images=(IMAGE,)))
CROSS = denial(activity())
GOOD = """\
rules:
  - name: platform images
    when: image.project == "platform-images" && "folders/421" in deploy.ancestors && member.kind == "serviceAccount"
    then: grant
    expires_after: 90d
    reviewers: [Ana@example.com, "@Example.org"]
    because: The platform team's images are for everybody.
otherwise: ask
"""


def rules(text: str) -> FileRules:
    return parse_policy(text, "policy.yaml")


def one(when: str, then: str = "grant", otherwise: str = "ask") -> FileRules:
    return rules(f"rules:\n  - {{name: only, when: '{when}', then: {then}}}\notherwise: {otherwise}\n")


def known(**said: Any) -> Evidence:
    return replace(ASSUMED, **{"member_inside": True, **said})


def test_the_first_rule_that_is_true_decides_and_says_more_than_the_outcome() -> None:
    inside = known(deploy_ancestors=("projects/shop-frontend", "folders/421", "organizations/4"))
    decision = decide(CROSS, inside, rules(GOOD))
    assert (decision.outcome, decision.rule, decision.reasons) == (
        Outcome.GRANT,
        "platform images",
        (Reason.CROSS_PROJECT,),
    )
    assert (decision.expires_after, decision.reviewers) == (90 * 86400.0, ("user:ana@example.com", "example.org"))
    assert decision.rule_comment == "The platform team's images are for everybody."
    elsewhere = decide(CROSS, known(deploy_ancestors=("folders/422",)), rules(GOOD))
    assert (elsewhere.outcome, elsewhere.rule) == (Outcome.ASK, "otherwise")


def test_a_rule_says_how_many_reviewers_have_to_approve_and_what_is_unknown_never_makes_it_fewer() -> None:
    two = rules("rules:\n  - {name: two, when: true, then: ask, approvals: 2}\n")
    assert decide(CROSS, known(), two).approvals == 2
    assert decide(CROSS, known(), one("true", "ask")).approvals == 1
    behind = rules(
        'rules:\n  - {name: perhaps, when: "evidence.previously_deployed", then: ask}\n'
        "  - {name: two, when: true, then: ask, approvals: 2}\n"
    )
    assert decide(CROSS, known(), behind).approvals == 2
    assert decide(CROSS, known(previously_deployed=True), behind).approvals == 1
    for wrong in ("0", "3", "true", '"2"', "1.5"):
        with pytest.raises(BadInput, match=r"policy\.yaml:2:"):
            rules(f"rules:\n  - {{name: two, when: true, then: ask, approvals: {wrong}}}\n")


def test_a_rule_that_hangs_on_something_unknown_is_a_persons() -> None:
    decision = decide(CROSS, known(deploy_ancestors=None), rules(GOOD))
    assert (decision.outcome, decision.rule) == (Outcome.ASK, "platform images")
    assert decision.reasons == (Reason.CROSS_PROJECT, Reason.EVIDENCE_UNKNOWN)
    behind = rules(
        'rules:\n  - {name: stop, when: "!evidence.previously_deployed", then: refuse}\n'
        "  - {name: go, when: true, then: grant}\n"
    )
    assert decide(SAME, known(), behind).outcome is Outcome.ASK
    assert decide(SAME, known(previously_deployed=True), behind).outcome is Outcome.GRANT
    assert decide(SAME, known(previously_deployed=False), behind).outcome is Outcome.REFUSE


@pytest.mark.parametrize(
    ("when", "value"),
    [
        ("evidence.inherited || true", True),
        ("evidence.inherited && false", False),
        ("!evidence.inherited", None),
        ("evidence.denials / 0 > 1", None),
        ('image.project.matches("(")', None),
        ('deploy.ancestors.exists(each, each.startsWith("folders/"))', None),
        ("evidence.inherited ? true : false", None),
    ],
)
def test_conditions_are_three_valued(when: str, value: bool | None) -> None:
    [rule] = one(when.replace("'", '"')).rules
    assert rule.when({"evidence.denials": 1, "image.project": "x"}) is value


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("image.project", "image.projct"), "policy.yaml:3:16: rule 'platform images': undeclared reference to 'image.projct'"),
        (('"serviceAccount"', "3"), "found no matching overload for '_==_' applied to '(string, int)'"),
        ((' && "folders', ' &&& "folders'), "Syntax error"),
        (("grant", "give"), "policy.yaml:4:11: rules[0].then: Invalid enum value 'give'; expected one of grant, ask, refuse"),
        (("90d", "soon"), "policy.yaml:5:20: rules[0].expires_after: expected hours, days or weeks"),
        (("name:", "nam:"), "policy.yaml:2:5: unknown key 'nam'"),
        (("otherwise: ask", "otherwise: grant"), "otherwise: Invalid enum value 'grant'; expected one of ask, refuse"),
        (("otherwise: ask", "rules: []"), "policy.yaml:8:1: duplicate key 'rules'"),
        (("Ana@example.com", "Ana"), "policy.yaml:6:17: 'Ana' is neither an address nor a domain"),
        (("name: platform images", "name: invariants"), "policy.yaml:2:11: the name 'invariants' is reserved"),
        (("then: grant", "then: refuse"), "policy.yaml:2:5: a rule that refuses takes no expires_after"),
        (("[Ana@example.com", "[&a Ana@example.com, *a"), "aliases are not supported"),
        (("rules:", "rules: ["), "invalid YAML"),
        ((GOOD, ""), "the file is empty"),
        ((GOOD, "rules: 3"), "policy.yaml:1:8: rules: Expected `array`, got `int`"),
        ((GOOD, "- a"), "policy.yaml:1:1: the file: Expected `object`, got `array`"),
        (("when: image", "whenever: 1\n    when: image"), "policy.yaml:3:5: unknown key 'whenever'"),
        (('image.project == "platform-images"', "image.project"), "no matching overload"),
        (("when: image", "when: !evidence.x && image"), "text that begins with ! needs quotes"),
        (("when: image.project", "when: !image.project #"), "text that begins with ! needs quotes"),
        (("because: The", "because: 2026-13-45 #"), "policy.yaml:7:14: YAML reads this as a timestamp; text needs quotes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(change: tuple[str, str], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        rules(GOOD.replace(*change))
    assert told in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "rules:\n- {name: a, when: !!bool maybe, then: ask}\n",
        "rules:\n- {name: a, when: !!timestamp x, then: ask}\n",
        "rules:\n- {name: a, when: !!int '', then: ask}\n",
        'rules:\n- {name: "\\ud800", when: true, then: grant}\n',
        pytest.param("rules: " + "[" * 3000 + "]" * 3000, marks=pytest.mark.slow),
        "rules: []\n1: x\n",
        "? [a]\n: b\n",
        "\x00",
        "!!python/object:os.system x",
    ],
)
def test_whatever_is_no_policy_is_named_and_a_reload_of_it_keeps_the_old_one(tmp_path: Path, text: str) -> None:
    place = "" if "[[[" in text else r":[0-9]+:[0-9]+"
    with pytest.raises(BadInput, match=rf"^policy\.yaml{place}: "):
        rules(text)
    with pytest.raises(BadInput, match=rf"^cases\.yaml{place}: "):
        parse_cases(text, "cases.yaml")
    path, now, heard = tmp_path / "policy.yaml", [0.0], Heard()
    path.write_text(GOOD)
    source = PolicySource(str(path), heard, monotonic=lambda: now[0])
    before = source().digest
    path.write_text(text)
    now[0] = 61.0
    assert source().digest == before
    assert len(heard.policy_errors) == 1


def test_a_policy_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(BadInput, match=r"/dev/zero"):
        parse_policy(read_policy("/dev/zero"), "/dev/zero")


@pytest.mark.parametrize("text", ["evidence.denials > 3", ".evidence.denials > 3", "evidence . denials > 3"])
def test_a_variable_is_learnt_however_it_is_written(text: str) -> None:
    [rule] = rules(f"rules:\n- {{name: a, when: '{text}', then: ask}}\n").rules
    assert rule.looks_at("evidence.denials")
    assert not rule.looks_at("evidence.denial")


UNSURE = """
rules:
  - {name: unsure, when: evidence.previously_deployed, then: grant, expires_after: 90d%s}
  - {name: sure, when: true, then: ask, expires_after: 12h%s}
"""


@pytest.mark.parametrize(
    ("unsure", "sure", "allowed"),
    [
        ("", ", reviewers: [security@example.com]", ("user:security@example.com",)),
        (", reviewers: [example.com]", "", ("example.com",)),
        (", reviewers: [example.com]", ", reviewers: [security@example.com, x.org]", ("user:security@example.com",)),
        (", reviewers: [a@x.org]", ", reviewers: [b@x.org]", ("user:a@x.org",)),
        ("", "", ()),
    ],
)
def test_knowing_less_lets_nobody_more_approve_and_for_no_longer(
    unsure: str, sure: str, allowed: tuple[str, ...]
) -> None:
    rule, certain = rules(UNSURE % (unsure, sure)).judge({"evidence.denials": 1})
    assert (rule.name, certain, rule.reviewers, rule.expires_after) == ("unsure", False, allowed, 12 * 3600)


def test_the_caret_stands_under_the_mistake() -> None:
    with pytest.raises(BadInput, match=r"\| image\.projct == .*\n \| \.+\^"):
        rules(GOOD.replace("image.project", "image.projct"))
    block = (
        'rules:\n  - name: a\n    when: |\n      reader == "deployer" &&\n      image.projct == "x"\n    then: ask\n'
    )
    with pytest.raises(BadInput, match=r"policy\.yaml:5:6: rule 'a'"):
        rules(block)


def test_every_problem_is_told_at_once() -> None:
    text = "rules:\n  - {name: a, when: nobody, then: ask}\n  - {name: a, when: reader, then: ask}\n"
    with pytest.raises(BadInput) as raised:
        rules(text)
    assert str(raised.value).count("policy.yaml:") == 3
    assert "the condition has type STRING, expected bool" in str(raised.value)


def test_the_schema_knows_every_key() -> None:
    text = msgspec.json.encode(policy_schema()).decode()
    for key in ("rules", "otherwise", "name", "when", "then", "expires_after", "reviewers", "approvals", "because"):
        assert f'"{key}"' in text
    assert '"additionalProperties":false' in text


@pytest.mark.parametrize("path", POLICIES, ids=[path.stem for path in POLICIES])
def test_a_ready_policy_is_right_and_its_cases_reach_every_rule(path: Path) -> None:
    beside = path.with_name(f"{path.stem}.test.yaml")
    results, unreached = run(parse_policy(path.read_text(), path.name), parse_cases(beside.read_text(), beside.name))
    assert [each for each in results if each.wrong] == []
    assert unreached == []
    assert len(POLICIES) == 3


_maybe = st.sampled_from([None, True, False])
_evidence = st.builds(
    Evidence,
    repository_exists=_maybe,
    repository_format=st.sampled_from([None, "DOCKER", "MAVEN"]),
    redirected=_maybe,
    inside_organization=_maybe,
    opted_in=_maybe,
    already_granted=_maybe,
    inherited=_maybe,
    propagating=st.booleans(),
    verified=_maybe,
    previously_deployed=_maybe,
    access_removed=_maybe,
    newcomers=_maybe,
    member_inside=_maybe,
    member_ancestors=st.sampled_from([None, (), ("organizations/4",)]),
    repository_mode=st.sampled_from([None, STANDARD, "VIRTUAL_REPOSITORY", "REMOTE_REPOSITORY"]),
    denials=st.sampled_from([None, 1, 7]),
    deploy_ancestors=st.sampled_from([None, (), ("folders/421", "organizations/4")]),
    image_ancestors=st.sampled_from([None, (), ("organizations/4",)]),
)
_atoms = st.sampled_from(
    [
        "true",
        "false",
        "evidence.same_project",
        "evidence.previously_deployed",
        "evidence.inherited",
        "evidence.denials > 3",
        "member.shared",
        "member.inside_organization",
        "!evidence.access_removed",
        "repository.newcomers",
        "image.confirmed",
        'repository.mode == "VIRTUAL_REPOSITORY"',
        '"organizations/4" in member.ancestors',
        '"folders/421" in deploy.ancestors',
        "deploy.ancestors.size() == image.ancestors.size()",
        'image.ancestors.all(each, each.startsWith("organizations/"))',
        'member.kind == "user"',
        'deploy.number == "123456789012"',
        "1 / (evidence.denials - 1) > 0",
    ]
)
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        inner.map(lambda each: f"!({each})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) && ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) || ({pair[1]})"),
        st.tuples(inner, inner, inner).map(lambda three: f"({three[0]}) ? ({three[1]}) : ({three[2]})"),
    ),
    max_leaves=4,
)
_policies = st.tuples(
    st.lists(st.tuples(_conditions, st.sampled_from(["grant", "ask", "refuse"])), max_size=4),
    st.sampled_from(["ask", "refuse"]),
).map(
    lambda made: rules(
        msgspec.json.encode(
            {
                "rules": [{"name": f"r{n}", "when": when, "then": then} for n, (when, then) in enumerate(made[0])],
                "otherwise": made[1],
            }
        ).decode()
    )
)
_denials = st.sampled_from(
    [
        SAME,
        CROSS,
        denial(activity(email="ana@example.com")),
        denial(activity(email="123-compute@developer.gserviceaccount.com")),
        replace(SAME, authorized=None),
        replace(SAME, authorized=False),
        replace(SAME, image_confirmed=False),
        replace(SAME, doubts=(Reason.SOURCE_UNKNOWN,)),
        replace(SAME, doubts=(Reason.UNUSUAL_WORDING,)),
        replace(SAME, doubts=(Reason.IMAGE_MISMATCH,)),
        replace(SAME, doubts=(Reason.PUBLIC_MEMBER,), member=None),
        replace(SAME, repository=None, doubts=(Reason.REPOSITORY_UNKNOWN,)),
        replace(SAME, deploy=replace(SAME.deploy, project=None, number=None)),
    ]
)  # fmt: skip


@given(_policies, _evidence, _denials, st.booleans())
def test_whatever_a_policy_says_a_grant_keeps_every_invariant(
    policy: FileRules, evidence: Evidence, denied: Any, predicted: bool
) -> None:
    for decided_by in (policy, BUILT_IN):
        decision = decide(denied, evidence, decided_by, predicted=predicted)
        if decision.outcome is Outcome.GRANT:
            assert denied.member is not None
            assert denied.repository is not None
            assert denied.doubts == ()
            assert not predicted
            assert evidence.repository_exists is True
            assert evidence.repository_format == "DOCKER"
            assert evidence.inside_organization is True
            assert evidence.opted_in is True
            assert evidence.verified is True
            assert evidence.member_inside is True
            assert denied.authorized is True
            assert evidence.repository_mode == STANDARD or decided_by.mentions("repository.mode")
            assert not evidence.already_granted
            assert not evidence.inherited


_UNKNOWABLE = (
    "repository_exists", "repository_format", "redirected", "inside_organization", "opted_in", "already_granted", "inherited", "verified",
    "previously_deployed", "access_removed", "newcomers", "member_inside", "member_ancestors", "repository_mode",
    "denials", "deploy_ancestors", "image_ancestors",
)  # fmt: skip


@given(_policies, _evidence, _denials, st.sets(st.sampled_from(_UNKNOWABLE), min_size=1))
def test_knowing_less_never_turns_a_question_or_a_refusal_into_a_grant(
    policy: FileRules, evidence: Evidence, denied: Any, forgotten: set[str]
) -> None:
    less = replace(evidence, **dict.fromkeys(forgotten))
    for decided_by in (policy, BUILT_IN):
        before, after = decide(denied, evidence, decided_by), decide(denied, less, decided_by)
        if before.outcome in (Outcome.ASK, Outcome.REFUSE):
            assert after.outcome is not Outcome.GRANT


@given(_policies, _evidence, _denials)
def test_an_entry_that_says_less_is_never_granted_more(policy: FileRules, evidence: Evidence, denied: Any) -> None:
    for less in (
        replace(denied, authorized=None),
        replace(denied, authorized=False),
        replace(denied, image_confirmed=False, authorized=None),
        replace(denied, reader=None, member=None),
        replace(denied, doubts=(*denied.doubts, Reason.UNUSUAL_STATUS)),
    ):
        for decided_by in (policy, BUILT_IN):
            assert decide(less, evidence, decided_by).outcome is not Outcome.GRANT
    assert decide(replace(denied, image_confirmed=False), evidence).outcome is not Outcome.GRANT


@given(_evidence, _denials, st.sets(st.sampled_from(_UNKNOWABLE), min_size=1))
def test_what_the_built_in_rule_may_grant_for_a_time_is_approved_for_no_longer_where_less_is_known(
    evidence: Evidence, denied: Any, forgotten: set[str]
) -> None:
    before, after = decide(denied, evidence), decide(denied, replace(evidence, **dict.fromkeys(forgotten)))
    if before.outcome is Outcome.GRANT and after.outcome is Outcome.ASK:
        assert after.expires_after == before.expires_after


@given(_evidence, _denials)
def test_the_built_in_rule_grants_nothing_that_the_policy_of_before_2025_asks(evidence: Evidence, denied: Any) -> None:
    if decide(denied, evidence).outcome is Outcome.GRANT:
        assert decide(denied, evidence, WIDER).outcome is Outcome.GRANT


CASES = f"""\
cases:
  - name: it is granted
    given:
      image: {IMAGE}
      member: serviceAccount:{DEPLOYER}
      deploy: {{project: {PROJECT}}}
    expect: {{outcome: grant, rule: only}}
"""


def test_a_case_that_fails_says_what_was_expected_and_what_came_out() -> None:
    [result], unreached = run(one("false"), parse_cases(CASES, "cases.yaml"))
    assert result.place == "cases.yaml:2:5"
    assert result.wrong == "expected grant, got ask; expected rule 'only', got 'otherwise'"
    assert unreached == ["only"]


def test_a_case_may_say_how_many_have_to_approve() -> None:
    two = rules("rules: [{name: only, when: true, then: grant, approvals: 2}]")
    for expected, wrong in ((2, ""), (1, "expected approvals 1, got 2")):
        text = CASES.replace("rule: only", f"rule: only, approvals: {expected}")
        [result], _ = run(two, parse_cases(text, "cases.yaml"))
        assert result.wrong == wrong


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("outcome: grant", "outcome: yes"), "cases.yaml:7:23: cases[0].expect.outcome"),
        (("outcome: grant", "outcome: give"), "Invalid enum value 'give'; expected one of grant, ask, refuse, ignore"),
        (("image: us-docker", "image: nowhere:://us-docker"), "cases.yaml:4:14: 'nowhere"),
        (("member: serviceAccount:", "member: nobody:"), "cases.yaml:5:15: 'nobody"),
        (("given:", "giving:"), "cases.yaml:3:5: unknown key 'giving'"),
    ],
)
def test_a_case_that_is_none_is_told_with_its_place(change: tuple[str, str], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_cases(CASES.replace(*change), "cases.yaml")
    assert told in str(raised.value)


def test_a_policy_is_reloaded_once_a_minute_and_a_broken_one_leaves_the_old(tmp_path: Path) -> None:
    path, heard, now = tmp_path / "policy.yaml", Heard(), [0.0]
    path.write_text("rules: []\n")
    source = PolicySource(str(path), heard, monotonic=lambda: now[0])
    first = source()
    path.write_text(GOOD)
    now[0] = 59
    assert source() is first
    now[0] = 60
    second = source()
    assert second.digest == rules(GOOD).digest
    path.write_text("rules: 3\n")
    now[0] = 121
    assert source() is second
    path.unlink()
    now[0] = 182
    assert source() is second
    assert len(heard.policy_errors) == 2
    assert all(f"the previous policy stays in force ({second.digest})" in each for each in heard.policy_errors)
    assert "rules: Expected `array`" in heard.policy_errors[0]
    path.write_text("rules: []\n")
    now[0] = 243
    assert source().digest == first.digest


@pytest.mark.usefixtures("impatient")
def test_a_broken_policy_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.yaml: No such file"):
        PolicySource(str(tmp_path / "nothing.yaml"), NO_EVENTS)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no UTF-8 text"):
        PolicySource(str(tmp_path / "binary.yaml"), NO_EVENTS)
    with pytest.raises(BadInput, match="expected gs://BUCKET/OBJECT"):
        read_policy("gs://bucket")
    with pytest.raises(TransientFault):
        read_policy("gs://bucket/policy.yaml", "http://127.0.0.1:9")


@pytest.mark.usefixtures("impatient")
def test_a_policy_may_lie_in_cloud_storage() -> None:
    class Storage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"/storage/v1/b/bucket/o/policies%2Fpolicy.yaml?alt=media": 200, "/busy": 503}.get(self.path, 404)
            self.send_response(503 if "busy" in self.path else status)
            self.end_headers()
            self.wfile.write(GOOD.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        assert (
            PolicySource("gs://bucket/policies/policy.yaml", NO_EVENTS, endpoint=endpoint)().digest
            == rules(GOOD).digest
        )
        with pytest.raises(BadInput, match="404"):
            read_policy("gs://bucket/other.yaml", endpoint)
        with pytest.raises(TransientFault, match="503"):
            read_policy("gs://bucket/busy", endpoint)
        server.shutdown()


_PEOPLE = ("ana@x.example", "ben@x.example", "cy@y.example")
_FACTS = ("member.shared", "evidence.same_project", "evidence.inherited", "evidence.predicted")
_REVIEWERS = st.lists(st.sampled_from([*_PEOPLE, "x.example", "y.example"]), max_size=2)


def _may(person: str, reviewers: tuple[str, ...]) -> bool:
    domain = person.partition("@")[2]
    return not reviewers or f"user:{person}" in reviewers or domain in reviewers


@given(
    named=st.lists(_REVIEWERS, min_size=1, max_size=4),
    said=st.lists(st.sampled_from([True, False, None]), min_size=4, max_size=4),
)
def test_knowing_less_never_widens_who_may_approve(named: list[list[str]], said: list[bool | None]) -> None:
    texts = [
        {"name": f"rule {number}", "when": fact, "then": "ask", "reviewers": reviewers}
        for number, (fact, reviewers) in enumerate(zip(_FACTS, named, strict=False))
    ]
    file = rules(json.dumps({"rules": texts}))
    told = dict(zip(_FACTS, said, strict=True))
    rule, certain = file.judge({name: value for name, value in told.items() if value is not None})
    unknown = [name for name, value in told.items() if value is None]
    completions = []  # each way in which one rule may turn out to be the one
    for values in itertools.product((True, False), repeat=len(unknown)):
        found, sure = file.judge(told | dict(zip(unknown, values, strict=True)))
        assert sure
        if found.name != "otherwise":
            completions.append(found)
    if certain:
        assert all(found.reviewers == rule.reviewers for found in completions)
        return
    allowed = {person for person in _PEOPLE if _may(person, rule.reviewers)}
    each = [{person for person in _PEOPLE if _may(person, found.reviewers)} for found in completions]
    common = set.intersection(*each)
    first = next((found for found in sorted(completions, key=lambda found: found.name) if found.reviewers), None)
    assert allowed <= (common or {person for person in _PEOPLE if first and _may(person, first.reviewers)})
    assert bool(rule.reviewers) is (first is not None)


def test_a_line_end_after_a_duration_takes_no_end_from_a_grant() -> None:
    """The schema's `$` lets it through."""
    text = 'rules: [{name: x, when: true, then: ask, expires_after: "1h\\n"}]'
    assert parse_policy(text, "policy.yaml").judge({})[0].expires_after == 3600.0
