"""The code of docs/guards.md, as it stands there, against a real node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keybearer.guards import Code, Rejected
from tests.e2e.shop import Shop
from tests.e2e.test_guards_wsgi import bearer, send
from tests.e2e.test_guards_wsgi import serving as serving_wsgi
from tests.support.asgi_server import serving as serving_asgi
from tests.support.guarding import guard_key, shop_at

TEXT = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop_at(tmp_path_factory.mktemp("docs")) as found:
        yield found


def code(heading: str) -> list[str]:
    """The blocks of Python of one section."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def names(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names that the first block leaves: ``guard``, ``guarded`` and a FastAPI ``app``."""
    monkeypatch.setenv("KEYBEARER_URL", shop.node.url)
    monkeypatch.setenv("KEYBEARER_KEY", guard_key(shop)[1])
    found: dict[str, Any] = {"__name__": "__main__"}
    exec(code("FastAPI")[0], found)
    yield found
    found["guard"].close()


def test_fastapi_in_five_minutes(shop: Shop, names: dict[str, Any]) -> None:
    key_id, credential = shop.key("pages:read")
    with serving_asgi(names["app"]) as url:
        assert send(f"{url}/pages/7", headers=bearer(credential)).json() == {"number": 7, "reader": key_id}
        assert send(f"{url}/pages/7").status_code == 401


def test_middleware_in_front_of_an_application(shop: Shop, names: dict[str, Any]) -> None:
    exec(code("ASGI")[0], names)
    _, credential = shop.key("pages:read")
    with serving_asgi(names["app"]) as url:
        assert send(f"{url}/pages/7", headers=bearer(credential)).status_code == 200
        assert send(f"{url}/pages/7", "POST", headers=bearer(credential)).status_code == 403
        assert send(f"{url}/health").status_code == 404


def test_flask_and_wsgi(shop: Shop, names: dict[str, Any]) -> None:
    wsgi, flask = code("WSGI, Flask")
    exec(flask, names)
    key_id, credential = shop.key("pages:write")
    with serving_wsgi(names["app"]) as url:
        assert send(f"{url}/pages", "POST", headers=bearer(credential)).json() == {"writer": key_id}
        assert send(f"{url}/health").text == "well"
        assert send(f"{url}/other", headers=bearer(credential)).status_code == 403
    names["application"] = names["app"].wsgi_app
    exec(wsgi, names)
    with serving_wsgi(names["application"]) as url:
        assert send(f"{url}/pages/7").status_code == 401
        assert send(f"{url}/health").text == "well"


def test_rules_that_ask_for_more(shop: Shop, names: dict[str, Any]) -> None:
    exec(code("What it knows of who calls")[0], names)
    _, credential = shop.key("pages:*")
    with pytest.raises(Rejected) as refused:
        names["guard"].verify(credential, names["careful"])
    assert refused.value.code is Code.KIND_NOT_ACCEPTED
