"""`python -m docs.screenshots.make`: a company of some size in the sandbox, and pictures of the pages as they are."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.organization import live_through_three_months, write_organization
from tests.sandbox_fixture import SandboxProcess
from tests.wire.function_fixture import FunctionProcess

HERE = Path(__file__).parent
WIDE, PHONE = {"width": 1140, "height": 760}, {"width": 390, "height": 844}


def main() -> None:
    """Take every picture; an argument names a folder other than this one, and then takes whole pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as scratch:
        organization = Path(scratch) / "organization.yaml"
        write_organization(organization)
        sandbox = SandboxProcess("--org", str(organization))
        pages = FunctionProcess(
            sandbox,
            Path(scratch),
            target="review",
            REMEDIATE_LOCAL_REVIEWER="platform-lead@example.com",
            REMEDIATE_ORGANIZATION="400000000001",
        )
        live_through_three_months(
            sandbox.env
            | {"REMEDIATE_LEDGER": f"sqlite:///{pages.ledger_path}", "REMEDIATE_ORGANIZATION": "400000000001"}
        )
        try:
            with sync_playwright() as playwright:
                flags = ["--no-sandbox", "--disable-gpu"]
                browser = playwright.chromium.launch(executable_path=chromium, args=flags)
                _take(browser, pages.url, folder, whole=folder != HERE)
        finally:
            pages.process.kill()
            pages.close()
            sandbox.close()


def _take(browser: Browser, url: str, folder: Path, *, whole: bool) -> None:
    for scheme in ("light", "dark"):
        for name, size in (("wide", WIDE), ("phone", PHONE)):
            context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            for title, path in _pages(page, url):
                if whole or f"{title}-{name}-{scheme}" in KEPT:
                    page.goto(url + path)
                    page.screenshot(path=folder / f"{title}-{name}-{scheme}.png", full_page=whole and title != "trail")
            context.close()


KEPT = ("inbox-wide-light", "proposal-phone-light", "proposal-wide-dark", "map-wide-light")
"""The pictures that README and docs show."""


def _pages(page: Page, url: str) -> list[tuple[str, str]]:
    page.goto(url)
    first = page.locator(".row .head a").first.get_attribute("href") or ""
    page.goto(url + "?state=granted")
    granted = page.locator(".row .head a").first.get_attribute("href") or ""
    return [
        ("inbox", ""),
        ("proposal", first.lstrip("/")),
        ("granted", granted.lstrip("/")),
        ("map", "map"),
        ("trail", "trail"),
        ("mode", "mode"),
        ("nothing", "?q=nothing-like-this"),
        ("missing", "r/r-000000000000"),
    ]


if __name__ == "__main__":
    main()
