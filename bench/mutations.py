"""Prints the mutants of a module as JSON. Each one is the whole source with one small change.

    python -m bench.mutations remediate/iam/member.py [--no-prose]

The changes are those of mutmut's operators (numbers, strings, names, comparisons, calls, ...), and three more: negate a
condition, omit a statement, do not return a value. They apply everywhere in a module: mutmut itself changes only bodies
of functions, but here half of the decisions are patterns and tables outside of functions.
`--no-prose` keeps texts of four and more words: no test needs to check descriptions for people.
It runs in its own environment, which has mutmut and not the service.
"""

from __future__ import annotations

import ast
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper
from mutmut.mutation.mutators import mutation_operators

_PROSE = 4  # the fewest words that make a text prose
_NEVER = {"len", "isinstance", "cast", "TypeVar", "NewType"}
"""Calls that are meaningless without their arguments, or that are for the type checker."""


class _Mutations(cst.CSTVisitor):
    """Collects node, replacement and the name of the enclosing function or class. Leaves out nodes of `_skipped`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, str]] = []
        self._path: list[str] = []
        self._heads: set[cst.CSTNode] = set()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._path.append(node.name.value)
        if isinstance(node, cst.ClassDef):
            self._heads |= {*node.bases, *node.keywords}  # `frozen=True` and the like
        if node in self._heads or _skipped(node):
            return False
        self.found += [(node, each, ".".join(self._path)) for each in (*_theirs(node), *_ours(node))]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._path.pop()


def _skipped(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Annotation | cst.Decorator | cst.Import | cst.ImportFrom):
        return True
    if isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING":
        return True
    if isinstance(node, cst.Assert):
        return True  # it is for the type checker
    called = node.func if isinstance(node, cst.Call) else None
    return isinstance(called, cst.Name) and called.value in _NEVER


def _theirs(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            yield from operator(node)


def _ours(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, cst.If | cst.While | cst.CompIf) and not isinstance(node.test, cst.Comparison):
        held = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), held))
    if isinstance(node, cst.Raise) or (isinstance(node, cst.Expr) and isinstance(node.value, cst.Call)):
        yield cst.Pass()
    if isinstance(node, cst.Return) and node.value and not isinstance(node.value, cst.Name | cst.Call):
        yield node.with_changes(value=cst.Name("None"))


def mutants(source: str, *, prose: bool = True) -> Iterator[dict[str, object]]:
    """Each mutant: its source, the line, the enclosing function or class, and the lines before and after."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    spans = wrapper.resolve(ByteSpanPositionProvider)
    visitor = _Mutations()
    wrapper.module.visit(visitor)
    original, seen = source.splitlines(), {ast.dump(ast.parse(source))}
    for node, replacement, where in visitor.found:
        if not prose and isinstance(node, cst.SimpleString) and len(node.value.split()) >= _PROSE:
            continue
        changed = _spliced(wrapper.module, spans.get(node), node, replacement, source.encode())
        try:
            shape = ast.dump(ast.parse(changed))
        except SyntaxError:
            continue
        if shape in seen:
            continue
        seen.add(shape)
        line, before, after = _difference(original, changed.splitlines())
        yield {"line": line, "where": where, "before": before, "after": after, "source": changed}


def _spliced(module: cst.Module, at: CodeSpan | None, node: cst.CSTNode, replacement: cst.CSTNode, text: bytes) -> str:
    """The source with the node replaced: by its position in the text, or in the tree if the position is unclear."""
    if at is not None:
        end = at.start + at.length
        if text[at.start : end].decode(errors="replace") == module.code_for_node(node):
            return (text[: at.start] + module.code_for_node(replacement).encode() + text[end:]).decode()
    changed = module.deep_replace(node, replacement)
    assert isinstance(changed, cst.Module)
    return changed.code


def _difference(before: list[str], after: list[str]) -> tuple[int, str, str]:
    """The number of the first different line (from 1), and all different lines before and after."""
    blocks = [
        each
        for each in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        if each[0] != "equal"
    ]
    first, last = blocks[0], blocks[-1]
    return first[1] + 1, _joined(before[first[1] : last[2]]), _joined(after[first[3] : last[4]])


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


if __name__ == "__main__":
    json.dump([*mutants(Path(sys.argv[1]).read_text(), prose="--no-prose" not in sys.argv)], sys.stdout)
