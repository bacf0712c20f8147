"""Turns mutmut's run into a verdict: which changes of the deciding modules no test notices, and why that is no fault.

`tests/mutants.yaml` lists the survivors that change nothing a caller can see, each with its reason. A survivor that is not
listed, and a listed one that no longer survives, end the run with exit code 1. mutmut leaves decorated functions
(properties) and module constants alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
_KEPT = ROOT / "mutants" / "remediate"
_SURVIVED, _NO_TESTS = 0, 33  # mutmut's own exit codes: the tests passed; no test calls the function


class Mutant(msgspec.Struct, frozen=True):
    """One change: the function, and the lines that the change took out and put in."""

    function: str
    before: str
    after: str


class Accepted(Mutant, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A survivor that is equivalent, and why."""

    reason: str


def _accepted() -> dict[Mutant, str]:
    listed = msgspec.yaml.decode((ROOT / "tests" / "mutants.yaml").read_bytes(), type=list[Accepted] | None) or []
    return {Mutant(each.function, each.before, each.after): each.reason for each in listed}


def _verdicts(modules: list[str]) -> Iterator[tuple[str, str, int | None]]:
    """Module, mutant's name and exit code of each mutant that mutmut knows."""
    for kept in sorted(_KEPT.rglob("*.meta")):
        module = kept.name.removesuffix(".py.meta")
        if not modules or module in modules:
            codes: dict[str, int | None] = json.loads(kept.read_text())["exit_code_by_key"]
            yield from ((module, name, code) for name, code in codes.items())


def _described(name: str) -> Mutant:
    shown = subprocess.run(["mutmut", "show", name], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    changed = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    before = "\n".join(line[1:].strip() for line in changed if line[0] == "-")
    after = "\n".join(line[1:].strip() for line in changed if line[0] == "+")
    return Mutant(name.rpartition("__mutmut_")[0].removeprefix("remediate."), before, after)


def main(modules: list[str]) -> int:
    """Run the mutants (of these modules; all where none is named), print the table, and give the exit code."""
    patterns = [f"remediate.{module}.*" for module in modules]
    progress = None if sys.stderr.isatty() else subprocess.DEVNULL
    ran = subprocess.run(["mutmut", "run", *patterns], cwd=ROOT, stdout=progress, stderr=subprocess.STDOUT, check=False)
    verdicts = list(_verdicts(modules))
    if ran.returncode != 0 or not verdicts:
        print("mutmut could not run: do the tests pass? `mutmut run` says why.", file=sys.stderr)
        return 2
    survivors = {_described(name) for _, name, code in verdicts if code in (_SURVIVED, _NO_TESTS)}
    accepted = _accepted()
    total = Counter(module for module, _, _ in verdicts)
    alive = Counter(module for module, _, code in verdicts if code in (_SURVIVED, _NO_TESTS))
    for module, count in sorted(total.items()):
        print(f"{module:14} {count - alive[module]:5} of {count:5} killed, {alive[module]} survive")
    print(f"{'together':14} {1 - alive.total() / total.total():.1%} of {total.total()} killed")
    new = sorted(survivors - accepted.keys(), key=msgspec.structs.astuple)
    for each in new:
        print(f"\nsurvives, and is not listed: {each.function}\n- {each.before}\n+ {each.after}")
    stale = [each for each in accepted if each not in survivors] if not modules else []
    for each in stale:
        print(f"\nlisted, and does not survive any more: {each.function}\n- {each.before}\n+ {each.after}")
    return 1 if new or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
