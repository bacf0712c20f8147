"""Mutation testing of the modules that decide and write: finds small changes that a module's own tests do not detect.

    make mutants                        every module of the table
    make mutants MODULES="policy error_text"
    make mutants MODULES="policy --yaml"   survivors as entries of the list, with empty reasons

Each mutant is a fork of one warm process that has imported everything except the product and its tests. The fork
imports the mutant in place of the module, runs the module's own tests up to the first failure, and exits. `.mutants/`
keeps the result of a mutant until its module or a test changes, so that an interrupted run continues where it stopped.
Exits 1 if a mutant survives that `bench/mutants.yaml` does not list with the reason why it is equivalent.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import yaml

from bench.mutant_tests import AllTests, Chosen, Tracing

ROOT = Path(__file__).parents[1]
KNOWN = ROOT / ".mutants"
ACCEPTED = ROOT / "bench" / "mutants.yaml"
GENERATOR = os.environ.get("MUTANTS_PYTHON", str(ROOT / ".venv-mutants" / "bin" / "python"))
WORKERS = int(os.environ.get("MUTANTS_WORKERS", str(os.cpu_count() or 1)))
_LEAST, _TIMES = 10.0, 6  # a mutant's time limit: at least these seconds, else this many times the tests' usual time
_MEMORY = 4 << 30  # bytes that a mutant may allocate
_GOAL = 0.95
_NO_TESTS = 5  # pytest's exit code if no test was selected
_SELECT = "not firestore"  # an emulator for each mutant would take longer than everything else


@dataclass(frozen=True)
class Module:
    """A module of `remediate` and its own tests, the quickest to fail first. `prose`: long texts are mutated too."""

    tests: tuple[str, ...]
    prose: bool = False


_ENTRIES = (
    "entries/test_denial.py",
    "entries/test_corpus.py",
    "entries/test_corpus_field.py",
    "entries/test_joining.py",
    "entries/test_error_details.py",
)
_SERVICE = (
    "service/test_reviewers.py",
    "service/test_each_approval.py",
    "service/test_each_decision.py",
    "service/test_executor.py",
    "service/test_carried_out_later.py",
    "service/test_waiting_approvals.py",
    "service/test_approvals.py",
    "service/test_two_approvals.py",
    "service/test_lifecycle.py",
    "service/test_endings.py",
    "service/test_evidence.py",
    "service/test_modes.py",
    "service/test_loosening.py",
    "service/test_remediator.py",
    "service/test_who_is_granted.py",
    "service/test_read_back.py",
    "service/test_history.py",
    "service/test_prediction.py",
    "service/test_renewal.py",
    "records/test_gathering.py",
)
"""Every test of the service: one that does not enter what is changed is left out."""

MODULES = {
    "iam.member": Module(
        ("iam/test_member.py", "test_settings.py", "decisions/test_organization.py", "entries/test_denial.py")
    ),
    "iam.allow_policy": Module(("iam/test_allow_policy.py", "service/test_lifecycle.py", "service/test_remediator.py")),
    "decisions.policy": Module(
        (
            "decisions/test_decision.py",
            "decisions/test_policy.py",
            "service/test_who_is_granted.py",
            "service/test_evidence.py",
            "decisions/test_plan.py",
            "entries/test_denial.py",
        )
    ),
    "entries.error_text": Module(("entries/test_each_text.py", *_ENTRIES, "entries/test_error_text.py"), prose=True),
    "entries.denial": Module(
        ("entries/test_each_denial.py", *_ENTRIES, "entries/test_authorization.py", "entries/test_properties.py"),
        prose=True,
    ),
    "service.reviewers": Module(_SERVICE),
    "service.decider": Module(_SERVICE),
    "service.approvals": Module(_SERVICE),
    "service.executor": Module(_SERVICE),
}


@dataclass(frozen=True)
class Mutant:
    """One small change to a module."""

    line: int
    where: str
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Identifies the mutant in a list without its line number, which changes more often than the line's text."""
        return self.where, self.before, self.after


@dataclass
class Result:
    """The result of a module's mutants: `died` or `survived` for each, and the average seconds for one."""

    mutants: list[Mutant]
    fates: list[str]
    seconds: float


