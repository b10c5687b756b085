"""The documents that are drawn from the code are up to date."""

import importlib.util
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


def test_every_setting_is_explained() -> None:
    from keybearer.settings import Settings

    assert [name for name, text in drawer().explanations(Settings).items() if not text] == []
