"""``keybearer leaks redact`` as a filter in a pipe, and what it refuses."""

import gzip
import os
import signal
import subprocess
import time
from pathlib import Path

from keybearer.formats.redaction import redact
from tests.support.authority import keybearer_command
from tests.support.spelling import credential, spellings

COMMAND = [keybearer_command(), "leaks", "redact"]


def test_a_pipe_gets_each_line_as_it_comes() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for number in range(3):
            process.stdin.write(f"GET /?key={credential(number=number)} HTTP/1.1\r\n".encode())
            process.stdin.flush()
            begun = time.monotonic()
            line = process.stdout.readline()
            assert line.startswith(b"GET /?key=kb_sk_live_")
            assert line.endswith(b" HTTP/1.1\r\n")
            assert credential(number=number).encode() not in line
            assert number == 0 or time.monotonic() - begun < 2
        process.stdin.write(b"no end")
        process.stdin.close()
        assert process.stdout.read() == b"no end"
        assert process.wait(10) == 0


def test_a_blob_that_comes_line_by_line_is_kept_back_until_it_ends() -> None:
    blob = dict(spellings(credential()))["mime-1-64"]
    lines = (b"X: " + blob + b"\r\nnext line\r\n").splitlines(keepends=True)
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for line in lines:
            process.stdin.write(line)
            process.stdin.flush()
            time.sleep(0.15)
        process.stdin.close()
        out = process.stdout.read()
        assert process.wait(10) == 0
    assert len(out) == sum(map(len, lines))
    scan = subprocess.run([keybearer_command(), "leaks", "scan", "-", "--offline"], input=out, capture_output=True)
    assert scan.returncode == 0


def test_other_bytes_are_left_alone(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) + b"\r\n\xff\xfe\x00" + os.urandom(1 << 20)
    (tmp_path / "junk").write_bytes(data)
    assert subprocess.run([*COMMAND, tmp_path / "junk"], capture_output=True, check=True).stdout == data
    assert subprocess.run(COMMAND, input=data, capture_output=True, check=True).stdout == data


def test_what_is_compressed_is_refused_rather_than_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(credential().encode()))
    for arguments, given in (([tmp_path / "a.gz"], b""), ([], (tmp_path / "a.gz").read_bytes())):
        done = subprocess.run([*COMMAND, *arguments], input=given, capture_output=True)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"compressed" in done.stderr
    before = (tmp_path / "a.gz").read_bytes()
    assert subprocess.run([*COMMAND, "-i", tmp_path / "a.gz", tmp_path / "none"], capture_output=True).returncode == 1
    assert (tmp_path / "a.gz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.gz"]


def test_a_file_that_needs_nothing_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "clean.log"
    path.write_text("nothing\n")
    before = path.stat()
    assert subprocess.run([*COMMAND, "-i", path], capture_output=True).returncode == 0
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_waits_is_let_out_when_told_to_end() -> None:
    """A server that stops sends SIGTERM to its log filters; the last lines are those that one looks for."""
    text = credential()
    with subprocess.Popen(
        [keybearer_command(), "leaks", "redact"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"started\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"started\n"
        process.stdin.write(f"the end: {text}\nno line break {text}".encode())
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        out = process.stdout.read()
        assert process.wait(10) == 0
    assert out == redact(f"the end: {text}\nno line break {text}".encode())
    assert text.encode() not in out


def test_no_link_has_another_file_rewritten(tmp_path: Path) -> None:
    text = credential()
    other = tmp_path / "of-somebody-else"
    other.write_text(text)
    (tmp_path / "access.log").symlink_to(other)
    os.mkfifo(tmp_path / "pipe.log")
    for name, why in (("access.log", "this is a link"), ("pipe.log", "this is no ordinary file")):
        done = subprocess.run(
            [keybearer_command(), "leaks", "redact", "--in-place", tmp_path / name],
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert why in done.stderr.decode()
    assert other.read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["access.log", "of-somebody-else", "pipe.log"]
