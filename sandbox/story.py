"""Plays the whole story on this machine: a deploy fails, two grants are proposed, approved, and the deploy succeeds.

Beside it somebody else's proposal is rejected, and at the end one grant is revoked and the other expires.

Everything runs as it does in production, only here: the function under functions-framework, fed with Pub/Sub pushes;
Google Cloud is the sandbox. Each command that is played is one that the reader can type.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape

from sandbox.stdout import log_entry
from sandbox.terminal import run_at_terminal, run_in_pipes

_ROOT = Path(__file__).parents[1]
_RUN = _ROOT / ".run"
_PATIENCE = 60.0  # seconds that a server may take to start on a slow machine

_DEPLOYER = "github-deployer@shop-frontend.iam.gserviceaccount.com"
_GITHUB = (
    "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/subject/"
    "repo:example/shop:ref:refs/heads/main"
)
_IMAGE = "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:today"
_REPOSITORY = "projects/platform-images/locations/asia-northeast1/repositories/containers"
_PROJECT, _REGION, _RECEIVER = "remediate-ops", "asia-northeast1", "remediate-receiver"
_SERVICES = (
    "ARTIFACTREGISTRY CLOUDRESOURCEMANAGER CLOUDSCHEDULER EVENTARC FIRESTORE IAM IAP LOGGING MONITORING PUBSUB RUN "
    "SERVICEUSAGE"
).split()
_ANA = "ana@example.com"
_REVIEWER = "platform-lead@example.com"
_READER = "roles/artifactregistry.reader"
_REJECTED = "A reviewer has rejected this before: the denial is counted, and no reviewer is asked."
_NOTE = "This terminal now talks to the sandbox, not to Google Cloud. Close it afterwards."
_DEPLOY = ["deploy", "--project", "shop-frontend", "--as", _DEPLOYER, "--image", _IMAGE]

_out = Console(highlight=False, soft_wrap=True)


class StoryError(Exception):
    """The story cannot go on; says what did not happen."""


def play(*, unattended: bool) -> int:
    """Play the story; stays up afterwards unless unattended. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if unattended else _own_folder(stack)
            environment = _start(stack, folder)
            before = _policies(environment)
            ids = _fail_and_propose(environment)
            if not unattended:
                return _stay_up(ids, (folder / "page").read_text().strip())
            _reject(environment)
            _approve_and_succeed(environment, ids)
            if _compare(before, _policies(environment)):
                return 1
            return _take_back(environment, ids, before)
    except StoryError as error:
        _out.print(f"[bold red]The story broke off:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        return 0


def _own_folder(stack: contextlib.ExitStack) -> Path:
    """`.run`, empty, and locked for as long as this story is up."""
    _RUN.mkdir(exist_ok=True)
    lock = stack.enter_context((_RUN / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StoryError("another `make run` is up in this folder; end it first") from None
    for path in set(_RUN.iterdir()) - {_RUN / "lock"}:
        path.unlink()
    return _RUN


def _start(stack: contextlib.ExitStack, folder: Path) -> dict[str, str]:
    """Start the sandbox and the function; gives the environment in which the commands of the story work."""
    _chapter("A small Google Cloud and the function start on this machine")
    function_port = _free_port()
    function = f"http://127.0.0.1:{function_port}/"
    serve = [sys.executable, "-m", "sandbox", "serve", "--port", "0", "--subscriber", function]
    first_line = stack.enter_context(_running(serve, dict(os.environ), folder / "sandbox.log"))
    try:
        url = first_line.get(timeout=_PATIENCE).strip()
    except queue.Empty:
        raise StoryError(f"the sandbox did not start within {_PATIENCE:.0f} seconds") from None
    if not url.startswith("http://"):
        raise StoryError(f"the sandbox did not start: {url}")
    settings = {
        "SANDBOX_URL": url,
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}": f"{url}/" for service in _SERVICES},
        "GOOGLE_CLOUD_PROJECT": _PROJECT,
        "CLOUDSDK_RUN_REGION": _REGION,
        "REMEDIATE_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        "REMEDIATE_ORGANIZATION": "400000000001",
        "REMEDIATE_LOCAL_REVIEWER": _REVIEWER,
        "REMEDIATE_DOMAINS": "example.com",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REMEDIATE_")} | settings
    if sys.stdout.isatty():
        environment["COLUMNS"] = str(shutil.get_terminal_size().columns)
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
    path = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n'
    (folder / "env").write_text(f"# {_NOTE}\n{lines}{path}")
    framework = str(Path(sys.executable).with_name("functions-framework"))
    function_command = [framework, "--target", "on_denial", "--host", "127.0.0.1", "--port", str(function_port)]
    log = folder / "function.log"
    _control(url, "PUT", "deployment/env", {"REMEDIATE_LEDGER": settings["REMEDIATE_LEDGER"]})
    stack.enter_context(_running(function_command, environment, log, tell=url))
    _wait_for_port(function_port, log)
    page_port = _free_port()
    page_command = [framework, "--target", "review", "--host", "127.0.0.1", "--port", str(page_port)]
    page_log = folder / "review.log"
    stack.enter_context(_running(page_command, environment, page_log))
    _wait_for_port(page_port, page_log)
    (folder / "page").write_text(f"http://127.0.0.1:{page_port}/\n")
    _say(f"sandbox   {url}   (organization: sandbox/example.yaml)")
    _say(f"function  {function}  (functions-framework --target on_denial, dry-run: it grants nothing by itself)")
    _say(f"review    http://127.0.0.1:{page_port}/   (functions-framework --target review: where people decide)")
    return environment


def _fail_and_propose(environment: dict[str, str]) -> list[str]:
    _chapter("GitHub Actions deploys, as it did yesterday, and fails")
    _say(f"The workflow runs as {_DEPLOYER} (workload identity federation), which holds")
    _say("roles/run.developer in shop-frontend. The image lies in another project's Artifact Registry.")
    outcome = _run(environment, "sandbox", *_DEPLOY, "--via", _GITHUB, show=_DEPLOY)
    if outcome.returncode == 0:
        raise StoryError("the deploy was expected to fail, and went through")
    _chapter("The audit log entry reaches the function, which decides")
    _drain(environment)
    found = _listed(environment)
    if len(found) != 2:
        raise StoryError(f"two proposals were expected, and there are {len(found)}")
    found.sort(key=lambda each: bool(each["predicted"]))
    for each in found:
        ahead = "would be denied next" if each["predicted"] else "was denied"
        _say(f"[bold]{each['id']}[/]  {each['state']}: {escape(each['member'])}")
        _say(f"                {ahead} ({', '.join(each['reasons'])})")
    _say(f"Both would get {_READER} on {_REPOSITORY}, and nothing else.")
    return [str(each["id"]) for each in found]


def _reject(environment: dict[str, str]) -> None:
    _chapter("Ana deploys the same service from her laptop, and a reviewer says no")
    deploy = ["deploy", "--project", "shop-frontend", "--as", _ANA, "--image", _IMAGE]
    if _run(environment, "sandbox", *deploy).returncode == 0:
        raise StoryError("the deploy was expected to fail, and went through")
    _drain(environment)
    proposal = _only(_listed(environment, "--member", _ANA))
    _type(environment, "reject", proposal["id"], "--as", _REVIEWER, "--reason", "only the pipeline deploys the shop")
    _say("She tries again.")
    _run(environment, "sandbox", *deploy, quiet=True, fails=True)
    _drain(environment)
    again = _only(_listed(environment, "--member", _ANA))
    _say(f"[bold]{again['id']}[/]  {again['state']}, denied {again['denials']} times; no reviewer is asked for 30 days")
    if (again["state"], again["denials"]) != ("rejected", 2):
        raise StoryError("the rejection was expected to hold")


def _approve_and_succeed(environment: dict[str, str], ids: list[str]) -> None:
    _chapter("A reviewer, who is neither the member nor the deployer, looks and approves both")
    shown = _type(environment, "show", ids[0])
    pinned = re.findall(r"r-[0-9a-f]{12}@[0-9a-f]{12}", shown)[-2:]  # the command for both is the last one
    why = "the shop's own pipeline"
    _type(environment, "approve", *pinned, "--as", _REVIEWER, "--for", "30d", "--reason", why)
    _type(environment, "trail")
    _chapter("GitHub Actions deploys again")
    if _run(environment, "sandbox", *_DEPLOY, "--via", _GITHUB, show=_DEPLOY).returncode != 0:
        raise StoryError("the deploy was expected to succeed, and failed")
    _drain(environment)


def _compare(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Tell what changed in all allow policies of the organization; 1 unless it is the two members alone."""
    _chapter("What changed in the organization's allow policies")
    changed = [name for name in after if before.get(name) != after[name]]
    added = []
    for name in changed:
        old, new = _grants(before[name]), _grants(after[name])
        for role, member in sorted(new - old):
            _say(f"[green]+[/] {role}  {escape(member)}\n    on {name}")
            added.append((name, role))
        for role, member in sorted(old - new):
            _say(f"[red]-[/] {role}  {escape(member)}\n    on {name}")
            return 1
    if added != [(_REPOSITORY, _READER)] * 2:
        _out.print("[bold red]That is not what was approved.[/]")
        return 1
    _out.print(
        "[bold green]The deploy that failed now succeeds: two members added to one repository, nothing else changed.[/]"
    )
    return 0


def _take_back(environment: dict[str, str], ids: list[str], before: dict[str, Any]) -> int:
    """Revoke one grant, let the other end by itself; 1 unless the policies are then as they were at the beginning."""
    _chapter("Later the pipeline moves to another account: its grant is revoked, the service agent's ends by itself")
    _type(environment, "revoke", ids[0], "--as", _REVIEWER, "--reason", "the pipeline has moved")
    in_a_month = (datetime.now(UTC) + timedelta(days=31)).date().isoformat()
    _type(environment, "sweep", "--as-of", in_a_month, terminal=True)
    _type(environment, "trail", "verify")
    after = _policies(environment)
    if {name: _grants(policy) for name, policy in after.items()} != {name: _grants(before[name]) for name in after}:
        _out.print("[bold red]The allow policies are not what they were.[/]")
        return 1
    _out.print("[bold green]All that was granted is taken away again: every allow policy says what it said before.[/]")
    return 0


def _stay_up(ids: list[str], page: str) -> int:
    _chapter("Now you: open the review page in a browser")
    _out.print(f"  [bold]{page}[/]")
    _chapter("Or open a second terminal in this folder, and type")
    for command, purpose in (
        (". .run/env", "once: that terminal now talks to this sandbox; close it afterwards"),
        ("remediate list", "what waits for a reviewer"),
        (f"remediate show {ids[0]}", "the whole story of one"),
        (f"remediate approve {' '.join(ids)} --as {_REVIEWER}", "grant both"),
        ("remediate trail", "who did what, why and when"),
        ("remediate doctor", "is all of it well? sends a synthetic denial through"),
        (shlex.join(["python", "-m", "sandbox", *_DEPLOY]), "deploy again"),
    ):
        _out.print(f"  [dim]# {purpose}[/]\n  [bold]{escape(command)}[/]")
    _out.print("\nDecisions of the function appear here as they are made. Ctrl-C ends everything.")
    try:
        threading.Event().wait()
    finally:
        _out.print(
            "\nThe sandbox has ended: the settings of the second terminal are stale now, so close that terminal."
        )
    return 0


def _type(environment: dict[str, str], *command: str, terminal: bool = False) -> str:
    """Run one of the tool's commands, which has to succeed, and give what it printed."""
    if (outcome := _run(environment, "remediate", *command, terminal=terminal)).returncode != 0:
        raise StoryError(f"`remediate {shlex.join(command)}` failed")
    return outcome.stdout


def _listed(environment: dict[str, str], *filters: str) -> list[dict[str, Any]]:
    told = _run(environment, "remediate", "list", *filters, "--format", "json", quiet=True).stdout
    return [dict(each) for each in json.loads(told)]


def _only(found: list[dict[str, Any]]) -> dict[str, Any]:
    if len(found) != 1:
        raise StoryError(f"one remediation was expected, and there are {len(found)}")
    return found[0]


def _run(
    environment: dict[str, str],
    module: str,
    *arguments: str,
    quiet: bool = False,
    fails: bool = False,
    terminal: bool = False,
    show: list[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the project as a reader would type it, and show both; `fails`: it is expected to."""
    command = [sys.executable, "-m", module, *arguments]
    if not quiet:
        typed = module if module == "remediate" else f"python -m {module}"
        _out.print(f"\n[bold]$ {typed} {escape(shlex.join(show or list(arguments)))}[/]")
    outcome = (run_at_terminal if terminal else run_in_pipes)(command, environment, _ROOT)
    if not quiet:
        _out.print(escape((outcome.stdout + outcome.stderr).rstrip()))
    elif (outcome.returncode != 0) is not fails:
        raise StoryError(outcome.stderr.strip() or f"`python -m {module}` failed")
    return outcome


@contextlib.contextmanager
def _running(
    command: list[str], environment: dict[str, str], log: Path, *, tell: str | None = None
) -> Iterator[queue.Queue[str]]:
    """The command in the background, its output in a file.

    `tell` is the sandbox whose log takes its lines, as Cloud Run's does; each decision is said on the terminal too.

    Gives a queue that receives the first line of output, empty where the command ended without any.
    """
    first_line: queue.Queue[str] = queue.Queue(1)
    with log.open("w") as file:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        reader = threading.Thread(target=_follow, args=(process.stdout, file, first_line, tell), daemon=True)
        reader.start()
        try:
            yield first_line
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join(5)


def _follow(stream: IO[str], file: IO[str], first_line: queue.Queue[str], tell: str | None) -> None:
    for number, line in enumerate(stream):
        file.write(line)
        file.flush()
        if number == 0:
            first_line.put(line)
        if not tell:
            continue
        with contextlib.suppress(OSError):
            entry = log_entry(line.rstrip(), _PROJECT, _REGION, _RECEIVER)
            _control(tell, "POST", "/v2/entries:write", {"entries": [entry]})
        try:
            decision = json.loads(line)
        except ValueError:
            continue
        if isinstance(decision, dict) and decision.get("outcome") not in (None, "ignore"):
            _out.print(f"  [cyan]function[/]  {escape(str(decision['message']))}")
            why = _REJECTED if decision.get("state") == "rejected" else decision.get("why", "")
            _out.print(f"            {escape(str(why))}")
    with contextlib.suppress(queue.Full):
        first_line.put_nowait("")


def _policies(environment: dict[str, str]) -> dict[str, Any]:
    with urllib.request.urlopen(f"{environment['SANDBOX_URL']}/sandbox/state", timeout=30) as answer:  # noqa: S310
        return dict(json.load(answer)["policies"])


def _drain(environment: dict[str, str]) -> None:
    request = urllib.request.Request(f"{environment['SANDBOX_URL']}/sandbox/drain?timeout=30", method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        if not json.load(answer)["drained"]:
            raise StoryError("the function did not acknowledge the event")


def _control(url: str, method: str, path: str, body: Any) -> None:
    """Tell the sandbox something."""
    where = f"{url}{path}" if path.startswith("/") else f"{url}/sandbox/{path}"
    request = urllib.request.Request(where, json.dumps(body).encode(), method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        answer.read()


def _grants(policy: dict[str, Any]) -> set[tuple[str, str]]:
    return {(binding["role"], member) for binding in policy.get("bindings", []) for member in binding["members"]}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise StoryError(f"the function did not start within {_PATIENCE:.0f} seconds:\n{log.read_text()[-2000:]}")


def _chapter(title: str) -> None:
    _out.print(f"\n[bold]── {escape(title)}[/]")


def _say(text: str) -> None:
    _out.print(f"  {text}")
