"""Plain words: no text that users read contains one of a few banned turns of phrase."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from remediate.reasons import Reason

ROOT = Path(__file__).parents[1]
BANNED = (
    "whoever", "whatever", "somebody", "nobody knows", "(?:is|are) told of", "stands? on", "of before",
    "no more(?! than)", "bears?", "besides", "on the word of", "meanwhile", "worth it", "look yourself", "hangs? on",
    "learnt", "taken away", "takes? it away", "took it away", "say it again", "(?:was|about) to lapse",
)  # fmt: skip
"""Turns of phrase, as patterns of whole words in any case, that a reader has to read twice. A plain version exists."""
_BANNED = re.compile(rf"\b(?:{'|'.join(BANNED)})\b", re.IGNORECASE)
_NOT_TEXT = re.compile(r"\{#.*?#\}|\{%.*?%\}", re.DOTALL)
"""Comments and statements of a template. Their literals are checked separately."""
_LITERAL = re.compile(r"\"([^\"]*)\"")
_COMMAND = re.compile(r"\.(?:command|callback)\b")

Text = tuple[str, str]
"""The place (`path:line`) and the text."""


def _name(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def templates(folder: str) -> Iterator[Text]:
    """The text of each line of each template, and the literals in its expressions."""
    for path in sorted((ROOT / folder).glob("*.html")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield _name(path, number), _NOT_TEXT.sub(" ", line)
            yield from ((_name(path, number), text) for text in _LITERAL.findall(line))


def reasons() -> Iterator[Text]:
    """The sentence of each reason."""
    yield from ((f"Reason.{reason.name}", reason.sentence) for reason in Reason)


def literals(*places: str) -> Iterator[Text]:
    """The string literals of modules, and the docstrings of commands, which are their help; no other docstring."""
    for place in places:
        found = ROOT / place
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            tree = ast.parse(path.read_text())
            docstrings = _docstrings(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    yield _name(path, node.lineno), node.value


def _docstrings(tree: ast.Module) -> set[int]:
    """The ids of strings that are statements, except the docstrings of commands."""
    commands = {ast.unparse(each.args[0]) for each in ast.walk(tree) if _registers(each) and each.args}
    help_texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and isinstance(node.body[0], ast.Expr)
        and (node.name in commands or any(_COMMAND.search(ast.unparse(each)) for each in node.decorator_list))
    }
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return statements - help_texts


def _registers(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether this is `app.command(...)(function)`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Call)
        and _COMMAND.search(ast.unparse(node.func.func)) is not None
    )


TRAIL_NOTES = (
    "found in the binding: put there by an earlier attempt, or by somebody else",
    " as deployer is not in the log, or names somebody else",
)
"""Notes that audit trails store. They stay as they are: a hash covers them."""
SERVICE = (
    "remediate/service", "remediate/records", "remediate/ledger", "remediate/cloud", "remediate/settings.py",
    "remediate/setting_values.py", "remediate/wiring.py", "remediate/log_lines.py", "remediate/errors.py", "main.py",
)  # fmt: skip


def service() -> Iterator[Text]:
    """The messages of the service: errors and their advice, log lines, settings' errors; no note of an audit trail."""
    yield from ((where, text) for where, text in literals(*SERVICE) if text not in TRAIL_NOTES)


def documents(*names: str) -> Iterator[Text]:
    """The lines of documents."""
    for name in names:
        for path in sorted(ROOT.glob(name)):
            yield from ((_name(path, number), line) for number, line in enumerate(path.read_text().splitlines(), 1))


PLACES: dict[str, Callable[[], Iterable[Text]]] = {
    "templates": lambda: templates("remediate/review/templates"),
    "reasons": reasons,
    "review": lambda: literals("remediate/review"),
    "README": lambda: documents("README.md"),
    "notices": lambda: literals("remediate/notify", "remediate/records/notice.py"),
    "cli": lambda: literals("remediate/cli"),
    "doctor": lambda: literals("remediate/doctor"),
    "docs": lambda: documents("docs/*.md"),
    "decisions": lambda: literals("remediate/entries", "remediate/iam", "remediate/decisions"),
    "service": service,
}
"""The checked places. Add a place once its texts are plain."""


@pytest.mark.parametrize("place", PLACES)
def test_a_users_text_has_no_banned_turn(place: str) -> None:
    texts = list(PLACES[place]())
    assert len(texts) > 20
    assert [f"{where}: {found[0]!r} in {text!r}" for where, text in texts if (found := _BANNED.search(text))] == []


def test_the_check_finds_a_turn_in_each_kind_of_place() -> None:
    assert _BANNED.search("It Stands On the trail.")
    assert not _BANNED.search("understands only the trail")
    tree = ast.parse('''
@app.command()
def shown():
    """Whoever reads it."""

def listed():
    """Whoever lists it."""

def helper():
    """Whoever calls it."""
    return "besides"

app.command("list")(listed)
''')
    skipped = _docstrings(tree)
    read = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in skipped]
    assert sorted(map(str, read)) == ["Whoever lists it.", "Whoever reads it.", "besides", "list"]
    assert any(where.startswith("README.md:") for where, _ in documents("README.md"))
