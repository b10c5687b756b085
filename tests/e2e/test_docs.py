"""The documents that are drawn from the code are up to date."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def drawer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw", DOCS / "draw.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["lifecycle.md", "settings.md"])
def test_a_drawn_document_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == drawer().DRAWN[name](), "run: python docs/draw.py"


def test_what_verify_takes_and_answers_is_documented() -> None:
    from keybearer.core.errors import Code
    from keybearer.wire.verify import VerifyRequest

    text = (DOCS / "verify.md").read_text()
    assert [code for code in Code if f"`{code}`" not in text] == []
    fields = set(VerifyRequest.__struct_fields__) - {"dpop"}  # comes with access tokens
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


def test_every_permission_of_the_own_api_is_documented() -> None:
    from keybearer.core.own_api import PERMISSIONS

    text = (DOCS / "api.md").read_text()
    assert [one.name for one in PERMISSIONS if f"| `{one.name}` | {one.description} |" not in text] == []


def test_every_way_to_bring_a_key_along_is_documented() -> None:
    from typing import get_args

    from keybearer.wire.keys import ImportedSecret, ImportScheme

    text = (DOCS / "import.md").read_text()
    named = [*get_args(ImportScheme), *ImportedSecret.__struct_fields__]
    assert [name for name in named if f"`{name}`" not in text and f'"{name}"' not in text] == []


def test_what_a_proxy_may_say_is_documented() -> None:
    from keybearer.web.original_request import BELIEVED

    text = (DOCS / "forward-auth.md").read_text().lower()
    assert [name for name in sorted(BELIEVED) if f"`{name.decode()}`" not in text] == []


def test_every_setting_is_explained() -> None:
    from keybearer.settings import Settings

    assert [name for name, text in drawer().explanations(Settings).items() if not text] == []


def test_every_test_that_the_security_document_names_is_there() -> None:
    """A map that leads nowhere proves nothing."""
    last, missing, named = "", [], 0
    for token in re.findall(r"`([^`]*)`", (DOCS / "security.md").read_text()):
        place, _, name = token.partition("::")
        if not (place.endswith(".py") and "test_" in place) and not (place == "…" and name):
            continue
        named += 1
        last = last if place == "…" else place
        found = list((DOCS.parent / "tests").rglob(last.rpartition("/")[2]))
        whole = name.removesuffix("…")
        pattern = rf"def {re.escape(whole)}" + ("" if name.endswith("…") else r"\(")
        texts = [path.read_text() for path in found]
        is_placed = "/" not in last or (DOCS.parent / last).exists()
        if not found or not is_placed or (name and not any(re.search(pattern, text) for text in texts)):
            missing.append(token)
    assert named > 40
    assert not missing
