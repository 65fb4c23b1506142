"""Pages in Chromium that fail their test if they ask for anything, or if anything goes wrong in them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

expect.set_options(timeout=30_000)  # on a busy machine
_REFUSED = "window.refused = []; addEventListener('securitypolicyviolation', e => refused.push(e.violatedDirective))"


class Quiet:
    """One page, used by many tests: ``said`` is what it said since the last ``check``."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: None if _own(request.url) else self.said.append(f"request: {request.url}"))
        page.add_init_script(_REFUSED)

    def open(self, url: str) -> Page:
        """The page as it comes at ``url``; a page that stands there already is loaded anew."""
        self.page.goto("about:blank")
        self.page.goto(url)
        return self.page

    def check(self) -> None:
        assert self.page.evaluate("window.refused") == []
        said, self.said = self.said, []
        assert said == []


def _own(url: str) -> bool:
    """The report's file, and pictures that it makes itself."""
    file = url.startswith("file:") and re.split("[?#]", url)[0].endswith("/index.html")
    return file or url.startswith("blob:") or url == "about:blank"


@contextmanager
def quiet_page(browser: Browser) -> Iterator[Quiet]:
    context = browser.new_context(accept_downloads=True, viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    try:
        yield Quiet(context.new_page())
    finally:
        context.close()
