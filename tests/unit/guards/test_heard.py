"""What was heard of the log: bounded, and honest about what it does not know any more."""

from __future__ import annotations

import pytest

from keybearer.guards import heard as module
from keybearer.guards.heard import Heard


def begun(head: int = 10, since: int | None = 1_000) -> Heard:
    heard = Heard()
    heard.start_over(head)
    heard.known_since = since
    return heard


def test_what_is_older_than_an_event_is_touched() -> None:
    heard = begun()
    heard.note(11, 1_100, "key_1")
    assert heard.is_untouched(["key_1", "proj_1"], 11)
    assert not heard.is_untouched(["key_1", "proj_1"], 10)
    assert heard.is_untouched(["proj_1"], 10)
    assert not heard.is_untouched(["proj_1"], 9)  # before anything was heard


def test_what_happened_since_a_time_is_known_only_from_the_beginning_on() -> None:
    heard = begun()
    heard.note(11, 1_100, "key_1")
    assert not heard.is_untouched_since(["key_1"], 1_100)
    assert heard.is_untouched_since(["key_1"], 1_101)
    assert not heard.is_untouched_since(["proj_1"], 999)
    assert not begun(since=None).is_untouched_since(["proj_1"], 5_000)


def test_it_is_bounded_and_forgets_the_oldest_honestly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SUBJECTS", 4)
    heard = begun()
    for number in range(6):
        heard.note(11 + number, 1_100 + number, f"key_{number}")
    assert len(heard._last) <= 4
    assert not heard.is_untouched(["key_0"], 10)
    assert not heard.is_untouched_since(["key_0"], 1_050)
    assert not heard.is_untouched(["other"], 11)
    assert heard.is_untouched(["other"], 16)
