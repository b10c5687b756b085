"""A watch keeps what it could not tell, reads no more than it can keep, and notes no more than it told."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError, KeybearerError
from keybearer.scanner import watch as watching
from keybearer.scanner.following import Follower
from keybearer.scanner.matchers import Nobody, Remembering
from keybearer.scanner.reading import Reading
from keybearer.scanner.resuming import Progressed
from keybearer.scanner.sightings import Sighting, Trouble, Verdict
from keybearer.scanner.watch import Positions, Watch
from tests.support.spelling import credential


class Flaky:
    """Answers when it is up."""

    def __init__(self) -> None:
        self.up = False
        self.told: list[str] = []

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        if not self.up:
            raise KeybearerError("down")
        self.told += [one.credential.reveal() for one in sightings]
        return Nobody().check(sightings, act=act)


def test_nothing_is_lost_while_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_WAITING", 20)
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    clock = [0.0]
    flaky = Flaky()
    troubles: list[Trouble] = []
    saved = tmp_path / "positions"
    watch = Watch(
        [str(log) for log in logs],
        Reading(),
        flaky,
        Positions(str(saved)),
        lambda sighting, verdict: None,
        troubles.append,
        act=True,
        from_start=True,
        now=lambda: clock[0],
    )
    texts = [credential(number=number) for number in range(60)]
    logs[0].write_text("".join(f"{text}\n" for text in texts[:30]))
    watch.turn()
    assert watch.waiting == 30
    logs[1].write_text("".join(f"{text}\n" for text in texts[30:]))
    for _ in range(5):
        watch.turn()
        clock[0] += 1
    assert watch.waiting == 30, "the second log is not read while so much waits"
    assert not saved.exists()
    assert troubles
    flaky.up = True
    clock[0] += 60
    watch.turn()
    watch.turn()
    assert flaky.told == texts
    assert saved.exists()
    watch.close()
    assert texts[0].rpartition("_")[2] not in saved.read_text()


def test_the_waits_grow_and_end(tmp_path: Path) -> None:
    log, clock, troubles = tmp_path / "a.log", [0.0], list[Trouble]()
    log.write_text(f"{credential()}\n")
    watch = Watch(
        [str(log)],
        Reading(),
        Flaky(),
        Positions(None),
        lambda sighting, verdict: None,
        troubles.append,
        act=True,
        from_start=True,
        now=lambda: clock[0],
    )
    for _ in range(200):
        watch.turn()
        clock[0] += 1
    assert 8 <= len(troubles) <= 14
    watch.close()
    assert "were not told" in troubles[-1].why


def test_a_credential_that_comes_all_the_time_is_asked_about_a_few_times() -> None:
    from keybearer.core.secret import Secret
    from keybearer.scanner.sightings import Place

    flaky = Flaky()
    flaky.up = True
    matcher = Remembering(flaky)
    one = Sighting(Secret(credential()), "secret_key", Place("log", "x", 1, 1), "plain")
    for _ in range(100):
        [verdict] = matcher.check([one], act=True)
        assert verdict.state == "unchecked"
    assert len(flaky.told) == 20


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1, "logs": {"a": 1}}', '{"version": 9, "logs": {}}'])
def test_another_file_is_no_file_of_positions(tmp_path: Path, text: str) -> None:
    (tmp_path / "positions").write_text(text)
    with pytest.raises(ConfigurationError):
        Positions(str(tmp_path / "positions"))


def test_workers_that_still_write_to_the_renamed_file_are_heard(tmp_path: Path) -> None:
    """A server opens its new log before the last of its workers has left the old one."""
    now = 0.0
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log.write_text("begun\n")
    follower = Follower(str(log), Reading(), None, from_start=True, now=lambda: now)

    def ids() -> list[str]:
        return [one.credential.reveal() for one in follower.poll() if isinstance(one, Sighting)]

    assert ids() == []
    with log.open("a") as worker:
        log.rename(old)
        log.write_text(f"new {credential(number=1)}\n")
        assert ids() == [credential(number=1)]
        late = credential(number=2)
        worker.write(f"late {late[:40]}")
        worker.flush()
        assert ids() == []
        # Whoever starts again begins with the new one, which may be rotated away by then.
        position = follower.position()
        assert position is not None
        assert position.inode == log.stat().st_ino
        worker.write(f"{late[40:]}\n")
        worker.flush()
        now = 4.0
        assert ids() == [late]
        worker.write(f"the last, without a line break: {credential(number=3)}")
        worker.flush()
        assert ids() == []
        now = 9.5
        assert ids() == [credential(number=3)]
    follower.close()


@pytest.mark.parametrize("what", ["positions", "progress"])
def test_no_link_that_lies_ready_is_written_through(tmp_path: Path, what: str) -> None:
    """The file may lie where others write, who know how it is called and this process's number."""
    victim, state = tmp_path / "victim", tmp_path / "state"
    victim.write_text("precious")
    (tmp_path / f".state.{os.getpid()}").symlink_to(victim)
    log = tmp_path / "access.log"
    log.write_text("x\n")
    if what == "positions":
        follower = Follower(str(log), Reading(), None, from_start=True)
        assert not [*follower.poll()]
        Positions(str(state)).save([follower])
        follower.close()
    else:
        Progressed(str(state)).save()
    assert victim.read_text() == "precious"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
