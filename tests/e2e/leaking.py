"""Requests that carry a key in every place where people put one, sent byte for byte."""

import base64
import json
import socket
import time
from pathlib import Path

from tests.support.spelling import percent


def requests(key: str) -> list[tuple[str, dict[str, str]]]:
    """Every place of a request that a key is put into, each of which must not hide the others."""
    basic = base64.b64encode(f"client:{key}".encode()).decode()
    return [
        (f"/query?key={key}&page=2", {}),
        (f"/path/{key}/orders", {}),
        (f"/next?to=https%3A%2F%2Fshop.example%2F%3Fkey%3d{key}%26x", {}),
        (f"/once?key={percent(key)}", {}),
        (f"/twice?key={percent(key, 2)}", {}),
        (f"/blob/{base64.urlsafe_b64encode(json.dumps({'k': key}).encode()).decode()}", {}),
        ("/header", {"X-Api-Key": key}),
        ("/bearer", {"Authorization": f"Bearer {key}"}),
        ("/basic", {"Authorization": f"Basic {basic}"}),
        ("/referer", {"Referer": f"https://shop.example/cart?token={key}"}),
        ("/fragment", {"Referer": f"https://shop.example/#access_token={key}"}),
        ("/cookie", {"Cookie": f"a=b; session={key}; c=d"}),
    ]


def send(port: int, path: str, headers: dict[str, str]) -> None:
    """One request with these very bytes; no client of ours shall tidy them up."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{head}\r\n".encode())
        while connection.recv(65536):
            pass


def wait_for_lines(path: Path, count: int) -> None:
    for _ in range(500):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    raise TimeoutError(path)
