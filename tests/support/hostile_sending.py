"""Sends hostile requests as they are, many at a time, and keeps what each was answered."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.support.hostile_requests import Hostile, with_credential

_AT_ONCE = 12


def send_all(port: int, cases: Iterable[Hostile], credential: str) -> dict[str, bytes]:
    """What a guard on 127.0.0.1 answers to each, by its name; empty where it closed or waited for more."""
    known = list(cases)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda case: send(port, with_credential(case, credential), patient=case.plain), known)
        return {case.name: answer for case, answer in zip(known, answers, strict=True)}


def send(port: int, raw: bytes, *, patient: bool = True) -> bytes:
    """All that is answered to these bytes on a connection of their own; who is not ``patient`` gives up after a second.

    What comes within a fifth of a second of the answer belongs to it.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(raw)
            connection.settimeout(10 if patient else 1)
            while data := connection.recv(65536):
                answer += data
                connection.settimeout(0.2)
        except OSError:
            pass  # it closed the connection, or waits for more
    return answer
