"""The brand on the pages: name, colour, logo, links, and assets that are cached for good and checked by ETag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.errors import ConfigurationError
from keybearer.settings import load
from keybearer.web.pages import assets, colours
from tests.support.authorizing import browsing
from tests.support.embedded import embedded

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")
LOGO = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@given(COLOURS)
def test_a_brand_can_be_read_on_light_and_dark_paper_and_its_buttons_too(brand: str) -> None:
    for paper in (colours.PAPER, colours.DARK_PAPER):
        assert colours.contrast(colours.readable(brand, paper), paper) >= colours.ENOUGH
    assert colours.contrast(colours.ink_on(brand), brand) >= 4.2  # black or white: the better of the two


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert colours.readable("#1f4fd8", colours.PAPER) == "#1f4fd8"
    assert colours.readable("#ffe600", colours.PAPER) != "#ffe600"


def test_the_papers_are_those_of_the_stylesheet() -> None:
    style = (assets.STATIC / "pages.css").read_text()
    assert re.findall(r"--paper: (#[0-9a-f]{6})", style) == [colours.PAPER, colours.DARK_PAPER]
    assert f"--ink: {colours.INK}" in style


def test_every_default_colour_can_be_read() -> None:
    style = (assets.STATIC / "pages.css").read_text()
    for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        named = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        on_paper = [("ink", "paper"), ("soft", "paper"), ("soft", "page"), ("link", "paper"), ("link", "page")]
        for one, other in [
            *on_paper,
            ("bad", "paper"),
            ("bad", "bad-paper"),
            ("on-accent", "accent"),
            ("ink", "field"),
        ]:
            assert colours.contrast(named[one], named[other]) >= colours.ENOUGH, (one, other)
        assert colours.contrast(named["field-line"], named["field"]) >= 3  # WCAG 2.2 §1.4.11


@pytest.mark.anyio
async def test_name_logo_links_and_colour_stand_on_the_pages(tmp_path: Path, anyio_backend: str) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text(LOGO)
    brand = {
        "brand_name": "<Acme & Co>",
        "brand_logo": str(logo),
        "brand_colour": "#ffe600",
        "brand_support_url": "https://acme.example.com/help?a=1&b=2",
    }
    async with embedded(**brand) as world, browsing(world) as browser:
        page = await browser.get("/sign-in")
        assert "&lt;Acme &amp; Co&gt;</title>" in page.text
        assert 'href="https://acme.example.com/help?a=1&amp;b=2"' in page.text
        found = re.search(r'<img src="([^"]+)"', page.text)
        assert found
        picture = await browser.get(found[1])
        assert picture.headers["content-type"] == "image/svg+xml"
        assert picture.headers["content-security-policy"].startswith("default-src 'none'")
        assert "sandbox" in picture.headers["content-security-policy"]
        style = re.search(r'<link rel="stylesheet" href="([^"]+)"', page.text)
        assert style
        sheet = await browser.get(style[1])
        assert "--accent: #ffe600; --on-accent: #14171f" in sheet.text
        assert sheet.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = await browser.get(style[1], headers={"if-none-match": sheet.headers["etag"]})
        assert (again.status, again.text) == (304, "")
        stale = await browser.get("/static/pages.css?v=old")
        assert stale.headers["cache-control"] == "public, no-cache"
        assert (await browser.get("/static/secrets")).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"brand_name": ""},
        {"brand_name": "x" * 61},
        {"brand_name": "a\nb"},
        {"brand_colour": "red"},
        {"brand_colour": "#12345; } body { display: none"},
        {"brand_logo": "/etc/passwd"},
        {"brand_logo": "/nowhere/logo.svg"},
        {"brand_privacy_url": "javascript:alert(1)"},
    ],
)
def test_a_brand_that_cannot_be_is_refused_at_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        load(wrong, {})
