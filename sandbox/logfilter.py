"""Compiles a filter in the Logging query language into a predicate over log entries (JSON objects).

Source: "Logging query language": AND, OR, NOT, parentheses, field paths, comparisons, regular expressions, log_id().
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from sandbox.errors import refuse

Predicate = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<comment>--[^\n]*)|(?P<op>=~|!~|!=|>=|<=|=|>|<|:)|(?P<paren>[()])"
    r"|(?P<text>\"(?:[^\"\\]|\\.)*\"|(?:[A-Za-z0-9_./%@*+-]|\"(?:[^\"\\]|\\.)*\")+))"
)
_LOG_NAME = re.compile(r"(?:projects|folders|organizations|billingAccounts)/[^/]+/logs/([^/]+)")
_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")


def compile_filter(text: str) -> Predicate:
    """The predicate of a filter; an empty filter matches everything. Raises ApiError (INVALID_ARGUMENT) like Google."""
    tokens = _tokens(text)
    if not tokens:
        return lambda _: True
    parser = _Parser(tokens, text)
    try:
        predicate = parser.disjunction()
    except RecursionError:
        refuse("INVALID_ARGUMENT", "Unparseable filter: nested too deep")
    if parser.position != len(tokens):
        parser.fail()
    return predicate


def _tokens(text: str) -> list[str]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match:
            refuse("INVALID_ARGUMENT", f"Unparseable filter: syntax error at column {position + 1}: {text!r}")
        if not match["comment"]:
            tokens.append(match[0].strip())
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent: OR binds tighter than AND in this language ("Logging query language", operators)."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens, self.text, self.position = tokens, text, 0

    def fail(self) -> None:
        refuse("INVALID_ARGUMENT", f"Unparseable filter: syntax error at token {self.position + 1}: {self.text!r}")

    def peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            self.fail()
            raise AssertionError
        self.position += 1
        return token

    def disjunction(self) -> Predicate:
        """AND (written or implied) of ORs."""
        parts = [self.alternatives()]
        while self.peek() not in (None, ")"):
            if self.peek() == "AND":
                self.take()
            parts.append(self.alternatives())
        return lambda entry: all(part(entry) for part in parts)

    def alternatives(self) -> Predicate:
        parts = [self.term()]
        while self.peek() == "OR":
            self.take()
            parts.append(self.term())
        return lambda entry: any(part(entry) for part in parts)

    def term(self) -> Predicate:
        token = self.take()
        if token in ("AND", "OR", ")"):
            self.position -= 1
            self.fail()
        if token == "NOT":
            inner = self.term()
            return lambda entry: not inner(entry)
        if token == "(":
            inner = self.disjunction()
            if self.take() != ")":
                self.fail()
            return inner
        if token.startswith("-") and len(token) > 1:
            self.position -= 1
            self.tokens[self.position] = token[1:]
            inner = self.term()
            return lambda entry: not inner(entry)
        operator = self.peek()
        if token.lower() == "log_id" and operator == "(":
            return self.log_id()
        if operator not in ("=", "!=", ">", ">=", "<", "<=", ":", "=~", "!~"):
            word = _unquote(token).lower()
            return lambda entry: any(word in text.lower() for text in _texts(entry))
        self.take()
        return self.comparison(_path(token), operator)

    def log_id(self) -> Predicate:
        """`log_id("x/y")`: matches a log with exactly this id. A log's name has the id URL-encoded."""
        self.take()
        wanted = _unquote(self.take())
        if self.take() != ")":
            self.fail()
        return lambda entry: _log_id(entry) == wanted

    def comparison(self, path: list[str], operator: str) -> Predicate:
        if self.peek() == "(":
            self.take()
            options = [self.comparison_value(path, operator)]
            joined = self.peek() or ""
            while self.peek() in ("OR", "AND"):
                self.take()
                options.append(self.comparison_value(path, operator))
            if self.take() != ")":
                self.fail()
            combine = all if joined == "AND" else any
            return lambda entry: combine(option(entry) for option in options)
        return self.comparison_value(path, operator)

    def comparison_value(self, path: list[str], operator: str) -> Predicate:
        value = _unquote(self.take())
        if operator in ("=~", "!~"):
            try:
                pattern = re.compile(value)
            except re.error:
                refuse("INVALID_ARGUMENT", f"Unparseable filter: regular expression {value!r}")
            found: Predicate = lambda entry: any(pattern.search(str(each)) for each in _at(entry, path))  # noqa: E731
            return found if operator == "=~" else lambda entry: not found(entry)
        if operator == "!=":
            return lambda entry: not any(_compare(path, each, "=", value) for each in _at(entry, path))
        return lambda entry: any(_compare(path, each, operator, value) for each in _at(entry, path))


def _log_id(entry: dict[str, Any]) -> str | None:
    match = _LOG_NAME.fullmatch(str(entry.get("logName", "")))
    return unquote(match[1]) if match else None


def _compare(path: list[str], actual: object, operator: str, value: str) -> bool:
    if operator == ":":
        return value == "*" or value.lower() in str(actual).lower()
    left, right = _comparable(path, actual), _comparable(path, value)
    if type(left) is not type(right):
        left, right = str(actual), value
    if operator == "=":
        return left == right
    return {
        ">": left > right,  # type: ignore[operator]  # both were made the same type above
        ">=": left >= right,  # type: ignore[operator]
        "<": left < right,  # type: ignore[operator]
        "<=": left <= right,  # type: ignore[operator]
    }[operator]


def _comparable(path: list[str], value: object) -> float | str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if path == ["severity"] and text.upper() in _SEVERITIES:
        return float(_SEVERITIES.index(text.upper()))
    if path == ["timestamp"]:
        return _seconds(text)
    try:
        return float(text)
    except ValueError:
        return text


def _seconds(text: str) -> float | str:
    """A timestamp in any offset as seconds. Any other text is returned as it is and matches only itself."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return text


def _at(value: object, path: list[str]) -> list[object]:
    """Every value at the path. Searches the elements of lists, as the language does for repeated fields."""
    if isinstance(value, list):
        return [found for each in value for found in _at(each, path)]
    if not path:
        return [value]
    if isinstance(value, dict) and path[0] in value:
        return _at(value[path[0]], path[1:])
    return []


def _path(token: str) -> list[str]:
    return [_unquote(part) for part in re.findall(r"\"(?:[^\"\\]|\\.)*\"|[^.]+", token)]


def _unquote(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') and token.endswith('"') else token


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [str(value)]
