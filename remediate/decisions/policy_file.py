"""Turns a policy file (YAML with CEL conditions) into Rules, type-checked as a whole; errors name line and column.

A condition is three-valued, as CEL itself is: a variable that is not known leaves it neither true nor false, unless the
rest decides alone (`false && unknown` is false). Source: "Logical operators" (Common Expression Language definition).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from remediate.decisions.policy import INVARIANTS, OTHERWISE, Outcome, Rule, TextToConfirm
from remediate.decisions.variables import VARIABLES
from remediate.decisions.yaml_source import Marks, load_yaml, locate_error, place_of
from remediate.errors import BadInput
from remediate.iam.member import reviewer_key

if TYPE_CHECKING:
    from cel_expr_python import cel

_AT = re.compile(r"at ([0-9]+):([0-9]+): ")
_DURATION = r"^[1-9][0-9]{0,4}[hdw]$"
_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}
_RESERVED = (INVARIANTS, OTHERWISE)
MOST = 1 << 20  # characters of a policy file


class Then(StrEnum):
    """What a rule can do."""

    GRANT = "grant"
    ASK = "ask"
    REFUSE = "refuse"


class Otherwise(StrEnum):
    """What is done where no rule matches; granting whatever comes is not offered."""

    ASK = "ask"
    REFUSE = "refuse"


class RuleText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule; the first whose condition is true decides."""

    name: Annotated[str, Meta(min_length=1, max_length=80, description="A name that no other rule has.")]
    when: Annotated[str | bool, Meta(description="A condition in CEL, or true.")]
    then: Annotated[Then, Meta(description="What is done where the condition is true.")]
    expires_after: Annotated[
        Annotated[str, Meta(pattern=_DURATION)] | None, Meta(description="How long a grant lasts: 12h, 90d, 8w.")
    ] = None
    reviewers: Annotated[
        tuple[str, ...], Meta(description="Who may approve what this rule asks: addresses or domains.")
    ] = ()
    approvals: Annotated[int, Meta(ge=1, le=2, description="How many different reviewers have to approve: 1 or 2.")] = 1
    because: Annotated[str, Meta(max_length=500, description="A sentence that reviewers see.")] = ""


class PolicyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy: rules in order, and what is done where none matches."""

    rules: Annotated[tuple[RuleText, ...], Meta(description="In order: the first that matches decides.")]
    otherwise: Annotated[Otherwise, Meta(description="What is done where no rule matches.")] = Otherwise.ASK


class CompiledRule(msgspec.Struct, frozen=True):
    """A rule and its condition: `expression` as it is written, `when` gives True, False or (not known) None."""

    rule: Rule
    expression: str
    program: object

    def when(self, variables: Mapping[str, object]) -> bool | None:
        """Whether the condition is true of these variables; None where it hangs on one that is missing."""
        value = self.program.eval(data=variables).value()  # type: ignore[attr-defined]
        return value if isinstance(value, bool) else None

    def looks_at(self, variable: str) -> bool:
        """Whether the condition names the variable."""
        parts = r"\s*\.\s*".join(map(re.escape, variable.split(".")))  # `.a . b` is a.b too
        return re.search(rf"(?<!\w){parts}(?!\w)", self.expression) is not None


class Judged(msgspec.Struct, frozen=True):
    """What one rule says of a denial: True, False or (not known) None; `saw` has the variables that it looks at."""

    rule: str
    says: bool | None
    then: Outcome
    when: str
    saw: dict[str, object]


class FileRules:
    """`Rules` out of a policy file."""

    def __init__(
        self,
        rules: tuple[CompiledRule, ...],
        otherwise: Outcome,
        digest: str,
        to_confirm: TextToConfirm | None = None,
    ) -> None:
        grants = any(each.rule.then is Outcome.GRANT for each in rules)
        self._to_confirm = to_confirm if grants else None
        self.rules = rules
        self._otherwise = Rule(OTHERWISE, otherwise)
        self._digest = digest

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def to_confirm(self) -> TextToConfirm | None:
        return self._to_confirm

    def judge(self, variables: Mapping[str, object]) -> tuple[Rule, bool]:
        undecided: list[Rule] = []
        for each in self.rules:
            matches = each.when(variables)
            if matches is None:
                undecided.append(each.rule)
            elif matches and not undecided:
                return each.rule, True
            elif matches:
                return _restricted(undecided[0], [*undecided, each.rule]), False
        if undecided:
            return _restricted(undecided[0], undecided), False
        return self._otherwise, True

    def explain(self, variables: Mapping[str, object]) -> list[Judged]:
        """What each rule says of these variables, decisive or not."""
        return [
            Judged(
                each.rule.name,
                each.when(variables),
                each.rule.then,
                each.expression,
                {name: variables.get(name) for name in VARIABLES if each.looks_at(name)},
            )
            for each in self.rules
        ]

    def mentions(self, variable: str) -> bool:
        return any(each.looks_at(variable) for each in self.rules)


def _restricted(rule: Rule, candidates: list[Rule]) -> Rule:
    """The rule, for whom each of the rules that may turn out to be the one would let review, and for the least time.

    Where nobody is left, for those of the first that names any: knowing less must not let more people approve.
    """
    named = [each.reviewers for each in candidates if each.reviewers]
    allowed = named[0] if named else ()
    for others in named[1:]:
        both = {*allowed, *others}
        kept = {each for each in both if _covered(each, allowed) and _covered(each, others)}
        allowed = tuple(sorted(kept)) or allowed
    max_duration = min((each.expires_after for each in candidates if each.expires_after is not None), default=None)
    most = max(each.approvals for each in candidates)
    return msgspec.structs.replace(rule, reviewers=allowed, expires_after=max_duration, approvals=most)


def _covered(reviewer: str, allowed: tuple[str, ...]) -> bool:
    return reviewer in allowed or reviewer.rpartition("@")[2] in allowed


def parse_policy(text: str, name: str) -> FileRules:
    """The rules that a policy file's text says. Raises BadInput with `name`, line and column of every problem.

    A text at `gs://` may have been written by others than operators, so people confirm it before it grants.
    """
    if len(text) > MOST:
        raise BadInput(f"{name}: larger than a policy can be ({MOST} characters)")
    content, marks = load_yaml(text, name)
    try:
        written = msgspec.convert(content, PolicyText)
    except msgspec.ValidationError as error:
        raise BadInput(locate_error(str(error), name, marks, _ACCEPTED), advice=_ADVICE) from None
    problems: list[str] = []
    names: set[str] = set()
    rules = []
    for number, each in enumerate(written.rules):
        at = f"$.rules[{number}]"
        if each.name in names or each.name in _RESERVED:
            taken = "is reserved" if each.name in _RESERVED else "stands twice"
            problems.append(f"{place_of(name, marks, f'{at}.name')}: the name {each.name!r} {taken}")
        names.add(each.name)
        reviewers = tuple(reviewer_key(text) or "" for text in each.reviewers)
        for place, key in enumerate(reviewers):
            if not key:
                where = place_of(name, marks, f"{at}.reviewers[{place}]")
                problems.append(f"{where}: {each.reviewers[place]!r} is neither an address nor a domain")
        if each.then is Then.REFUSE and (each.expires_after or each.reviewers or each.approvals > 1):
            what = "no expires_after, no reviewers and no approvals"
            problems.append(f"{place_of(name, marks, at)}: a rule that refuses has {what}")
        expression = ("true" if each.when else "false") if isinstance(each.when, bool) else each.when
        try:
            program = compile_condition(expression)
        except BadInput as error:
            problems.append(_condition_problem(name, marks, f"{at}.when", each.name, str(error)))
            continue
        max_duration = each.expires_after
        seconds = int(max_duration[:-1]) * _SECONDS[max_duration[-1]] if max_duration else None
        rule = Rule(each.name, Outcome(each.then), seconds, reviewers, each.because, each.approvals)
        rules.append(CompiledRule(rule, expression, program))
    if problems:
        raise BadInput("\n".join(problems), advice=_ADVICE)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    to_confirm = TextToConfirm(sha256, text) if name.startswith("gs://") else None
    return FileRules(tuple(rules), Outcome(written.otherwise), sha256[:12], to_confirm)


_ACCEPTED = {
    "then": ", ".join(Then),
    "otherwise": ", ".join(Otherwise),
    "expires_after": "hours, days or weeks, as in 12h, 90d or 8w",
}
_ADVICE = "docs/policy.md tells the keys and the variables; `remediate policy schema` is for editors."


def policy_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of a policy file."""
    schema = msgspec.json.schema(PolicyText)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "remediate policy", **schema}


def compile_condition(expression: str) -> cel.Expression:
    """The compiled condition. Raises BadInput with CEL's own words and caret where it is none."""
    from cel_expr_python import cel

    try:
        program = _environment().compile(expression)
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadInput(_in_cels_words(str(error))) from None
    if program.return_type() != cel.Type.BOOL:
        raise BadInput(f"the condition is a {program.return_type().name()}, and has to be true or false")
    return program


@cache
def _environment() -> cel.Env:
    from cel_expr_python import cel

    types = {
        "string": cel.Type.STRING,
        "bool": cel.Type.BOOL,
        "int": cel.Type.INT,
        "list": cel.Type.List(cel.Type.STRING),
    }
    return cel.NewEnv(variables={name: types[kind] for name, (kind, _) in VARIABLES.items()})


def _in_cels_words(text: str) -> str:
    """`INVALID_ARGUMENT: ERROR: <input>:1:6: undeclared ...` without what says nothing to whoever wrote the file."""
    text = text.removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
    text = re.sub(r"ERROR: <input>:", "at ", text).replace(" (in container '')", "")
    unknown = re.search(r"undeclared reference to '([\w.]+)'", text)
    return text + (f"\naccepted: {', '.join(VARIABLES)}" if unknown else "")


def _condition_problem(name: str, marks: Marks, path: str, rule: str, words: str) -> str:
    """CEL's words with the place in the file, where what is written can be counted in; the rule's own otherwise."""
    line, column, style = marks.get(path, (1, 1, ""))
    if (at := _AT.match(words)) and style not in ("|", ">") and at[1] == "1":
        column += int(at[2]) - 1 + bool(style)
    elif at and style == "|":
        line, column = line + int(at[1]), int(at[2])
    return f"{name}:{line}:{column}: rule {rule!r}: {_AT.sub('', words)}"
