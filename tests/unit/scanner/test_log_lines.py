"""When a line was written and for whom, in the formats that there are; nothing is made up."""

import pytest

from keybearer.core.errors import InvalidInput
from keybearer.scanner.log_formats import reader_of
from keybearer.scanner.log_lines import read

LINES = [
    ('203.0.113.9 - - [26/Nov/2026:08:00:01 +0100] "GET / HTTP/1.1" 200 5', "2026-11-26T08:00:01+01:00", "203.0.113.9"),
    (
        'shop.example:443 2001:db8::1 - u [26/Nov/2026:08:00:01 -0530] "GET /"',
        "2026-11-26T08:00:01-05:30",
        "2001:db8::1",
    ),
    ('host.example - - [26/Nov/2026:08:00:01 +0000] "GET /"', "2026-11-26T08:00:01Z", None),
    (
        '2026/11/26 08:00:01 [error] 12#12: *1 open() "/x" failed, client: 203.0.113.9, server: , request: "GET /"',
        "2026-11-26T08:00:01",
        "203.0.113.9",
    ),
    (
        "[Thu Nov 26 08:00:01.123456 2026] [core:info] [pid 1] [client 203.0.113.9:5555] AH00128: no file",
        "2026-11-26T08:00:01.123456",
        "203.0.113.9",
    ),
    ('{"time":"2026-11-26T08:00:01Z","client_ip":"203.0.113.9"}', "2026-11-26T08:00:01Z", "203.0.113.9"),
    ('{"ts":1795680001.5,"request":{"remote_ip":"203.0.113.9","uri":"/"}}', "2026-11-26T08:00:01Z", "203.0.113.9"),
    ('{"timestamp":1795680001000,"remote_addr":"[2001:db8::1]:443"}', "2026-11-26T08:00:01Z", "2001:db8::1"),
    ("2026-11-26 08:00:01,123 INFO key seen", "2026-11-26T08:00:01.123", None),
    ("<34>1 2026-11-26T08:00:01.003+02:00 host app - - - x", "2026-11-26T08:00:01.003+02:00", None),
    ("nothing to tell", None, None),
    ('{"broken": ', None, None),
    ('203.0.113.9 - - [32/Nov/2026:08:00:01 +0000] "GET /"', None, None),
    ("0001-01-01T00:00:00Z long ago", None, None),
    ("2026-13-45T99:00:00 no instant", None, None),
    ("[" * 100_000, None, None),
]


@pytest.mark.parametrize(("line", "at", "client"), LINES, ids=range(len(LINES)))
def test_known_formats(line: str, at: str | None, client: str | None) -> None:
    assert read(line.encode()) == (at, client)


DECLARED = [
    ("combined", '203.0.113.9 - - [26/Nov/2026:08:00:01 +0000] "GET /', "2026-11-26T08:00:01Z", "203.0.113.9"),
    (
        "$msec|$http_x_forwarded_for|$request",
        "1795680001.123|203.0.113.9, 10.0.0.1|GET /",
        "2026-11-26T08:00:01Z",
        "203.0.113.9",
    ),
    (
        "$host ${remote_addr}: $time_iso8601",
        "a 203.0.113.9: 2026-11-26T08:00:01+00:00",
        "2026-11-26T08:00:01+00:00",
        "203.0.113.9",
    ),
    (
        "%{X-Real-IP}i %>s 100%% %t",
        "203.0.113.9 200 100% [26/Nov/2026:08:00:01 +0000]",
        "2026-11-26T08:00:01Z",
        "203.0.113.9",
    ),
    ("%{%s}t %a", "1795680001 203.0.113.9", "2026-11-26T08:00:01Z", "203.0.113.9"),
]


@pytest.mark.parametrize(("declared", "line", "at", "client"), DECLARED, ids=range(len(DECLARED)))
def test_declared_formats(declared: str, line: str, at: str, client: str) -> None:
    assert read(line.encode(), reader_of(declared)) == (at, client)


def test_a_line_of_another_format_is_read_as_it_is() -> None:
    assert read(b"2026-11-26T08:00:01Z x", reader_of("combined")) == ("2026-11-26T08:00:01Z", None)


@pytest.mark.parametrize("declared", ["", "nothing", "$request %r", "x" * 5000])
def test_formats_that_tell_nothing_are_refused(declared: str) -> None:
    with pytest.raises(InvalidInput):
        reader_of(declared)
