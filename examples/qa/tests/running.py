"""The example as people start it, by its one command, and what tests do at it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Page

from examples.qa.demo.registration import PEOPLE, Demo
from keybearer.client import Keybearer
from tests.support.ports import free_port
from tests.support.processes import stop, tail, wait_for

ROOT = Path(__file__).parents[3]


@dataclass
class Example:
    """The site and the Keybearer of one command."""

    folder: Path
    port: int = field(default_factory=free_port)
    keybearer_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.keybearer_port}"

    @property
    def output(self) -> str:
        return (self.folder / "output.log").read_text()

    @property
    def demo(self) -> Demo:
        return Demo.load(self.folder / "data/demo.json")

    def start(self) -> None:
        command = [sys.executable, "-W", "error", "-m", "examples.qa", "--data", self.folder / "data"]
        command += ["--port", str(self.port), "--keybearer-port", str(self.keybearer_port)]
        with open(self.folder / "output.log", "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ
            )
        try:
            wait_for(self._answers, seconds=60, what="examples.qa", process=self.process)
        except Exception as error:
            error.add_note(tail(self.folder / "output.log"))
            stop(self.process)
            raise

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def api(self, method: str, path: str, *, key: str = "", token: str = "", **options: Any) -> httpx.Response:
        """One call of the JSON API, with a key, a token or neither."""
        headers = {"X-Api-Key": key} if key else {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, f"{self.url}/api{path}", headers=headers, timeout=20, **options)

    @contextmanager
    def administrator(self) -> Iterator[Keybearer]:
        """Keybearer, with its root key."""
        found = re.search(r'"root_key":\s*"([^"]+)"', (self.folder / "data/root-key.json").read_text())
        assert found is not None
        with Keybearer(self.issuer, found[1]) as keybearer:
            yield keybearer

    def sign_in(self, profile: BrowserContext, email: str, *, back_to: str = "/") -> Page:
        """Sign somebody in by Keybearer's pages, agree where that is asked, and come back."""
        page = profile.new_page()
        page.goto(f"{self.url}/sign-in?next={back_to}")
        self.prove(page, email)
        return page

    def prove(self, page: Page, email: str) -> None:
        """Do what Keybearer asks for, until the browser is back at the site."""
        if page.locator("#password").count():
            page.fill("#email", email)
            page.fill("#password", PEOPLE[email][1])
            with page.expect_navigation():
                page.click("#submit")
        if page.url.startswith(self.issuer):
            assert page.inner_text("h1") == "Allow Keyhole?"
            page.click("#submit")
        page.wait_for_url(f"{self.url}/**")

    def token(self, page: Page, *permissions: str) -> str:
        """Get a token for a program that asks for these permissions; whoever is signed in here allows it."""
        client = {"client_id": self.demo.terminal_client_id}
        asked = {**client, "scope": " ".join(permissions)}
        begun = httpx.post(f"{self.issuer}/oauth/device_authorization", data=asked).json()
        page.goto(begun["verification_uri_complete"])
        for button in ("Go on", "Yes, connect it"):
            if page.locator(f"button:has-text('{button}')").count():
                with page.expect_navigation():
                    page.click(f"button:has-text('{button}')")
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"]}
        answer = httpx.post(f"{self.issuer}/oauth/token", data={**client, **form})
        assert answer.status_code == 200, answer.text + page.inner_text("body")
        return str(answer.json()["access_token"])
