"""The commands that ask Google Cloud. Where a sandbox takes its place, they first check that the sandbox is up."""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from typer.core import TyperCommand

from remediate.errors import TransientFault

_PATIENCE = 0.5  # seconds; a port on this machine answers or refuses at once


class CloudCommand(TyperCommand):
    """Fails at once where `.run/env` names a sandbox that has ended: its clients would try again for half a minute."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises TransientFault where the sandbox has ended."""
        check_sandbox(os.environ.get("SANDBOX_URL", ""))
        return super().invoke(ctx)


def check_sandbox(url: str) -> None:
    """Raise TransientFault where a sandbox is named and its port refuses; the client tells every other fault."""
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port
    except ValueError:
        return
    if not host or not port:
        return
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except ConnectionRefusedError:
        cure = "run `make run` again, then `. .run/env` again"
        raise TransientFault(f"the sandbox at {url} has ended: {cure}") from None
    except OSError:
        return
