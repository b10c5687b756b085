"""The follower tells everybody who listens, also those who come and go meanwhile, and trusts nothing after a fault."""

from __future__ import annotations

import threading
import time

import pytest

from keybearer.client.connection import connect
from keybearer.guards.follower import Follower, Gap
from keybearer.guards.freshness import Anchor
from keybearer.guards.notices import Notice

NOW = "2026-01-02T03:04:05Z"


class Listener:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def heard_event(self, seq: int, at: int, event_type: str, subject: str) -> None:
        self.heard.append(f"{seq} {event_type} {subject}")

    def heard_nothing(self) -> None:
        self.heard.append("nothing")


def follower() -> Follower:
    return Follower(connect("http://127.0.0.1:9", "key"))


def event(seq: int) -> Notice:
    return Notice(str(seq), "key.revoke", f'{{"subject":"key_{seq}","at":"{NOW}"}}'.encode())


def beat(head: int, clock: int = 5, age: int = 0) -> Notice:
    return Notice("", "heartbeat", f'{{"head":{head},"age":{age},"clock":{clock},"now":"{NOW}"}}'.encode())


RESET = Notice("10", "reset", b'{"head":10}')


def test_it_is_fresh_only_once_all_events_came() -> None:
    found, listener, anchor = follower(), Listener(), Anchor(time.monotonic_ns())
    found.attach(listener)
    found._take(RESET, anchor)
    assert not found.is_fresh
    found._take(beat(10), anchor)
    assert found.is_fresh
    found._take(event(11), anchor)
    with pytest.raises(Gap):
        found._take(beat(10), anchor)
    assert listener.heard == ["nothing", "11 key.revoke key_11"]
    found._take(RESET, anchor)
    assert not found.is_fresh


@pytest.mark.parametrize(
    "notice",
    [event(12), event(10), event(9), beat(11), beat(9), Notice("", "key.revoke", b"{}"), Notice("x", "reset", b"{}")],
    ids=["left out", "again", "old", "ahead", "behind", "no id", "no number"],
)
def test_what_does_not_follow_is_a_gap(notice: Notice) -> None:
    found, anchor = follower(), Anchor(0)
    found._take(RESET, anchor)
    with pytest.raises(Gap):
        found._take(notice, anchor)


@pytest.mark.parametrize("notice", [event(1), beat(0)], ids=["event", "heartbeat"])
def test_nothing_counts_before_the_beginning(notice: Notice) -> None:
    with pytest.raises(Gap):
        follower()._take(notice, Anchor(0))


def test_listeners_may_come_and_go_while_events_come() -> None:
    found, anchor, staying = follower(), Anchor(0), Listener()
    found.attach(staying)
    found._take(RESET, anchor)
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            other = Listener()
            found.attach(other)
            found.detach(other)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    for seq in range(11, 2011):
        found._take(event(seq), anchor)
    stop.set()
    thread.join()
    assert len(staying.heard) == 2001
    assert found.detach(staying)
