"""The servers that Chromium visits: the sandbox, the function, and the pages over one ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.browser.organization import write_organization
from tests.sandbox_fixture import SandboxProcess
from tests.wire.function_fixture import FunctionProcess

LEAD, SECURITY = "platform-lead@example.com", "security@example.com"
ORGANIZATION = "400000000001"
PHONE, WIDE = (390, 844), (1280, 860)
_PATIENCE = 20_000  # milliseconds that a page may take on a busy machine


class Scene:
    """A running sandbox whose denials reach a running function, and pages for one or two reviewers."""

    def __init__(
        self, folder: Path, browser: Browser, *, reviewers: tuple[str, ...] = (LEAD,), **settings: str
    ) -> None:
        self.browser = browser
        organization = folder / "organization.yaml"
        write_organization(organization)
        self.sandbox = SandboxProcess("--org", str(organization))
        settings = {"REMEDIATE_ORGANIZATION": ORGANIZATION, **settings}

        def start(who: str) -> FunctionProcess:
            target = "review" if who else "on_denial"
            own = {"REMEDIATE_LOCAL_REVIEWER": who} if who else {}
            return FunctionProcess(self.sandbox, folder, settings | own, target=target)

        with ThreadPoolExecutor(3) as pool:
            self.function, *pages = pool.map(start, ("", *reviewers))
        self.pages = dict(zip(reviewers, pages, strict=True))
        self.sandbox.subscribe(self.function.url)
        self.environment = self.sandbox.env | settings | {"REMEDIATE_LEDGER": f"sqlite:///{self.function.ledger_path}"}
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.contexts: list[BrowserContext] = []

    def url(self, who: str = LEAD) -> str:
        """The address of this reviewer's pages."""
        return self.pages[who].url

    def open(
        self, size: tuple[int, int] = WIDE, *, who: str = LEAD, scheme: str = "light", javascript: bool = True
    ) -> Page:
        """The inbox in a window of this size. Records the browser's requests and its errors."""
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=javascript,
        )
        context.set_default_timeout(_PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", self._asked)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.goto(self.url(who))
        return page

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def deny(self, **deploy: str) -> None:
        """Run a deploy that fails, and wait until the function has its entry."""
        assert self.sandbox.deploy(**deploy)["exit_code"] == 1
        self.sandbox.drain()

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        for process in (self.function, *self.pages.values()):
            process.process.kill()  # on SIGTERM the server would wait for the connections that the browser keeps open
            process.close()
        self.sandbox.close()
