"""One credential in all the spellings in which it turns up in logs, files and messages."""

import base64
import json
import random
from collections.abc import Iterator

from keybearer.core import base62
from keybearer.core.credential import checksum

SECRET = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


def credential(prefix: str = "kb_sk_live", number: int = 1) -> str:
    """The same credential for the same number, so that test ids are stable."""
    dice = random.Random(number)
    body = f"{prefix}_{''.join(dice.choices(base62.ALPHABET, k=16))}_{''.join(dice.choices(base62.ALPHABET, k=32))}"
    return body + checksum(body)


def percent(text: str, times: int = 1) -> str:
    """Every character percent-encoded, so many times over."""
    encoded = "".join(f"%{ord(character):02X}" for character in text)
    for _ in range(times - 1):
        encoded = encoded.replace("%", "%25")
    return encoded


def wrapped(text: str, width: int, line_break: str) -> str:
    """A text with line breaks in it."""
    return line_break.join(text[at : at + width] for at in range(0, len(text), width))


def spellings(text: str) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of everything that is searched for this text."""
    underscored = {
        "percent": "%5F",
        "percent-lower": "%5f",
        "percent-twice": "%255F",
        "percent-thrice": "%25255f",
        "json": "\\u005f",
        "json-in-json": "\\\\u005F",
        "program": "\\x5f",
        "html": "&#x5f;",
        "quoted-printable": "=5F",
    }
    yield "plain", text.encode()
    yield "header", f"X-Api-Key: {text}\r\n".encode()
    yield "query", f"GET /orders?key={text}&page=2 HTTP/1.1".encode()
    yield "fragment", f"https://shop.example/#token={text}".encode()
    yield "userinfo", f"postgres://user:{text}@db.example/x".encode()
    yield "cookie", f"Cookie: a=b; session={text}; c=d".encode()
    yield "json-string", json.dumps({"headers": {"authorization": f"Bearer {text}"}}).encode()
    yield "behind-an-escape", f"line\\n{text}".encode()
    yield "behind-a-percent-code", f"next%3d{text}%26x".encode()
    yield "glued", f"9{text}Z9".encode()
    yield "percent-all", percent(text).encode()
    yield "percent-all-twice", percent(text, 2).encode()
    yield "soft-breaks", wrapped(text, 19, "=\r\n").replace("_", "=5F").encode()
    yield "utf-16-le", text.encode("utf-16-le")
    yield "utf-16-be", ("  " + text + "  ").encode("utf-16-be")
    for name, code in underscored.items():
        yield name, text.replace("_", code).encode()
    for lead in range(3):
        blob = base64.b64encode(f"{'u' * lead}:{text}:x".encode()).decode()
        yield f"basic-{lead}", f"Authorization: Basic {blob}".encode()
        yield f"url-safe-{lead}", base64.urlsafe_b64encode(f"??>{'u' * lead}{text}".encode()).rstrip(b"=")
        for width in (19, 64, 76):
            yield f"mime-{lead}-{width}", wrapped(blob, width, "\r\n").encode()
        yield f"yaml-{lead}", wrapped(blob, 40, "\n    ").encode()
        yield f"escaped-{lead}", wrapped(blob, 48, "\\n").encode()
