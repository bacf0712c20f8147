"""`python -m sandbox`: serve a small Google Cloud on loopback, deploy to it, or play the whole story."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from sandbox.errors import SeedError

if TYPE_CHECKING:
    from sandbox.faults import Fault

DEFAULT_PORT = 8642
CURE = "run `make run` again, then `. .run/env` again"
EXAMPLE = Path(__file__).parent / "example.yaml"

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    org: Annotated[Path, typer.Option(help="The organization file (YAML).")] = EXAMPLE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = DEFAULT_PORT,
    faults: Annotated[Path | None, typer.Option(help="What goes wrong, as a YAML list of fault rules.")] = None,
    subscriber: Annotated[list[str] | None, typer.Option(help="Push log entries to this URL.")] = None,
) -> None:
    """Serve the organization until interrupted; the first line printed says where."""
    from sandbox.delivery import Subscriber
    from sandbox.faults import Faults
    from sandbox.organization import load
    from sandbox.server import Sandbox, listen

    try:
        sandbox = Sandbox(load(org), Faults(_faults(faults) if faults else []))
        sandbox.delivering.subscribers = [Subscriber(url) for url in subscriber or []]
        server = listen(sandbox, port)
    except (SeedError, ValueError) as error:
        _fail(str(error))
    except (OSError, SystemExit):
        _fail(f"port {port} is taken; choose another with --port, or 0 for a free one")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        sandbox.delivering.close()


@app.command()
def deploy(
    project: Annotated[str, typer.Option(help="The project to deploy to (id or number).")],
    member: Annotated[str, typer.Option("--as", help="Who deploys: an IAM member, or an address.")],
    image: Annotated[str, typer.Option(help="The container image.")],
    kind: Annotated[str, typer.Option(help="service, job or worker-pool")] = "service",
    api: Annotated[str, typer.Option(help="v1 (as gcloud) or v2 (as Terraform)")] = "v1",
    name: Annotated[str, typer.Option()] = "web",
    location: Annotated[str, typer.Option()] = "asia-northeast1",
    via: Annotated[str | None, typer.Option(help="The outside principal that impersonates --as.")] = None,
    url: Annotated[str, typer.Option(envvar="SANDBOX_URL")] = f"http://127.0.0.1:{DEFAULT_PORT}",
) -> None:
    """Deploy to the sandbox as Cloud Run does it, and print what gcloud would print; exits 1 where the deploy fails."""
    if ":" not in member:
        kind_of_member = "serviceAccount" if member.endswith(".gserviceaccount.com") else "user"
        member = f"{kind_of_member}:{member}"
    wanted = {"project": project, "member": member, "image": image, "kind": kind, "api": api, "name": name}
    body = json.dumps(wanted | {"location": location, "via": via}).encode()
    if not url.startswith(("http://", "https://")):
        _fail(f"--url {url!r}: expected http://HOST:PORT")
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/sandbox/deploy", body, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (the sandbox, on loopback)
            outcome = json.load(answer)
    except urllib.error.HTTPError as error:
        _fail(json.load(error)["error"]["message"])
    except (OSError, ValueError) as error:
        if _is_refused(error) and url == os.environ.get("SANDBOX_URL"):
            _fail(f"the sandbox at {url} has ended: {CURE}")
        _fail(f"no sandbox answers at {url}; start one with: python -m sandbox serve")
    for line in outcome["lines"]:
        print(line, file=sys.stderr if outcome["exit_code"] else sys.stdout)
    raise typer.Exit(outcome["exit_code"])


@app.command()
def story(
    unattended: Annotated[bool, typer.Option(help="Play it to the end, without staying up.")] = False,
) -> None:
    """A deploy fails, is proposed to a reviewer, approved, and succeeds: the whole system on this machine."""
    from sandbox.story import play

    raise typer.Exit(play(unattended=unattended))


def _faults(path: Path) -> list[Fault]:
    import yaml

    from sandbox.faults import Fault

    try:
        return msgspec.convert(yaml.safe_load(path.read_text()) or [], list[Fault])
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise SeedError(f"{path}: {error}") from None


def _is_refused(error: Exception) -> bool:
    return isinstance(error, urllib.error.URLError) and isinstance(error.reason, ConnectionRefusedError)


def _fail(message: str) -> NoReturn:
    print(f"sandbox: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    app()