def main(words: Sequence[str]) -> int:
    """Run the modules with these names, or all; returns the exit code."""
    short = {name.rpartition(".")[2]: name for name in MODULES}
    names, as_yaml = [short.get(word, word) for word in words if word != "--yaml"], "--yaml" in words
    unknown = [name for name in names if name not in MODULES]
    if unknown:
        print(f"{unknown[0]!r}: expected some of {', '.join(MODULES)}", file=sys.stderr)
        return 2
    _warm_up()
    accepted = yaml.safe_load(ACCEPTED.read_text()) or {}
    strangers, died, counted = 0, 0, 0
    for name in names or MODULES:
        result = _run(name, MODULES[name])
        strangers += _report(name, result, accepted.get(name) or [], as_yaml=as_yaml)
        died += result.fates.count("died")
        counted += len(result.fates)
    print(f"{died} of {counted} mutants died ({died / max(counted, 1):.1%}; the goal is {_GOAL:.0%})")
    if strangers:
        print(f"{strangers} are not in {ACCEPTED.name}: write a test, or list why it is equivalent")
    return 1 if strangers else 0


def _report(name: str, result: Result, accepted: list[dict[str, str]], *, as_yaml: bool) -> int:
    """Print the result of a module's mutants; returns the number of survivors that are not accepted."""
    survivors = [each for each, fate in zip(result.mutants, result.fates, strict=True) if fate != "died"]
    known = Counter((each["in"], each["before"], each["after"]) for each in accepted)
    strangers = [each for each in survivors if each.key not in known]
    stale = [key for key in known if key not in {each.key for each in survivors}]
    count = len(result.fates)
    took = f", {result.seconds:.2f} s each" if result.seconds else ""
    print(f"{name}: {count - len(survivors)} of {count} died, {len(survivors) - len(strangers)} equivalent{took}")
    if as_yaml and strangers:
        entries = [{"in": each.where, "before": each.before, "after": each.after, "because": ""} for each in strangers]
        print(yaml.safe_dump({name: entries}, sort_keys=False, allow_unicode=True, width=1000))
    for each in [] if as_yaml else strangers:
        print(f"  survives  {_path(name).relative_to(ROOT)}:{each.line} {each.where or 'module'}")
        print(f"    - {each.before}\n    + {each.after}")
    for where, before, after in stale:
        print(f"  stale     {ACCEPTED.name} {name}: {where}: no longer survives\n    - {before}\n    + {after}")
    for entry in accepted:
        if not str(entry.get("because", "")).strip():
            print(f"  no reason {ACCEPTED.name} {name}: {entry['in']}: {entry['before']}")
            strangers.append(Mutant(0, entry["in"], entry["before"], entry["after"], ""))
    sys.stdout.flush()
    return len(strangers)


# One module


def _path(name: str) -> Path:
    return ROOT.joinpath("remediate", *name.split(".")).with_suffix(".py")


def _run(name: str, module: Module) -> Result:
    path = _path(name)
    words = [GENERATOR, "-m", "bench.mutations", str(path), *([] if module.prose else ["--no-prose"])]
    made = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    mutants = [Mutant(**each) for each in json.loads(made.stdout)]
    store = KNOWN / f"{name}.json"
    known: dict[str, str] = json.loads(store.read_text()) if store.exists() else {}
    beside = [*sorted((ROOT / "tests").glob("*.py")), *(ROOT / "tests" / each for each in module.tests)]
    tests = _digest(*(each.read_bytes() for each in beside))
    idents = [_digest(tests.encode(), *map(str.encode, module.tests), _code(each.source)) for each in mutants]
    due = [number for number, ident in enumerate(idents) if ident not in known]
    seconds = 0.0
    if due:
        usual, entered = _time_of(name, module, path.read_text())
        started, done = time.monotonic(), 0
        try:
            for number, fate in _fates(name, module, mutants, due, max(_LEAST, _TIMES * usual), entered):
                known[idents[number]] = fate
                done += 1
                if done % 50 == 0:
                    _store(store, {ident: known[ident] for ident in idents if ident in known})
                _progress(name, done, len(due), started)
        finally:  # an interrupted run continues from here
            _store(store, {ident: known[ident] for ident in idents if ident in known})
        seconds = (time.monotonic() - started) / done
    return Result(mutants, [known[ident] for ident in idents], seconds)


def _time_of(name: str, module: Module, source: str) -> tuple[float, dict[str, list[str]]]:
    """The tests' seconds on the unchanged module, and the functions that each calls. Raises SystemExit if one fails."""
    with TemporaryDirectory() as folder:
        report = Path(folder, "entered")
        pid = _forked(name, module, source, Tracing(str(_path(name)), report))
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise SystemExit(f"{name}: its tests fail without any change: {' '.join(module.tests)}")
        entered, seconds = json.loads(report.read_text())
    return sum(seconds.values()), entered


