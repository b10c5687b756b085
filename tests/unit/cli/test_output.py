"""How things are printed: widths, times, bars."""

import io
import sys
from datetime import UTC, datetime, timedelta

import pytest

from keybearer.cli.observe import bar
from keybearer.cli.output import Printer, ago, clean, clean_json, span

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=0), "now"),
        (timedelta(seconds=-5), "5s ago"),
        (timedelta(minutes=-90), "1h ago"),
        (timedelta(days=30), "in 30d"),
        (timedelta(days=400), "in 400d"),
        (timedelta(days=800), "in 2y"),
    ],
)
def test_relative_times(distance: timedelta, text: str) -> None:
    assert ago(NOW + distance, NOW) == text


def test_never_is_a_dash() -> None:
    assert ago(None) == "-"


@pytest.mark.parametrize(("seconds", "text"), [(60, "1m"), (90, "90s"), (3600, "1h"), (86400, "1d"), (0, "0s")])
def test_durations_are_printed_as_they_are_written(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_a_bar_shows_the_smallest_count() -> None:
    assert (bar(1000, 1000), bar(1, 1000), bar(0, 1000), bar(0, 0)) == ("█" * 20, "█", "", "")


def test_prose_stays_as_it_is() -> None:
    for text in ("Küche №1 – 日本語", "👩\u200d💻", "[bold]not markup[/bold]", ":smile:"):
        assert clean(text) == text


def test_clean_json_means_the_same() -> None:
    assert clean_json('{"a":"\x9b\u202e"}'.encode()) == '{\n  "a": "\\u009b\\u202e"\n}'


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _table(monkeypatch: pytest.MonkeyPatch, out: io.StringIO, columns: int) -> list[str]:
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [
        ("key_0123456789abcdef", "a rather long name that somebody gave to this key of theirs", "disabled", "in 29d")
    ]
    Printer().table(("id", "name", "state", "expires"), rows, flexible=("name",))
    return out.getvalue().splitlines()


def test_a_table_fits_a_narrow_terminal_and_keeps_ids_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _table(monkeypatch, _Terminal(), 60)
    assert len(lines) == 2
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].startswith("key_0123456789abcdef  a rather")
    assert lines[1].endswith("disabled  in 29d")


def test_ids_stay_whole_where_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _table(monkeypatch, _Terminal(), 20)[1].startswith("key_0123456789abcdef  ")


def test_a_table_in_a_pipe_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _table(monkeypatch, io.StringIO(), 60)
    assert "somebody gave to this key of theirs  disabled" in lines[1]
    assert not any(line.endswith(" ") for line in lines)
