"""`plan` on exports of any length: memory stays where it is, entries keep their order, and few lines tell what is broken."""

from __future__ import annotations

import gzip
import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from remediate.cli.spool import Spool
from tests.audit_entries import activity
from tests.cli.shell import run
from tests.sandbox_fixture import ROOT

pytestmark = pytest.mark.slow

MANY = 600_000  # documents; held in memory, as many took 240 MB
LAYOUTS = {
    "lines": (b"", b"{}\n", b""),
    "pretty array": (b"[\n", b'  {\n    "a": 1\n  },\n', b"  {}\n]\n"),
    "array in one line": (b"[", b"{},", b"{}]"),
    "other entries": (b"", b'{"insertId":"1","logName":"projects/p/logs/x"}\n', b""),
    "names of projects": (b"", b'{"resource":{"labels":{"project_id":"p"}}}\n', b""),
}
# Runs the command and tells, on a line of its own, the most memory that it held, in megabytes.
MEASURED = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run([sys.executable, '-m', 'remediate', 'plan', *sys.argv[1:]], stdout=subprocess.PIPE)\n"
    "sys.stdout.buffer.write(done.stdout)\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n"
    "sys.exit(done.returncode)\n"
)


def measure(*arguments: str) -> tuple[bytes, int, str]:
    """Standard output, megabytes at most, and standard error."""
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    text, _, most = done.stdout.rstrip(b"\n").rpartition(b"\n")
    return text, int(most), done.stderr.decode()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_tiny_documents_take_no_more_memory_however_many_there_are(tmp_path: Path, layout: tuple[bytes, ...]) -> None:
    path = tmp_path / "export.gz"
    first, each, last = layout
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(first)
        for _ in range(MANY // 10_000):
            file.write(each * 10_000)
        file.write(last)
    text, most, told = measure(str(path), "--format", "table")
    assert (f"{MANY + last.count(b'{}')} entries".encode() in text, told) == (True, "")
    assert most < 90


def test_json_of_a_long_export_is_spooled(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b'{"insertId":"x"}\n' * 300_000)
    text, most, _ = measure(str(path), "--format", "json")
    assert most < 90
    assert text.count(b'"insert_id":"x"') == 300_000
    assert json.loads(text)["summary"]["entries"] == 300_000


@pytest.mark.parametrize("piece", [b"{]\n", b'{"insertId":"1",\n', b'[{"insertId":]},\n'])
def test_broken_pieces_are_told_by_ten_lines_a_file(tmp_path: Path, piece: bytes) -> None:
    names = [tmp_path / "one", tmp_path / "two"]
    for name in names:
        name.write_bytes(piece * 30_000)
    text, most, told = measure(*map(str, names))
    assert most < 90
    lines = told.splitlines()
    for name in names:
        own = [line for line in lines if line.startswith(f"{name}:")]
        assert len(own) == 11
        assert all(": unreadable: " in line for line in own[:10])
        more = int(own[10].removeprefix(f"{name}: and ").removesuffix(" more unreadable"))
        assert more > 9_000
    assert len(lines) == 22
    assert b"0 entries" in text


@pytest.mark.parametrize("piece", [b"x\n", b"\xff\n", b"7\n"])
def test_a_long_file_of_the_wrong_kind_is_told_in_one_line(tmp_path: Path, piece: bytes) -> None:
    name = tmp_path / "one"
    name.write_bytes(piece * 30_000)
    text, most, told = measure(str(name))
    assert most < 90
    assert told.startswith(f"{name}: this is no exported log")
    assert told.count("\n") == 1
    assert b"0 entries" in text


def test_ten_broken_pieces_are_all_told(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"{]\n" * 10)
    told = run("plan", str(tmp_path / "one")).stderr.decode().splitlines()
    assert [line.split(":")[1] for line in told] == [str(number) for number in range(1, 11)]


def test_json_is_in_the_order_of_the_input_and_drives_no_terminal(tmp_path: Path) -> None:
    entries = [activity(insert_id=f"{number}\u202e\x9b2J\u200b\u2028") for number in range(50)]
    (tmp_path / "one").write_text(json.dumps(entries, ensure_ascii=False))
    text = run("plan", str(tmp_path / "one"), "--format", "json").stdout.rstrip(b"\n")
    report = json.loads(text)
    assert [each["insert_id"] for each in report["entries"]] == [each["insertId"] for each in entries]
    assert list(report) == ["entries", "grants", "summary"]
    assert report["summary"]["denials"] == 50
    assert all(char.isprintable() for char in text.decode())


def test_a_bad_file_prints_nothing_but_why(tmp_path: Path) -> None:
    (tmp_path / "one").write_text(json.dumps(activity()))
    (tmp_path / "two").write_text("---\ninsertId: 1\n")
    done = run("plan", str(tmp_path / "one"), str(tmp_path / "two"), "--format", "json")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_spool_gives_back_what_was_put_in_though_it_outgrows_memory() -> None:
    chance = random.Random(1)
    texts = [chance.randbytes(20_000).hex() for _ in range(400)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Spool() as spool:
        for text in texts:
            spool.add(text)
        assert b"".join(spool.join(iter(()))).decode().split(",") == texts
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    with Spool() as spool:
        assert b"".join(spool.join(iter(()))) == b""
