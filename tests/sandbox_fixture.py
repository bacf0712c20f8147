"""The sandbox for tests: its own process on a free port, with its controls as methods."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests import warm

ROOT = warm.ROOT
DEPLOYER = "serviceAccount:github-deployer@shop-frontend.iam.gserviceaccount.com"
AGENT = "serviceAccount:service-123456789012@serverless-robot-prod.iam.gserviceaccount.com"
IMAGE = "asia-northeast1-docker.pkg.dev/platform-images/containers/shop/web:today"
REPOSITORY = "projects/platform-images/locations/asia-northeast1/repositories/containers"


class SandboxProcess:
    """A running sandbox. `url` is its address; with the variables `env`, Google's clients and gcloud use it."""

    def __init__(self, *arguments: str) -> None:
        reading, writing = os.pipe()
        self.process = warm.Process("sandbox", "serve", "--port", "0", *arguments, stdout=writing, stderr=2)
        os.close(writing)
        with open(reading) as first_line:
            self.url = first_line.readline().strip()
        assert self.url.startswith("http://"), "the sandbox did not start"
        services = (
            "ARTIFACTREGISTRY", "CLOUDRESOURCEMANAGER", "CLOUDSCHEDULER", "EVENTARC", "FIRESTORE", "IAM", "IAP", "LOGGING",
            "MONITORING", "POLICYTROUBLESHOOTER", "PUBSUB", "RUN", "SERVICEUSAGE",
        )  # fmt: skip
        self.env = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}": f"{self.url}/" for service in services}

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of any request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def deploy(self, image: str = IMAGE, member: str = DEPLOYER, project: str = "shop-frontend", **more: str) -> Any:
        """Deploy; returns `lines`, `exit_code` and the log `entries` of the deploy."""
        status, outcome = self.call(
            "POST", "/sandbox/deploy", {"project": project, "member": member, "image": image, **more}
        )
        assert status == 200, outcome
        return outcome

    def log(self, *entries: dict[str, Any]) -> None:
        """Write these entries to the log, as Google Cloud would."""
        assert self.call("POST", "/v2/entries:write", {"entries": list(entries)})[0] == 200

    def policies(self) -> dict[str, Any]:
        """Every allow policy by resource name."""
        return dict(self.call("GET", "/sandbox/state")[1]["policies"])

    def readers(self, repository: str = REPOSITORY) -> list[str]:
        """The members of the repository's unconditional reader bindings."""
        return [
            member
            for binding in self.policies()[repository].get("bindings", [])
            if binding["role"] == "roles/artifactregistry.reader" and "condition" not in binding
            for member in binding["members"]
        ]

    def requests(self, containing: str = "") -> int:
        """The number of requests whose `METHOD /path` contains this text."""
        counted = self.call("GET", "/sandbox/requests")[1]["requests"]
        return sum(number for name, number in counted.items() if containing in name)

    def faults(self, *rules: dict[str, Any]) -> None:
        """Replace the fault rules by these; without rules, nothing fails."""
        status, answer = self.call("PUT", "/sandbox/faults", list(rules))
        assert status == 200, answer

    def subscribe(self, url: str, **settings: Any) -> None:
        """Push log entries to this URL, redelivering quickly."""
        settings = {"first_delay": 0.05, "longest_delay": 0.2, **settings}
        assert self.call("PUT", "/sandbox/subscribers", [{"url": url, **settings}])[0] == 200

    def deliveries(self) -> list[dict[str, Any]]:
        """Every message so far, with its attempts and its last status."""
        return list(self.call("GET", "/sandbox/deliveries")[1]["deliveries"])

    def drain(self) -> None:
        """Wait until every message was acknowledged."""
        assert self.call("POST", "/sandbox/drain?timeout=30")[1]["drained"], self.deliveries()


@pytest.fixture
def sandbox_server() -> Iterator[SandboxProcess]:
    """A fresh sandbox with the example organization."""
    sandbox = SandboxProcess()
    yield sandbox
    sandbox.close()
