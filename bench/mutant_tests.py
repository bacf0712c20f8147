"""Selects and orders the tests for a mutant: those that call the changed function, the most effective ones first."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import pytest


class Tracing:
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


class Chosen:
    """A pytest plugin that skips tests that do not call the function, and runs those first that killed most mutants.

    `where` is the mutated function's qualified name, empty for the statements of the module or of a class.
    """

    def __init__(self, where: str, entered: Mapping[str, list[str]], killers: Counter[str], report: Path) -> None:
        self._where, self._entered, self._killers, self._report = where, entered, killers, report

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        known = {name for names in self._entered.values() for name in names}
        if self._where in known:
            items[:] = [each for each in items if self._where in self._entered.get(each.nodeid, [self._where])]
        items.sort(key=lambda each: -self._killers[each.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._report.write_text(report.nodeid)
