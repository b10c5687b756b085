"""An interrupted scan goes on where it was; its state has nothing in it that anybody must not read."""

from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.scanner import reading
from keybearer.scanner.reading import BEGINNING, Progress, Reading, Start, search_file
from keybearer.scanner.resuming import Progressed
from keybearer.scanner.sightings import Sighting
from tests.support.spelling import credential


def sightings(path: Path, start: Start = BEGINNING) -> list[Sighting]:
    return [event for event in search_file(str(path), Reading(), start) if isinstance(event, Sighting)]


def test_a_large_file_goes_on_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHECKPOINT", 1 << 20)
    path, state = tmp_path / "big.log", tmp_path / "state"
    with path.open("wb") as file:
        file.write(f"{credential(number=1)}\n".encode() + b"a line of a log\n" * (2 << 20))
        file.write(f"{credential(number=2)}\n".encode())
    progressed = Progressed(str(state))
    seen = 0
    for event in search_file(str(path), Reading()):
        seen += isinstance(event, Sighting)
        if isinstance(event, Progress) and event.start is not None:
            progressed.reached(str(path), event.start)
            break
    progressed.save()
    assert seen == 1
    start = Progressed(str(state)).start_of(str(path))
    assert start.offset > 8 << 20
    [rest] = sightings(path, start)
    assert (rest.credential.reveal(), rest.place.line) == (credential(number=2), (2 << 20) + 2)
    text = state.read_text()
    assert credential(number=1).rpartition("_")[2] not in text
    assert "big.log" not in text


def test_another_file_in_its_place_is_searched_from_the_beginning(tmp_path: Path) -> None:
    path, state = tmp_path / "a.log", tmp_path / "state"
    path.write_text("x" * 100)
    progressed = Progressed(str(state))
    progressed.reached(str(path), Start(50, 1, 60))
    assert progressed.start_of(str(path)) == Start(50, 1, 60)
    path.write_text("x" * 40)
    assert progressed.start_of(str(path)) == BEGINNING
    path.unlink()
    assert progressed.start_of(str(path)) == BEGINNING
    assert not progressed.is_done(str(path))


def test_what_is_done_is_done_until_it_changes(tmp_path: Path) -> None:
    path, state = tmp_path / "a.log", tmp_path / "state"
    path.write_text("x")
    progressed = Progressed(str(state))
    progressed.finished(str(path))
    progressed.save()
    assert Progressed(str(state)).is_done(str(path))
    path.write_text("xy")
    assert not Progressed(str(state)).is_done(str(path))


def test_a_history_begins_anew_once_a_reference_moved(tmp_path: Path) -> None:
    progressed = Progressed(str(tmp_path / "state"))
    progressed.reached_object("repo", "heads-1", 4000)
    assert progressed.objects_of("repo", "heads-1") == 4000
    assert progressed.objects_of("repo", "heads-2") == 0


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "done": {"a": 3}, "begun": {}}'])
def test_another_file_is_no_state(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    with pytest.raises(ConfigurationError):
        Progressed(str(tmp_path / "state"))
