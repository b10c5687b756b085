"""Markdown: what it makes of marks, and that nobody writes HTML with it."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.qa.markdown import to_html

ALLOWED = {"p", "a", "code", "pre", "strong", "em", "ul", "ol", "li", "blockquote", "h3", "h4", "h5"}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("One\ntwo\n\nthree", "<p>One\ntwo</p>\n<p>three</p>"),
        ("**strong** and *soft*", "<p><strong>strong</strong> and <em>soft</em></p>"),
        ("2 * 3 * 4 and a_b_c", "<p>2 * 3 * 4 and a_b_c</p>"),
        ("`a < b` and ``x`y``", "<p><code>a &lt; b</code> and <code>x`y</code></p>"),
        ("`**not strong**`", "<p><code>**not strong**</code></p>"),
        ("- one\n- two", "<ul><li>one</li><li>two</li></ul>"),
        ("- one\n  and on\n- two\nthree", "<ul><li>one and on</li><li>two</li></ul>\n<p>three</p>"),
        ("1. one\n2. two", "<ol><li>one</li><li>two</li></ol>"),
        ("> wise\n> words", "<blockquote><p>wise\nwords</p></blockquote>"),
        ("# Top", "<h3>Top</h3>"),
        ("```sh\na <b>\n\nc\n```\nafter", "<pre><code>a &lt;b&gt;\n\nc</code></pre>\n<p>after</p>"),
        ("```\nnever closed", "<pre><code>never closed</code></pre>"),
        ("    x = 1\n\n    y = 2", "<pre><code>x = 1\n\ny = 2</code></pre>"),
        (
            "[docs](https://a.example/x?a=1&b=2)",
            '<p><a href="https://a.example/x?a=1&amp;b=2" rel="nofollow ugc noopener">docs</a></p>',
        ),
        (
            "See https://a.example/x.",
            '<p>See <a href="https://a.example/x" rel="nofollow ugc noopener">https://a.example/x</a>.</p>',
        ),
        ('<b>bold</b> & "quotes"', "<p>&lt;b&gt;bold&lt;/b&gt; &amp; &quot;quotes&quot;</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("", ""),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:24] or "nothing",
)
def test_marks(text: str, made: str) -> None:
    assert to_html(text) == made


class Inspector(HTMLParser):
    """Notes each element and attribute that a browser would find."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


MARKS = [*"<>\"'&*`[]()x \n\x00", "**", "``", "```", "](", "    ", "- ", "1. ", "> ", "# ", "\x000\x00"]
TRICKS = ["https://", "javascript:", "<script>", " onclick=", "<img src=x onerror=y>", "&lt;"]


@given(st.lists(st.sampled_from(MARKS + TRICKS), max_size=40).map("".join))
def test_nothing_but_our_own_elements_comes_out(text: str) -> None:
    inspector = Inspector()
    inspector.feed(to_html(text))
    for tag, attributes in inspector.found:
        assert tag in ALLOWED
        assert [name for name, _ in attributes] == (["href", "rel"] if tag == "a" else [])
        assert all((value or "").startswith(("https://", "http://")) for name, value in attributes if name == "href")


@pytest.mark.parametrize("piece", ["*", "**a", "`", "` ``a", "[a](", "[", "https://", "> ", "- ", "```\n", "\x00"])
def test_the_time_that_it_takes_grows_with_the_length(piece: str) -> None:
    text = (piece * 30_000)[:30_000]
    began = time.perf_counter()
    to_html(text)
    assert time.perf_counter() - began < 2
