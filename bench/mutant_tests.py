"""Selects and orders the tests for a mutant: those that call the changed function, the most effective ones first."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import pytest

_BEST = 8  # the most effective tests, which run first


class AllTests:
    """A pytest plugin that selects all tests, in one run."""

    def rounds(self, files: Sequence[str]) -> Iterator[list[str]]:
        """The arguments of each run of pytest. The runs end when a test fails."""
        yield [*files]


class Tracing(AllTests):
    """A pytest plugin that writes which functions of one module each test calls, as JSON: test, functions, seconds.

    A function that runs only while the module is imported is called by no single test, so every test counts for it.
    """

    def __init__(self, module: str, report: Path) -> None:
        self._module, self._report = module, report
        self._entered, self._by_test, self._seconds = set[str](), dict[str, list[str]](), dict[str, float]()

    def _look(self, frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call" and frame.f_code.co_filename == self._module:
            self._entered.add(frame.f_code.co_qualname.partition(".<")[0])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        self._entered.clear()
        sys.setprofile(self._look)
        threading.setprofile(self._look)
        started = time.monotonic()
        yield
        self._seconds[item.nodeid] = time.monotonic() - started
        sys.setprofile(None)
        threading.setprofile(None)
        self._by_test[item.nodeid] = sorted(self._entered)

    def pytest_sessionfinish(self) -> None:
        self._report.write_text(json.dumps([self._by_test, self._seconds]))


class Chosen(AllTests):
    """A pytest plugin that skips tests that do not call the function. The first run has only the most effective tests.

    `where` is the mutated function's qualified name, empty for the statements of the module or of a class. `killers`
    counts the mutants that each test killed, by function and test.
    """

    def __init__(
        self, where: str, entered: Mapping[str, list[str]], killers: Counter[tuple[str, str]], report: Path
    ) -> None:
        self._where, self._report = where, report
        known = {name for names in entered.values() for name in names}
        in_a_function = where in known and not any(name.startswith(f"{where}.") for name in known)  # not in a class
        self._matter = {test for test, names in entered.items() if where in names} if in_a_function else {*entered}
        of_all = Counter[str]()
        for (_, test), count in killers.items():
            of_all[test] += count
        own = Counter({test: count for (function, test), count in killers.items() if function == where})
        best = [test for test, _ in (*own.most_common(_BEST), *of_all.most_common(_BEST)) if test in self._matter]
        self._best = list(dict.fromkeys(best))[:_BEST]

    def rounds(self, files: Sequence[str]) -> Iterator[list[str]]:
        if self._best:
            yield self._best
        wanted = {test.partition("::")[0] for test in self._matter}
        yield [each for each in files if each in wanted]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [each for each in items if each.nodeid in self._matter]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._report.write_text(report.nodeid)
