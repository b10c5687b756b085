"""docs/tutorial.md, block by block, as somebody pastes it; the browser does what the text asks its reader to do."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.qa.tests.running import ROOT, Example
from tests.support.chromium import find_chromium, running

TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$(?:\n\n^```\n(.*?)^```$)?", TUTORIAL, re.MULTILINE | re.DOTALL)
"""What is pasted, and what the text says that it prints."""


class Terminal:
    """A shell that keeps its variables from one block to the next."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._kept = folder / "variables"
        self._kept.write_text("")
        self._variables = variables

    def paste(self, text: str) -> str:
        whole = f'. "{self._kept}"\n{text}\ndeclare -p STARTED DEVICE TOKEN 2>/dev/null > "{self._kept}" || true'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", whole],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | self._variables,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    started = Example(tmp_path)
    started.start()
    yield started
    started.stop()


def test_the_tutorial(example: Example, tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    exports = dict(re.findall(r"export (KEY|CLIENT_ID)=(\S+)", example.output))
    terminal = Terminal(tmp_path, SITE=example.url, ISSUER=example.issuer, **exports)
    with running(program) as chromium, chromium.profile() as profile:
        page = example.sign_in(profile, "ada@qa.example")
        said = []
        for pasted, promised in BLOCKS:
            if "TOKEN=$(" in pasted:
                page.goto(said[-1].strip())
                if page.locator("button:has-text('Go on')").count():
                    with page.expect_navigation():
                        page.click("button:has-text('Go on')")
                assert "Keyhole on a terminal" in page.inner_text("body")
                with page.expect_navigation():
                    page.click("button:has-text('Yes, connect it')")
            elif '"value": 0' in pasted:
                page.goto(f"{example.issuer}/account/applications")
                for link in ("a:has-text('Keyhole on a terminal')", "button:has-text('Disconnect')"):
                    with page.expect_navigation():
                        page.click(link)
            said.append(terminal.paste(pasted))
            for line in promised.splitlines():
                begins = re.escape(line.partition("…")[0].rstrip(", ")).replace("\\ 3", r"\ \d+")
                assert re.search(rf"^{begins}", said[-1], re.MULTILINE | re.IGNORECASE), (line, said[-1])
    assert '"title":"What is the difference between an API key and an access token?"' in said[0]
    assert any(text == '{"score":2}' for text in said), said
    assert len(BLOCKS) == 9


def test_it_names_what_is_there() -> None:
    for link in re.findall(r"\]\((\.\./[^)#]+|images/[^)]+)\)", TUTORIAL):
        assert (ROOT / "docs" / link).resolve().exists(), link