def _fates(
    name: str, module: Module, mutants: list[Mutant], due: list[int], limit: float, entered: dict[str, list[str]]
) -> Iterator[tuple[int, str]]:
    """Run the mutants, a few at a time, and yield each result. A mutant that exceeds `limit` seconds has died."""
    waiting, running, killers = list(reversed(due)), dict[int, tuple[int, float]](), Counter[tuple[str, str]]()
    with TemporaryDirectory() as folder:
        try:
            while waiting or running:
                while waiting and len(running) < WORKERS:
                    number = waiting.pop()
                    chosen = Chosen(mutants[number].where, entered, killers, Path(folder, str(number)))
                    pid = _forked(name, module, mutants[number].source, chosen)
                    running[pid] = (number, time.monotonic())
                time.sleep(0.01)  # forks are polled: `os.wait` has no time limit, and a mutant may never end
                for pid, (number, since) in list(running.items()):
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    late = time.monotonic() - since > limit
                    if ended or late:
                        _end(pid, ended=bool(ended))
                        del running[pid]
                        with contextlib.suppress(OSError):  # no test failed: the import failed, or the mutant survives
                            killers[mutants[number].where, Path(folder, str(number)).read_text()] += 1
                        code = os.waitstatus_to_exitcode(status)
                        yield number, "survived" if ended and code in (0, _NO_TESTS) else "died"
        finally:
            for pid in running:
                _end(pid, ended=False)


def _end(pid: int, *, ended: bool) -> None:
    """Kill a fork and all processes that its tests started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        os.waitpid(pid, 0)


# One mutant


class _Mutated(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):  # type: ignore[misc]  # its bases' stubs disagree on `source_to_code`
    """Imports one module of the product from another source, and all other modules as usual."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        importlib.machinery.SourceFileLoader.__init__(self, name, str(path))
        self._source = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> object:  # type: ignore[override]  # no cached bytecode is another source's
        del fullname
        return compile(self._source, self.path, "exec", dont_inherit=True)


def _forked(name: str, module: Module, source: str, plugin: AllTests) -> int:
    """The process id of a fork that runs the tests on this source and exits with pytest's exit code."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # the fork does the same, and either can be first
            os.setpgid(pid, pid)
        return pid
    code = 3
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        path = _path(name)
        sys.meta_path.insert(0, _Mutated(f"remediate.{name}", path, source))
        import pytest
        from hypothesis import settings

        settings.register_profile("mutants", derandomize=True, database=None)
        os.environ["HYPOTHESIS_PROFILE"] = "mutants"  # the same examples each time: a survivor stays one
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins and rewritten asserts cost time for every mutant
        plain = ("-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "pytest_timeout", "-k", _SELECT)
        for arguments in plugin.rounds([f"tests/{each}" for each in module.tests]):
            code = int(pytest.main([*plain, *arguments], [plugin])) if arguments else 0
            if code not in (0, _NO_TESTS):
                break
    except BaseException:  # a mutant that cannot be imported, or ends its process, has died
        code = code or 3
    finally:
        os._exit(code)


def _warm_up() -> None:
    """Import everything that the tests need, then drop the product and its tests: each fork imports those itself."""
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    tests = {
        f"tests.{test.removesuffix('.py').replace('/', '.')}" for module in MODULES.values() for test in module.tests
    }
    for each in ("pytest", "tests.conftest", *sorted(tests)):
        importlib.import_module(each)
    for each in [each for each in sys.modules if each.partition(".")[0] in ("remediate", "tests", "sandbox", "main")]:
        del sys.modules[each]


# What is known


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def _code(source: str) -> bytes:
    """The code of a module without docstrings, comments and layout, which do not affect a mutant's result."""
    return ast.dump(_WithoutTexts().visit(ast.parse(source))).encode()


class _WithoutTexts(ast.NodeTransformer):
    """Drops the strings that are statements: docstrings, and the texts below fields."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _store(path: Path, known: dict[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(known))
    fresh.replace(path)


def _progress(name: str, done: int, of: int, started: float) -> None:
    """Print a line that overwrites itself; only on a terminal."""
    if not sys.stderr.isatty():
        return
    left = (time.monotonic() - started) / done * (of - done)
    end = "\r" if done < of else "\r\033[K"
    print(f"{name}: {done} of {of} mutants, {left / 60:.0f} min left ", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
