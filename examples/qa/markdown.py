"""A small, safe Markdown: everything is escaped first, and only then do a few marks become HTML.

Known are paragraphs, ``# headings``, ``- lists``, ``1. lists``, ``> quotes``, fenced and indented code, `code`,
**strong**, *emphasis*, [links](https://…) and bare https links. There is no way to write HTML, and no URL but http(s).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

from markupsafe import Markup

_FENCE = re.compile(r"```[\w+#.-]*\s*$")
_HEADING = re.compile(r"(#{1,3})\s+(.*)")
_BULLET = re.compile(r"[-*]\s+(.*)")
_NUMBER = re.compile(r"\d{1,3}[.)]\s+(.*)")
_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)(.{1,300}?)(?<!`)\1(?!`)")
_LINK = re.compile(r"\[([^\[\]]{1,300})\]\((https?://[^\s()<>]{1,1000})\)")
_BARE = re.compile(r"(?<![\"=\w/])https?://[^\s<>()\"']{1,1000}[^\s<>()\"'.,;:!?]")
_STRONG = re.compile(r"\*\*(?=\S)([^*]{1,1000}?)(?<=\S)\*\*")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=\S)([^*]{1,1000}?)(?<=\S)\*(?![\w*])")
_KEPT = re.compile("\x00(\\d+)\x00")


def to_html(text: str) -> Markup:
    """Return a text as safe HTML."""
    return Markup("\n".join(_blocks(text.replace("\x00", "").split("\n"))))


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif _FENCE.match(line.strip()):
            at, code = _fenced(lines, at + 1)
            yield _code_block(code)
        elif line.startswith(("    ", "\t")):
            at, code = _while(lines, at, lambda one: one.startswith(("    ", "\t")) or not one.strip())
            yield _code_block([one[4:] if one.startswith("    ") else one.lstrip("\t") for one in code])
        elif heading := _HEADING.match(line):
            level = len(heading[1]) + 2  # the page has the first two
            at += 1
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
        elif line.startswith(">"):
            at, quoted = _while(lines, at, lambda one: one.startswith(">"))
            inner = "\n".join(_plain([one[1:].removeprefix(" ") for one in quoted]))
            yield f"<blockquote>{inner}</blockquote>"
        elif _BULLET.match(line):
            at, items = _items(lines, at, _BULLET)
            yield _list("ul", items)
        elif _NUMBER.match(line):
            at, items = _items(lines, at, _NUMBER)
            yield _list("ol", items)
        else:
            at, paragraph = _while(lines, at, _is_plain)
            yield from _plain(paragraph)


def _is_plain(line: str) -> bool:
    return bool(line.strip()) and not (
        _FENCE.match(line.strip())
        or _HEADING.match(line)
        or _BULLET.match(line)
        or _NUMBER.match(line)
        or line.startswith(">")
    )


def _items(lines: list[str], at: int, mark: re.Pattern[str]) -> tuple[int, list[str]]:
    """Return where a list ends, and its items: an indented line goes on with the item before it."""
    items: list[str] = []
    while at < len(lines):
        if found := mark.match(lines[at]):
            items.append(found[1])
        elif lines[at].startswith(" ") and lines[at].strip():
            items[-1] += " " + lines[at].strip()
        else:
            break
        at += 1
    return at, items


def _while(lines: list[str], at: int, keeps: Callable[[str], bool]) -> tuple[int, list[str]]:
    """Return where a block ends, and its lines: the first, and those after it that belong to it."""
    end = at + 1
    while end < len(lines) and keeps(lines[end]):
        end += 1
    block = lines[at:end]
    while block and not block[-1].strip():
        block.pop()
    return end, block


def _fenced(lines: list[str], at: int) -> tuple[int, list[str]]:
    end = at
    while end < len(lines) and lines[end].strip() != "```":
        end += 1
    return end + 1, lines[at:end]


def _plain(lines: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(_inline(line.strip()))
        elif paragraph:
            yield f"<p>{chr(10).join(paragraph)}</p>"
            paragraph = []


def _code_block(lines: list[str]) -> str:
    return f"<pre><code>{html.escape(chr(10).join(lines))}</code></pre>"


def _list(kind: str, items: list[str]) -> str:
    return f"<{kind}>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</{kind}>"


def _inline(text: str) -> str:
    """Return one line as HTML. Code and links are put aside first, so that no mark within them counts."""
    kept: list[str] = []

    def keep(made: str) -> str:
        kept.append(made)
        return f"\x00{len(kept) - 1}\x00"

    def link(url: str, words: str) -> str:
        return keep(f'<a href="{url}" rel="nofollow ugc noopener">{words}</a>')

    text = _CODE.sub(lambda found: keep(f"<code>{html.escape(found[2].strip())}</code>"), text)
    text = html.escape(text)
    text = _LINK.sub(lambda found: link(found[2], found[1]), text)
    text = _BARE.sub(lambda found: link(found[0], found[0]), text)
    text = _STRONG.sub(r"<strong>\1</strong>", text)
    text = _EMPHASIS.sub(r"<em>\1</em>", text)
    while _KEPT.search(text):
        text = _KEPT.sub(lambda found: kept[int(found[1])], text)
    return text
