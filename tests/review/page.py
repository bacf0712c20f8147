"""The review pages for a browser without JavaScript: under functions-framework, over HTTP, with the sandbox."""

from __future__ import annotations

import html
import http.client
import re
import urllib.parse
from pathlib import Path

from remediate.records.remediation import Remediation
from remediate.settings import load_settings
from remediate.wiring import remediator_from
from tests.audit_entries import activity, denial, user_text
from tests.sandbox_fixture import DEPLOYER, IMAGE, SandboxProcess
from tests.wire.function_fixture import FunctionProcess

LEAD = "platform-lead@example.com"


class Page:
    """A reviewer's browser without JavaScript: pages, forms and redirects."""

    def __init__(self, sandbox: SandboxProcess, folder: Path, **settings: str) -> None:
        settings = {"REMEDIATE_LOCAL_REVIEWER": LEAD, **settings}
        self.sandbox = sandbox
        self.function = FunctionProcess(sandbox, folder, settings, target="review")
        self.remediator = remediator_from(
            load_settings(sandbox.env | {"REMEDIATE_LEDGER": f"sqlite:///{self.function.ledger_path}"})
        )

    def denied(self, insert_id: str = "1", email: str = DEPLOYER.partition(":")[2]) -> Remediation:
        entry = activity(user_text(IMAGE), images=(IMAGE,), insert_id=insert_id, email=email)
        self.sandbox.log(entry)
        record = self.remediator.handle(denial(entry)).remediation
        assert record
        return record

    def ask(
        self,
        path: str,
        form: dict[str, str] | list[tuple[str, str]] | None = None,
        method: str = "",
        **headers: str,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.function.port, timeout=60)
        try:
            body = None if form is None else urllib.parse.urlencode(form)
            sent = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
            headers = sent | {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if form is None else "POST"), path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode().replace("<wbr>", "")
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, text
        finally:
            connection.close()

    def token(self, path: str = "/mode") -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.ask(path)[1])
        assert found
        return html.unescape(found[1])

    def content(self, ident: str) -> str:
        found = re.search(r'name="content" value="([0-9a-f]{12})"', self.ask(f"/r/{ident}")[1])
        assert found
        return found[1]

    def say(self, path: str, **form: str) -> tuple[int, str]:
        return self.ask(path, {"token": self.token(), **form})
