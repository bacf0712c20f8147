"""Compiles a policy file (YAML with CEL conditions) into Rules. Errors name line and column.

A condition has three values, as in CEL: with an unknown variable it is neither true nor false, unless the rest of it
decides (`false && unknown` is false). Source: "Logical operators" (Common Expression Language definition).
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
from remediate.times import DURATION, duration

if TYPE_CHECKING:
    from cel_expr_python import cel

_AT = re.compile(r"at ([0-9]+):([0-9]+): ")
_RESERVED = (INVARIANTS, OTHERWISE)
MOST = 1 << 20  # characters of a policy file


class Then(StrEnum):
    """The outcomes that a rule can have."""

    GRANT = "grant"
    ASK = "ask"
    REFUSE = "refuse"


class Otherwise(StrEnum):
    """The outcome if no rule matches. It cannot be `grant`."""

    ASK = "ask"
    REFUSE = "refuse"


class RuleText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. The first rule whose condition is true decides."""

    name: Annotated[str, Meta(min_length=1, max_length=80, description="A name that no other rule has.")]
    when: Annotated[str | bool, Meta(description="A condition in CEL, or true.")]
    then: Annotated[Then, Meta(description="The outcome if the condition is true.")]
    expires_after: Annotated[
        Annotated[str, Meta(pattern=DURATION)] | None, Meta(description="How long a grant lasts: 12h, 90d, 8w.")
    ] = None
    reviewers: Annotated[
        tuple[str, ...], Meta(description="Who may approve this rule's proposals: addresses or domains.")
    ] = ()
    approvals: Annotated[int, Meta(ge=1, le=2, description="How many different reviewers must approve: 1 or 2.")] = 1
    because: Annotated[str, Meta(max_length=500, description="A sentence that reviewers see.")] = ""


class PolicyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy: rules in order, and the outcome if none matches."""

    rules: Annotated[tuple[RuleText, ...], Meta(description="In order: the first rule that matches decides.")]
    otherwise: Annotated[Otherwise, Meta(description="The outcome if no rule matches.")] = Otherwise.ASK


class CompiledRule(msgspec.Struct, frozen=True):
    """A rule and its condition: `expression` as written; `when` gives True, False or None (unknown)."""

    rule: Rule
    expression: str
    program: object

    def when(self, variables: Mapping[str, object]) -> bool | None:
        """Whether the condition is true for these variables; None if it depends on a missing one."""
        value = self.program.eval(data=variables).value()  # type: ignore[attr-defined]
        return value if isinstance(value, bool) else None

    def looks_at(self, variable: str) -> bool:
        """Whether the condition names the variable."""
        parts = r"\s*\.\s*".join(map(re.escape, variable.split(".")))  # `.a . b` is a.b too
        return re.search(rf"(?<!\w){parts}(?!\w)", self.expression) is not None


class Judged(msgspec.Struct, frozen=True):
    """What one rule says about a denial: True, False or None (unknown). `saw` has the variables that it uses."""

    rule: str
    says: bool | None
    then: Outcome
    when: str
    saw: dict[str, object]


class FileRules:
    """`Rules` from a policy file."""

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
        """What each rule says about these variables, also the rules that do not decide."""
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
    """Narrow `rule` to the reviewers that every candidate rule allows, and to the shortest duration.

    If no reviewer remains, use those of the first candidate with reviewers: less knowledge must not allow more people
    to approve.
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
    """Compile the text of a policy file. Raises BadInput with `name`, line and column of every problem.

    Others than operators may be able to write a text at `gs://`, so people confirm it before its rules grant.
    """
    if len(text) > MOST:
        raise BadInput(f"{name}: the policy has more than {MOST} characters")
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
            taken = "is reserved" if each.name in _RESERVED else "occurs twice"
            problems.append(f"{place_of(name, marks, f'{at}.name')}: the name {each.name!r} {taken}")
        names.add(each.name)
        reviewers = tuple(reviewer_key(text) or "" for text in each.reviewers)
        for place, key in enumerate(reviewers):
            if not key:
                where = place_of(name, marks, f"{at}.reviewers[{place}]")
                problems.append(f"{where}: {each.reviewers[place]!r} is neither an address nor a domain")
        if each.then is Then.REFUSE and (each.expires_after or each.reviewers or each.approvals > 1):
            what = "no expires_after, no reviewers and no approvals"
            problems.append(f"{place_of(name, marks, at)}: a rule that refuses takes {what}")
        expression = ("true" if each.when else "false") if isinstance(each.when, bool) else each.when
        try:
            program = compile_condition(expression)
        except BadInput as error:
            problems.append(_condition_problem(name, marks, f"{at}.when", each.name, str(error)))
            continue
        # The schema's "$" lets a final newline through.
        max_duration = duration(each.expires_after.strip()) if each.expires_after else None
        seconds = max_duration.total_seconds() if max_duration else None
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
_ADVICE = "docs/policy.md lists the keys and the variables; `remediate policy schema` prints a schema for editors."


def policy_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of a policy file."""
    schema = msgspec.json.schema(PolicyText)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "remediate policy", **schema}


def compile_condition(expression: str) -> cel.Expression:
    """Compile a condition. Raises BadInput with CEL's own message and caret if it is not valid."""
    from cel_expr_python import cel

    try:
        program = _environment().compile(expression)
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadInput(_in_cels_words(str(error))) from None
    if program.return_type() != cel.Type.BOOL:
        raise BadInput(f"the condition has type {program.return_type().name()}, expected bool")
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
    """CEL's error, `INVALID_ARGUMENT: ERROR: <input>:1:6: undeclared ...`, shortened for the author of the file."""
    text = text.removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
    text = re.sub(r"ERROR: <input>:", "at ", text).replace(" (in container '')", "")
    unknown = re.search(r"undeclared reference to '([\w.]+)'", text)
    return text + (f"\naccepted: {', '.join(VARIABLES)}" if unknown else "")


def _condition_problem(name: str, marks: Marks, path: str, rule: str, words: str) -> str:
    """CEL's message with line and column in the file: CEL's own if the YAML style allows to count, else the rule's."""
    line, column, style = marks.get(path, (1, 1, ""))
    if (at := _AT.match(words)) and style not in ("|", ">") and at[1] == "1":
        column += int(at[2]) - 1 + bool(style)
    elif at and style == "|":
        line, column = line + int(at[1]), int(at[2])
    return f"{name}:{line}:{column}: rule {rule!r}: {_AT.sub('', words)}"
