"""One request by the real curl, and what it answered."""

import subprocess
from dataclasses import dataclass

import httpx


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: httpx.Headers
    body: str


def curl(url: str, *arguments: str) -> Answer:
    """Runs curl with these arguments; fails when it got no answer at all."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", "--max-time", "15", "--noproxy", "*", *arguments, url],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, f"curl {url}: status {done.returncode}: {done.stderr!r}"
    head, _, body = done.stdout.decode("latin-1").partition("\r\n\r\n")
    while head.startswith("HTTP/1.1 1"):  # 100 Continue
        head, _, body = body.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
    return Answer(int(first.split()[1]), headers, body)


def bearer(credential: str) -> tuple[str, str]:
    """The arguments that carry a credential in the Authorization header."""
    return ("-H", f"Authorization: Bearer {credential}")
