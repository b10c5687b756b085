"""What is authorised is what is forwarded: a path that some server behind us might read differently opens nothing.

Each reader below is how one kind of upstream turns the bytes of a path into a place. A key that is restricted to a
folder may be let in only where every one of them stays inside it.

Spec: SECURITY-BAR, Envoy CVE-2019-9901 and Traefik CVE-2026-48020 (path normalised after the decision); DESIGN §8.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keybearer.core.sources import is_ambiguous_path, path_matches
from keybearer.services import keys
from keybearer.wire.keys import CreateKey, RestrictionsSpec
from tests.security.conftest import anyone
from tests.support.embedded import embedded
from tests.support.requests import Scene

FOLDER = "/guide/*"


def _decoded(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1", "replace")).decode("latin-1")


def _resolved(path: str) -> str:
    return posixpath.normpath(re.sub("/+", "/", path))


READERS: dict[str, Callable[[str], str]] = {
    "resolves dot segments": _resolved,
    "merges slashes": lambda path: re.sub("/+", "/", path),
    "decodes, then resolves": lambda path: _resolved(_decoded(path)),
    "decodes twice": lambda path: _resolved(_decoded(_decoded(path))),
    "decodes three times": lambda path: _resolved(_decoded(_decoded(_decoded(path)))),
    "takes backslashes for slashes": lambda path: _resolved(_decoded(path).replace("\\", "/")),
    "cuts path parameters": lambda path: _resolved("/".join(part.partition(";")[0] for part in path.split("/"))),
    "decodes, then cuts path parameters": lambda path: _resolved(re.sub(";[^/]*", "", _decoded(path))),
    "cuts the fragment": lambda path: _resolved(path.partition("#")[0] or "/"),
    "decodes, then cuts the fragment": lambda path: _resolved(_decoded(path).partition("#")[0] or "/"),
    "decodes, then cuts the query": lambda path: _resolved(_decoded(path).partition("?")[0] or "/"),
    "ends at NUL": lambda path: _resolved(_decoded(path).partition("\0")[0] or "/"),
    "drops control characters": lambda path: _resolved(re.sub("[\0-\x1f\x7f]", "", _decoded(path))),
    "reads an absolute URL": lambda path: _resolved(urlsplit("http://upstream" + path).path or "/"),
    "reads %uXXXX": lambda path: _resolved(re.sub("%u00(..)", lambda found: chr(int(found[1], 16)), path)),
    "takes overlong UTF-8": lambda path: _resolved(
        re.sub(
            "[\xc0\xc1]([\x80-\xbf])",
            lambda found: chr(((ord(found[0][0]) & 1) << 6) | (ord(found[1]) & 0x3F)),
            _decoded(path),
        )
    ),
}

PIECES = (
    *("guide", "admin", "a", ".", "..", "...", "/", "//", "\\", "%2e", "%2E", "%2f", "%5c", "%5C", "%00", "\0", ";"),
    *(";x", "#", "%23", "?", "%3f", "%3B", "%252e", "%252f", "%25", "%2525", "%c0%ae", "%c0%af", "%e0%80%af"),
    *("%ef%bc%8e%EF%BC%8E/", "%ef%bc%8f", "%ef%bc%bc", "%ef%b9%92", "%ef%b9%a8", "%e2%80%a4", "%e2%80%A5", "%e2%80%a6"),
    *("%u002e", "%u002f", "%", "%2", "%zz", " ", "%20", "%0a", "\t", "%09", "~", "@", ":", "*", "é", "%c3%a9", "%ff"),
    "\N{KELVIN SIGN}",
)
ESCAPES = (
    *("../admin", "..", "./x", "x/../../admin", "%2e%2e/admin", "%2E%2E/admin", ".%2e/admin", "..%2fadmin"),
    *("..%2Fadmin", "..%5cadmin", "..\\admin", "..;/admin", "..;x=y/admin", "..%3b/admin", "..#/admin", "..%23/admin"),
    *("..%3f/admin", "..%00/admin", "..\0/admin", "..\t/admin", ".\t./admin", ".%09./admin", "..\n/admin"),
    *("%252e%252e/admin", "%252e%252e%252fadmin", "..%252fadmin", "%25252e%25252e/admin", "%c0%ae%c0%ae/admin"),
    *("..%c0%afadmin", "%u002e%u002e/admin", "%e0%80%ae%e0%80%ae/admin", "//admin", "/../admin", "x//y"),
    *("%2f..%2f..%2fadmin", "..%"),
)
ELSEWHERE = ("//guide/../admin", "guide/x", "http://upstream/guide/x", "*", "", "/guidex", "/GUIDE/x", "/./guide/x")
CORPUS = (*("/guide/" + escape for escape in ESCAPES), *ELSEWHERE)


def stays_inside(path: str) -> bool:
    """Whether every reader ends up in the folder."""
    return all(place == "/guide" or place.startswith("/guide/") for place in (read(path) for read in READERS.values()))


@settings(max_examples=1500)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@example("../admin")
@example("%2e%2e/admin")
@example("..%252fadmin")
def test_no_reader_leaves_the_folder_that_was_authorised(rest: str) -> None:
    for path in ("/guide/" + rest, "/guide" + rest, rest):
        if path_matches(FOLDER, path):
            assert stays_inside(path), path


@settings(max_examples=500)
@given(st.text(max_size=30))
def test_no_text_at_all_leaves_it_either(rest: str) -> None:
    if path_matches(FOLDER, "/guide/" + rest):
        assert stays_inside("/guide/" + rest)


@pytest.mark.parametrize(
    "path",
    [
        "/guide/",
        "/guide/x",
        "/guide/a%20b.txt",
        "/guide/caf%c3%a9",
        "/guide/caf%C3%A9",
        "/guide/x.y-z_~!$&'()+,=:@",
        "/guide/100%25",
    ],
)
def test_ordinary_paths_are_not_ambiguous(path: str) -> None:
    assert not is_ambiguous_path(path)
    assert path_matches(FOLDER, path)


@pytest.mark.anyio
async def test_forward_auth_and_verify_refuse_the_corpus() -> None:
    async with embedded(trusted_proxies=("192.0.2.1/32",)) as world:
        scene = await Scene.of(world, 1)
        asked = CreateKey(scene.project, "near", restrictions=RestrictionsSpec(paths=[FOLDER]))
        near = (await keys.create(world.authority, world.root, asked)).credential
        async with world.http(near) as http:
            for path, status in {**dict.fromkeys(CORPUS, 401), "/guide/x": 200, "/guide": 200}.items():
                for name in (b"x-original-uri", b"x-forwarded-uri"):
                    for tail in ("", "?q=%2f..#;"):
                        said = [(name, (path + tail).encode("latin-1")), *anyone(near)]
                        assert (await http.get("/forward-auth", headers=said)).status_code == status, path + tail
        async with world.http() as http:
            for path in CORPUS:
                if not path.startswith("/"):
                    continue
                for url in (path, "https://upstream.example" + path):
                    body = {"credential": near, "url": url}
                    answer = await http.post("/v1/verify", json=body)
                    assert answer.status_code in (200, 400), url
                    assert answer.status_code == 400 or answer.json()["code"] == "REQUEST_NOT_ALLOWED", url
