"""The mode page behind Identity-Aware Proxy: who asked sees no Confirm, a second person does, an operator needs nobody."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta

import flask

from remediate.decisions.policy import Mode
from remediate.decisions.policy_file import FileRules, parse_policy
from remediate.records.modes import OPEN_FOR
from remediate.records.results import Limits
from remediate.review.identity import HEADER, IapIdentity
from remediate.review.pages import Review
from remediate.service.reviewers import Reviewers
from tests.review.tokens import AUDIENCE, KEY, NOW, public, token
from tests.service.world import World

ANA, BO, OP = "ana@example.com", "bo@example.com", "op@example.net"
REVIEWERS = Reviewers(("example.com",), operators=(f"user:{OP}",))
GRANTS = "rules: [{name: '<b>all', when: 'true', then: grant}]"


class Pages:
    """The pages over a world, asked by people whom the proxy names."""

    def __init__(self, world: World, **replaced: object) -> None:
        world.now = datetime.fromtimestamp(NOW, UTC)
        self.world = world
        identity = IapIdentity(AUDIENCE, lambda: json.dumps({"one": public(KEY)}).encode(), now=lambda: NOW)
        remediator = world.instance(None, reviewers=REVIEWERS, **replaced)
        self.review = Review(
            remediator, world.ledger, identity, "s" * 32, lambda: world.now, configured=None, limits=Limits()
        )
        self.app = flask.Flask("pages")

    def ask(self, who: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        headers = {HEADER: token(email=who)}
        with self.app.test_request_context("/mode", method="POST" if form else "GET", data=form, headers=headers):
            answer = self.review.answer(flask.request)
        return answer.status_code, answer.get_data(as_text=True).replace("<wbr>", "")

    def say(self, who: str, scope: str, mode: str, reason: str = "why not") -> tuple[int, str]:
        found = re.search(r'name="token" value="([^"]+)"', self.ask(who)[1])
        assert found
        return self.ask(who, {"token": html.unescape(found[1]), "scope": scope, "mode": mode, "reason": reason})


def test_who_asked_sees_no_confirm_and_a_second_person_does(world: World) -> None:
    pages = Pages(world)
    assert "another reviewer or an operator must confirm it" in pages.ask(ANA)[1]
    assert pages.say(ANA, "folders/421", "enforce")[0] == 303
    assert world.ledger.modes().switches == {}
    own, other = pages.ask(ANA)[1], pages.ask(BO)[1]
    assert "You requested this" in own
    assert ">Confirm<" not in own
    assert ">Confirm<" in other
    assert "folders/421: enforce</strong>, requested by ana@example.com" in other
    assert pages.say(ANA, "folders/421", "enforce")[0] == 303  # typed all the same
    assert world.ledger.modes().version == 1
    assert pages.say(BO, "folders/421", "enforce")[0] == 303
    assert world.ledger.modes().switches == {"folders/421": Mode.ENFORCE}
    told = pages.ask(BO)[1]
    assert "Waiting for a second person" not in told
    assert "requested by ana@example.com" in told


def test_a_form_of_somebody_else_confirms_nothing(world: World) -> None:
    pages = Pages(world)
    pages.say(ANA, "", "enforce")
    found = re.search(r'name="token" value="([^"]+)"', pages.ask(ANA)[1])
    assert found
    form = {"token": html.unescape(found[1]), "scope": "everywhere", "mode": "enforce", "reason": "x"}
    assert pages.ask(BO, form)[0] == 403
    assert world.ledger.modes().switches == {}


def test_a_lapsed_request_is_not_shown(world: World) -> None:
    pages = Pages(world)
    pages.say(ANA, "", "enforce")
    world.now += OPEN_FOR - timedelta(seconds=1)
    assert ">Confirm<" in pages.ask(BO)[1]
    world.now += timedelta(seconds=1)
    assert ">Confirm<" not in pages.ask(BO)[1]


def test_an_operator_switches_alone_and_need_not_be_a_reviewer(world: World) -> None:
    pages = Pages(world)
    assert "You are an operator" in pages.ask(OP)[1]
    assert pages.say(OP, "", "enforce")[0] == 303
    assert world.ledger.modes().switches == {"everywhere": Mode.ENFORCE}
    assert "is not a reviewer" in pages.ask("eve@example.org")[1]


def test_the_switch_in_force_is_shown_since_it_was_set(world: World) -> None:
    pages = Pages(world)
    pages.say(BO, "", "dry-run", "an incident")
    world.now += timedelta(hours=3)
    pages.say(ANA, "", "clear", "is it over?")
    [row] = re.findall(r'<tr><th scope="row">everywhere</th>.*', pages.ask(BO)[1])
    assert "an incident" in row
    assert "is it over?" not in row


def test_a_policy_text_is_shown_and_confirmed_by_a_second_person(world: World) -> None:
    text = [parse_policy(GRANTS, "gs://rules/policy.yaml")]
    pages = Pages(world, rules=lambda: text[0])

    def sha256(rules: FileRules) -> str:
        assert rules.to_confirm
        return rules.to_confirm.sha256

    first = sha256(text[0])
    shown = pages.ask(ANA)[1]
    assert "name: &#39;&lt;b&gt;all&#39;" in shown
    assert first in shown
    assert pages.say(ANA, "policy", first)[0] == 303
    assert "Ask to confirm the text" not in pages.ask(BO)[1]
    assert ">Confirm<" in pages.ask(BO)[1]
    text[0] = parse_policy(GRANTS + " ", "gs://rules/policy.yaml")
    changed = pages.ask(BO)[1]
    assert "it can no longer be confirmed" in changed
    assert ">Confirm<" not in changed
    assert "Ask to confirm the text" in changed
    assert pages.say(BO, "policy", first)[0] == 409
    assert world.ledger.modes().policy == ""
    assert pages.say(BO, "policy", sha256(text[0]))[0] == 303
    assert pages.say(ANA, "policy", sha256(text[0]))[0] == 303
    assert world.ledger.modes().policy == sha256(text[0])
    assert "not confirmed" not in pages.ask(BO)[1]
