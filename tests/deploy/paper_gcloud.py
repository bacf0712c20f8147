"""gcloud and sleep on PATH for commands that Terraform runs: the stand-in gcloud of standin.py, on the stand-in cloud's things."""

from __future__ import annotations

import io
import json
import socketserver
import sys
import threading
from contextlib import redirect_stderr
from pathlib import Path

from tests.deploy.paper import NUMBER, PROJECT
from tests.deploy.paper_cloud import ENABLING, Cloud
from tests.deploy.standin import Standin, fail

BUILDING = 90.0
"""Seconds that a build takes."""
IDENTIFYING = 10.0
"""Seconds until an agent's identity is there."""
CALLER = """
import json, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line:
    line.sendall(json.dumps(sys.argv[2:]).encode() + b"\\n")
    answer = json.loads(line.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


class Gcloud(Standin):
    """One call of gcloud, with what a whole cloud knows better than gcloud's own stand-in."""

    def __init__(self, cloud: Cloud, arguments: list[str]) -> None:
        # A full name of Pub/Sub counts as its last part.
        super().__init__(cloud.state, [each.removeprefix(f"projects/{PROJECT}/subscriptions/") for each in arguments])
        self._cloud = cloud
        self.before = ENABLING if self.verb == "enable" else IDENTIFYING if self.kind == "services identity" else 0.0
        self.after = BUILDING if self.verb == "submit" else 0.0

    def _create(self) -> None:
        if self.kind == "services identity":
            service = self.flags["service"].partition(".")[0]
            if self.flags["service"] not in self.state["apis"]:
                fail(f"SERVICE_DISABLED: {service} API has not been used in project {NUMBER} before or it is disabled")
            self._cloud.policies.agents.add(f"service-{NUMBER}@gcp-sa-{service}.iam.gserviceaccount.com")
            return
        super()._create()

    def _add_iam_policy_binding(self) -> None:
        email = self.flags["member"].removeprefix("serviceAccount:")
        if "@gcp-sa-" in email and email not in self._cloud.policies.agents:
            fail(f"INVALID_ARGUMENT: Service account {email} does not exist.")
        super()._add_iam_policy_binding()

    def _update(self) -> None:
        if "dead-letter-topic" in self.flags:
            topic = self.flags["dead-letter-topic"].rpartition("/")[2]
            if f"pubsub topics projects/{PROJECT} {topic}" not in self.state["things"]:
                fail(f"NOT_FOUND: Resource not found (resource={topic}).")
        super()._update()

    def _submit(self) -> None:
        builder = self.flags["service-account"].rpartition("/")[2]
        bucket = self.flags["gcs-source-staging-dir"].split("/")[2]
        image = self.flags["substitutions"].partition("=")[2]
        repository = image.split("/")[2]
        for place, role, permission in (
            (f"google_storage_bucket {bucket}", "roles/storage.objectViewer", "storage.objects.get"),
            (
                f"google_artifact_registry_repository {repository}",
                "roles/artifactregistry.writer",
                "artifactregistry.repositories.uploadArtifacts",
            ),
            (f"projects {PROJECT}", "roles/logging.logWriter", "logging.logEntries.create"),
        ):
            if not self._cloud.policies.counts(place, role, f"serviceAccount:{builder}"):
                fail(f"could not resolve source: Error 403: {builder} does not have {permission} access")
        for each in self.state["things"].values():
            if each.get("kind") == "google_storage_bucket" and each["values"]["name"] == bucket:
                each["objects"] = True
        self.state["builds"] += 1
        self.state["images"][image] = {"digest": f"{image.rpartition(':')[0]}@sha256:{self.state['builds']:064x}"}


def run(cloud: Cloud, program: str, arguments: list[str]) -> tuple[int, str, str]:
    """Run one command: its exit code, what it prints, and its errors."""
    with cloud.clock.work():
        if program == "sleep":
            cloud.clock.wait(float(arguments[0]))
            return 0, "", ""
        errors = io.StringIO()
        try:
            with cloud.lock, redirect_stderr(errors):
                call = Gcloud(cloud, arguments)
            if call.before:
                cloud.clock.wait(call.before)
            with cloud.lock, redirect_stderr(errors):
                output = call.run()
                cloud.policies.note()
        except SystemExit:
            return 1, "", errors.getvalue()
        if call.after:
            cloud.clock.wait(call.after)
        return 0, f"{output}\n", ""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        program, *arguments = json.loads(self.rfile.readline())
        assert isinstance(self.server, Commands)
        code, output, errors = run(self.server.cloud, program, arguments)
        self.wfile.write(json.dumps({"code": code, "out": output, "err": errors}).encode() + b"\n")


class Commands(socketserver.ThreadingTCPServer):
    """Puts `gcloud` and `sleep` into a folder for PATH, and answers them until it is closed."""

    daemon_threads = True

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud = cloud
        folder.mkdir()
        (folder / "call.py").write_text(CALLER)
        for name in ("gcloud", "sleep"):
            script = (
                f'#!/bin/sh\nexec {sys.executable} -I -S {folder / "call.py"} {self.server_address[1]} {name} "$@"\n'
            )
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
