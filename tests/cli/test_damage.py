"""A ledger file that is damaged beneath its records: `trail verify` names it, and no command calls that its own defect."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from remediate.cli.app import app
from remediate.errors import LedgerFault, RemediateError
from remediate.ledger.sqlite import SqliteLedger
from tests.cli.shell import REVIEWER, Shell
from tests.sandbox_fixture import SandboxProcess
from tests.wire.function_fixture import FunctionProcess, same_project

PAGE = 4096


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """The same, with an approval and a switch."""
    shell.run("approve", shell.ids[0], "--as", REVIEWER, "--for", "1h")
    shell.run("mode", "dry-run", "--as", REVIEWER, "--reason", "test")
    return shell


def file_of(shell: Shell) -> Path:
    return Path(shell.environment["REMEDIATE_LEDGER"].removeprefix("sqlite:///"))


def whole(path: Path) -> bytes:
    """The file with everything in it, and no log beside it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def put(path: Path, content: bytes) -> None:
    for beside in ("-wal", "-shm"):
        Path(f"{path}{beside}").unlink(missing_ok=True)
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)  # connections of this process share what they know of one file


def execute(path: Path, query: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(query)
        connection.commit()


@pytest.mark.parametrize(
    "name", ["remediations", "trail", "denials", "modes", "mode_changes", "places", "parcels", "trail_by_time"]
)
def test_verify_names_a_table_or_an_index_that_is_gone(shell: Shell, name: str) -> None:
    kind = "index" if "_by_" in name else "table"
    execute(file_of(shell), f"DROP {kind.upper()} {name}")
    said = shell.run("trail", "verify", code=1)
    assert f"ledger  broken: the {kind} {name} is missing" in said
    assert " 0 broken" not in said
    if name in ("remediations", "trail", "modes"):
        command = ["list"] if name == "remediations" else ["trail"] if name == "trail" else ["mode"]
        said = shell.run(*command, code=1)
        assert f"the ledger is damaged: no such table: {name}" in said
        assert "trail verify" in said


def test_verify_notices_every_zeroed_page(shell: Shell) -> None:
    path = file_of(shell)
    content = whole(path)
    assert len(content) // PAGE > 10
    unnoticed = []
    for page in range(len(content) // PAGE):
        if not content[page * PAGE : (page + 1) * PAGE].strip(b"\0"):
            continue
        put(path, content[: page * PAGE] + bytes(PAGE) + content[(page + 1) * PAGE :])
        # A file whose first page is gone is none of SQLite's: a usage error, before anything is verified.
        if not invoke(shell, "trail", "verify"):
            unnoticed.append(page)
    assert unnoticed == []


@pytest.mark.parametrize("left", [PAGE * 3, PAGE * 8 + 100, -PAGE])
def test_verify_notices_a_cut_file(shell: Shell, left: int) -> None:
    path = file_of(shell)
    put(path, whole(path)[:left])
    assert invoke(shell, "trail", "verify") in (1, 2)


def invoke(shell: Shell, *arguments: str) -> int:
    """The exit code of a command in this process; anything but an error of ours is what it must not be."""
    clean = dict.fromkeys(("REMEDIATE_MODE", "REMEDIATE_POLICY"))
    result = CliRunner().invoke(app, list(arguments), env=clean | shell.environment)
    if isinstance(result.exception, RemediateError):
        return 1 if isinstance(result.exception, LedgerFault) else 2
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code


def commands(shell: Shell) -> list[list[str]]:
    return [
        ["list", "--format", "json"],
        ["list", "--state", "granted"],
        ["show", shell.ids[0]],
        ["trail", "--format", "csv"],
        ["trail", "mode"],
        ["trail", "verify"],
        ["mode"],
        ["sweep"],
        ["sweep", "--as-of", "2099-01-01T00:00:00Z"],
        ["approve", shell.ids[1], "--as", REVIEWER],
        ["reject", shell.ids[1], "--as", REVIEWER, "--reason", "no"],
        ["revoke", shell.ids[0], "--as", REVIEWER, "--reason", "no"],
    ]


@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_bit_is_a_defect_of_remediate(shell: Shell, seed: int) -> None:
    path, chance = file_of(shell), random.Random(seed)
    content = whole(path)
    used = [at for at, byte in enumerate(content) if byte and at >= 100]  # empty space holds nothing to damage
    for command in commands(shell) * 2:
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 8, 64))):
            damaged[chance.choice(used)] ^= 1 << chance.randrange(8)
        put(path, bytes(damaged))
        invoke(shell, *command)


@pytest.mark.parametrize("damage", ["DROP TABLE remediations", "DROP TABLE trail", "DROP TABLE denials"])
def test_the_function_says_that_a_ledger_needs_mending(
    sandbox_server: SandboxProcess, tmp_path: Path, damage: str
) -> None:
    function = FunctionProcess(sandbox_server, tmp_path)
    try:
        execute(function.ledger_path, damage)
        assert function.push(same_project()) == 500
        [line] = function.lines()
        assert (line["severity"], "no such table" in line["why"]) == ("CRITICAL", True)
    finally:
        function.close()


def test_what_passes_is_still_a_passing_fault(tmp_path: Path) -> None:
    """A lock that another process holds, and a disk that is full, are no damage."""
    from remediate.errors import TransientFault
    from remediate.ledger import sqlite

    ledger = SqliteLedger(tmp_path / "ledger.db")
    for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY):
        error = sqlite3.OperationalError("x")
        error.sqlite_errorcode = code
        with pytest.raises(TransientFault), sqlite._faults():
            raise error
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.execute("PRAGMA journal_mode")
        ledger._connection().execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientFault, match="locked"):
            ledger.enqueue([])
    assert json.dumps(list(ledger.damage())) == "[]"
