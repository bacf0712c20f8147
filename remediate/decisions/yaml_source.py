"""Reads YAML and keeps the position of every value, so that errors name line and column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from remediate.errors import BadInput

if TYPE_CHECKING:
    from yaml import Node

Marks = dict[str, tuple[int, int, str]]
"""Line, column (from 1) and style (`|`, `"`, ...) of each value, by its path (`$.rules[0].when`)."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = ("str", "bool", "int", "float", "null")
"""The accepted types of a value. Other YAML types (dates, sets, binary, Python objects) need quotes and are text."""


def load_yaml(text: str, name: str) -> tuple[object, Marks]:
    """The content of a YAML document, and the position of each value.

    Raises BadInput with `name`, line and column for invalid YAML, for a duplicate key, and for a value that is not
    text, a number, true, false, null, or a list or mapping of these.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise BadInput(f"{name}: the file is empty")
        marks: Marks = {}
        return _content(node, "$", marks, name, set()), marks
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        hint = " (text that begins with ! needs quotes)" if re.search(r":\s+!", line) else ""
        raise BadInput(f"{place}: invalid YAML: {error.problem or error.context}{hint}") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line_, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        raise BadInput(f"{name}:{line_}:{column}: invalid YAML: {error.reason}") from None
    except RecursionError:
        raise BadInput(f"{name}: nested too deeply") from None


def _content(node: Node, path: str, marks: Marks, name: str, seen: set[int]) -> object:
    """The value of a node. Adds the marks of the node and of its children."""
    import yaml

    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    marks[path] = (line, column, getattr(node, "style", None) or "")
    if id(node) in seen:
        raise BadInput(f"{name}:{line}:{column}: YAML aliases are not supported: repeat the value")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_content(each, f"{path}[{number}]", marks, name, seen) for number, each in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        content: dict[str, object] = {}
        for key, inner in node.value:
            mark = (key.start_mark.line + 1, key.start_mark.column + 1)
            if key.tag != f"{_TAG}str":
                raise BadInput(f"{name}:{mark[0]}:{mark[1]}: a key must be text")
            word = _text(str(key.value), name, mark)
            if word in content:
                raise BadInput(f"{name}:{mark[0]}:{mark[1]}: duplicate key {word!r}")
            marks[f"{path}.{word}!"] = (*mark, "")
            content[word] = None
            content[word] = _content(inner, f"{path}.{word}", marks, name, seen)
        return content
    kind = node.tag.removeprefix(_TAG)
    if not isinstance(node, yaml.ScalarNode) or kind not in _PLAIN:
        ours = node.tag.startswith(_TAG)
        said = (
            f"YAML reads this as a {kind}; text"
            if ours
            else f"the tag {node.tag} is not supported; text that begins with !"
        )
        raise BadInput(f"{name}:{line}:{column}: {said} needs quotes")
    if kind == "str":
        return _text(str(node.value), name, (line, column))
    try:
        value: object = yaml.SafeLoader("").construct_object(node)
    except (ValueError, LookupError, OverflowError):  # `!!bool x`
        raise BadInput(f"{name}:{line}:{column}: {node.value[:40]!r} is not a valid {kind}") from None
    return value


def _text(text: str, name: str, mark: tuple[int, int]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # YAML accepts half a surrogate pair ("\ud800"); UTF-8 cannot encode it
        raise BadInput(f"{name}:{mark[0]}:{mark[1]}: the text has half a surrogate pair, which is not valid") from None
    return text


def place_of(name: str, marks: Marks, path: str) -> str:
    """`NAME:LINE:COLUMN` of the value at this path."""
    line, column, _ = marks.get(path, (1, 1, ""))
    return f"{name}:{line}:{column}"


def locate_error(text: str, name: str, marks: Marks, accepted: Mapping[str, str]) -> str:
    """msgspec's message (`Object missing required field ... - at `$.rules[0]``) with the place in the file.

    `accepted` lists a key's accepted values, by its name, for keys where msgspec's message does not.
    """
    words, _, path = text.rpartition(" - at ")
    path = path.strip("`") if words else "$"
    words = words or text
    if unknown := re.search(r"unknown field `(.+)`", words):
        return f"{place_of(name, marks, f'{path}.{unknown[1]}!')}: unknown key {unknown[1]!r}"
    key = re.sub(r"\[[0-9.]*\]$", "", path).rpartition(".")[2]
    if key in accepted and "regex" in words:
        words = f"expected {accepted[key]}"
    elif key in accepted and "enum" in words:
        words += f"; expected one of {accepted[key]}"
    return f"{place_of(name, marks, path)}: {path.removeprefix('$').lstrip('.') or 'the file'}: {words}"
