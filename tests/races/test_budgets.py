"""Limits and credits under many callers at once, also while processes die: never more than there is."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e.shop import API
from tests.races.conftest import Pair

MONTH = 30 * 86_400


def limit(count: int) -> dict[str, Any]:
    """A limit that gives nothing back for as long as a test takes."""
    return {"name": "requests", "limit": count, "period_in": MONTH}


@pytest.mark.parametrize("count", [1, 137])
def test_a_limit_admits_exactly_as_many_as_it_says(workers: Pair, count: int) -> None:
    _, credential = workers.shop.key("pages:read", limits=[limit(count)])
    outcomes = Counter(workers.ask(credential, 600, at_once=200))
    assert outcomes == {"VALID": count, "RATE_LIMITED": 600 - count}


def test_two_limits_are_taken_together_or_not_at_all(workers: Pair) -> None:
    identity = workers.shop.call(
        "POST",
        "/v1/identities",
        {
            "project_id": workers.shop.project["id"],
            "external_id": "customer",
            "limits": [{"name": "all", "limit": 100, "period_in": MONTH}],
        },
    )
    keys = [workers.shop.key(identity_id=identity["id"], limits=[limit(70)])[1] for _ in range(2)]
    first = Counter(workers.ask(keys[0], 150))
    second = Counter(workers.ask(keys[1], 150))
    assert first == {"VALID": 70, "RATE_LIMITED": 80}
    # The refusals of the first key took nothing from the limit that both share.
    assert second == {"VALID": 30, "RATE_LIMITED": 120}


def test_an_overlap_of_two_secrets_has_one_budget(workers: Pair) -> None:
    key_id, old = workers.shop.key(limits=[limit(50)])
    new = workers.shop.call("POST", f"/v1/keys/{key_id}/rotate", {"grace_in": 600})["credential"]
    outcomes = Counter(workers.ask(old, 40)) + Counter(workers.ask(new, 40))
    assert outcomes == {"VALID": 50, "RATE_LIMITED": 30}


def test_a_quota_admits_exactly_as_many_as_it_says(pair: Pair) -> None:
    _, credential = pair.shop.key(quotas=[{"name": "calls", "limit": 60, "per": "year"}])
    assert Counter(pair.ask(credential, 200)) == {"VALID": 60, "RATE_LIMITED": 140}


def kill(pid: int) -> None:
    """SIGKILL to a process that may have ended by itself meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def credits_of(pair: Pair, key_id: str) -> dict[str, int]:
    found = pair.shop.call("GET", f"/v1/keys/{key_id}")["credits"]
    assert found["balance"] == found["granted"] - found["spent"]
    assert found["balance"] >= 0
    return dict(found)


def test_credits_are_spent_to_the_last_and_no_further(pair: Pair) -> None:
    key_id, credential = pair.shop.key(credits={"balance": 100})
    outcomes = Counter(pair.ask(credential, 300))
    assert outcomes == {"VALID": 100, "CREDITS_EXHAUSTED": 200}
    assert credits_of(pair, key_id)["spent"] == 100
    pair.shop.call("PUT", f"/v1/keys/{key_id}/credits", {"add": 20})
    assert Counter(pair.ask(credential, 50, credits={"cost": 3})) == {"VALID": 6, "CREDITS_EXHAUSTED": 44}
    assert credits_of(pair, key_id)["balance"] == 2


def test_a_request_id_is_charged_once(pair: Pair) -> None:
    key_id, credential = pair.shop.key(credits={"balance": 100})
    assert Counter(pair.ask(credential, 50, request_id="order-1", credits={"cost": 7})) == {"VALID": 50}
    assert credits_of(pair, key_id)["spent"] == 7
    replayed = pair.shop.verify(credential, request_id="order-1", credits={"cost": 7})
    assert (replayed["valid"], replayed["replayed"]) == (True, True)
    refund = {"key_id": key_id, "request_id": "order-1"}
    answers = [pair.shop.call("POST", "/v1/refund", refund, at=node)["refunded"] for node in pair.nodes * 2]
    assert answers.count(True) == 1
    assert credits_of(pair, key_id)["balance"] == 100


def test_a_repetition_takes_nothing_from_the_limit_either(workers: Pair) -> None:
    _, credential = workers.shop.key(limits=[limit(30)])
    outcomes = Counter(workers.ask(credential, 50, request_id="order-1"))
    assert outcomes["VALID"] >= 1
    assert set(outcomes) <= {"VALID", "RATE_LIMITED"}  # a repetition holds its limit until it is known to be one
    assert Counter(workers.ask(credential, 60)) == {"VALID": 29, "RATE_LIMITED": 31}


def test_kills_never_overspend_and_never_forget_what_was_answered(pair: Pair) -> None:
    key_id, credential = pair.shop.key(credits={"balance": 400})
    stop = threading.Event()

    def kill_now_and_then() -> None:
        while not stop.wait(0.25):
            if len(pair.nodes) == 1:
                workers = pair.nodes[0].worker_pids()
                if len(workers) == 2:
                    kill(workers[0])
            else:
                pair.nodes[1].kill9()
                pair.nodes[1].start()

    killing = threading.Thread(target=kill_now_and_then)
    killing.start()
    outcomes: Counter[str] = Counter()
    try:
        until = time.monotonic() + 12
        while outcomes["CREDITS_EXHAUSTED"] < 40 and time.monotonic() < until:
            outcomes += Counter(pair.ask(credential, 60, at_once=8))
    finally:
        stop.set()
        killing.join(30)
    assert set(outcomes) <= {"VALID", "CREDITS_EXHAUSTED", "no answer", "HTTP 503"}
    spent = credits_of(pair, key_id)["spent"]
    assert outcomes["VALID"] <= spent <= 400
    # What was taken without an answer is at most what got no answer.
    assert spent - outcomes["VALID"] <= outcomes["no answer"] + outcomes["HTTP 503"]
    assert outcomes["VALID"] > 0


def test_a_killed_worker_leaves_the_limit_usable_and_exact_enough(workers: Pair) -> None:
    """What a killed worker had counted stays counted: unanswered requests may be lost to the caller, never gained."""
    _, credential = workers.shop.key(limits=[limit(200)])
    outcomes: Counter[str] = Counter()
    for _ in range(3):
        victim = workers.nodes[0].worker_pids()[0]
        killing = threading.Timer(0.05, kill, (victim,))
        killing.start()
        outcomes += Counter(workers.ask(credential, 100, at_once=50))
        killing.join()
        until = time.monotonic() + 10
        while len(workers.nodes[0].worker_pids()) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    outcomes += Counter(workers.ask(credential, 200))
    assert outcomes["VALID"] <= 200
    assert outcomes["VALID"] + outcomes["no answer"] >= 200
    assert outcomes["RATE_LIMITED"] > 0
    assert workers.shop.verify(workers.shop.key("pages:read")[1], api=API)["valid"]
