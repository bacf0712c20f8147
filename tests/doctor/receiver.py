"""The real function as the receiver of an installation in the sandbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.stdout import log_entry
from tests.doctor.installation import PROJECT, REGION, Installation
from tests.wire.function_fixture import FunctionProcess


@contextmanager
def receiver(
    installation: Installation, folder: Path, *, logs: bool = True, **settings: str
) -> Iterator[FunctionProcess]:
    """The real function as the sandbox's receiver; its standard output goes to the log."""
    function = FunctionProcess(installation.sandbox, folder, settings, REMEDIATE_ORGANIZATION="400000000001")
    installation.sandbox.subscribe(function.url)
    installation.set_env(REMEDIATE_LEDGER=f"sqlite:///{function.ledger_path}", **settings)
    done = threading.Event()

    def forward() -> None:
        said = 0
        while not done.wait(0.05):
            for line in function.output[said:]:
                said += 1
                installation.sandbox.log(log_entry(line, PROJECT, REGION, "remediate-receiver"))

    thread = threading.Thread(target=forward, daemon=True)
    if logs:
        thread.start()
    try:
        yield function
    finally:
        done.set()
        if logs:
            thread.join(10)
        function.close()
