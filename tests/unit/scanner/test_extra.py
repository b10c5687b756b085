"""Without the extra ``keybearer[leaks]``: the same is found, and what cannot be done is said."""

import io
import sys
from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.scanner import matching
from keybearer.scanner.compression import Unreadable, expanded, format_of
from keybearer.scanner.rules import load


@pytest.fixture(autouse=True)
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hyperscan", "re2", "backports.zstd", "backports", "compression"):
        monkeypatch.setitem(sys.modules, name, None)


def test_the_standard_library_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matching._hyperscan() is None
    matching.best.cache_clear()
    try:
        assert matching.best() is matching.plain
        assert not matching.is_fast()
    finally:
        matching.best.cache_clear()


def test_zstd_is_said_to_need_it() -> None:
    beginning = b"\x28\xb5\x2f\xfd\x00\x00"
    found = format_of(beginning)
    assert found
    with pytest.raises(Unreadable, match=r"keybearer\[leaks\]"):
        list(expanded(io.BytesIO(), beginning, found))


def test_rules_are_said_to_need_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"keybearer\[leaks\]"):
        load(str(tmp_path / "rules.toml"))
