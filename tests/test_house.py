"""House rules that import-linter's contracts do not cover: sizes, docstrings, reasons, guarantees with their tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from remediate.reasons import Reason
from tests.modules import imports_of

ROOT = Path(__file__).parents[1]


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("remediate", ("sandbox", "tests", "bench")),
        ("sandbox", ("remediate",)),
        ("remediate/cloud", ("remediate.decisions.policy.decide",)),
        ("remediate/review", ("remediate.cloud",)),
    ],
)
def test_a_room_never_imports_upward(room: str, never: tuple[str, ...]) -> None:
    for path in _modules(room):
        for name in imports_of(path):
            assert not any(name == banned or name.startswith(f"{banned}.") for banned in never), (path, name)


def test_the_remediator_knows_google_cloud_and_the_ledger_as_protocols_alone() -> None:
    imported = imports_of(ROOT / "remediate" / "service" / "remediator.py")
    for name in imported:
        if name.startswith(("remediate.cloud.", "remediate.ledger.")):
            assert ".interface" in name, name


def test_importing_the_package_imports_no_google_client() -> None:
    for path in _modules("remediate"):
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert not any(str(name).startswith(("google", "grpc")) for name in names), path


def test_no_struct_is_first_met_as_json_is_decoded() -> None:
    """Two threads that meet it at once crash msgspec: a decoder built on import, or `decode_json`, meets it before."""
    plain = {"dict", "str", "object", "msgspec", "hint"}  # hint: the type of a field of an entry, known on import
    found = 0
    for path in [*_modules("remediate"), *_modules("sandbox")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "msgspec.json.decode":
                kinds = [each.value for each in node.keywords if each.arg == "type"]
                names = {each.id for kind in kinds for each in ast.walk(kind) if isinstance(each, ast.Name)}
                assert names <= plain, (path, node.lineno)
                found += 1
    assert found


def test_every_module_says_what_it_is_for() -> None:
    for path in [*_modules("remediate"), *_modules("sandbox"), *_modules("tests")]:
        assert path.stat().st_size == 0 or ast.get_docstring(ast.parse(path.read_text())), path


def test_files_stay_small_enough_to_read() -> None:
    for path in [*_modules("remediate"), *_modules("sandbox")]:
        assert len(path.read_text().splitlines()) <= 400, path


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_sentence_and_documented(reason: Reason) -> None:
    assert reason.sentence.endswith(".")
    assert f"| `{reason}` |" in (ROOT / "docs" / "reasons.md").read_text()


def test_every_guarantee_names_a_test_that_is_there() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("guarantees.md", "threat-model.md"))
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", text)
    assert len(named) > 40
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(), test
