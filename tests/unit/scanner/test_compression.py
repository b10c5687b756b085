"""Compressed streams are read to their end, or it is said why not; none fills the memory."""

import bz2
import gzip
import io
import lzma
import random
import tracemalloc

import pytest
from backports import zstd

from keybearer.scanner import compression
from keybearer.scanner.compression import FORMATS, PIECE, Unreadable, expanded, format_of


def with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESS = {"gzip": gzip.compress, "zstd": with_checksum, "xz": lzma.compress, "bzip2": bz2.compress}
TEXT = random.Random(3).randbytes(200_000) + b"x" * (3 << 20)


def read(packed: bytes, limit: int = 1 << 40) -> bytes:
    stream = io.BytesIO(packed)
    beginning = stream.read(6)
    found = format_of(beginning)
    assert found
    return b"".join(expanded(stream, beginning, found, limit))


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
def test_one_and_several_in_a_row_and_padding(name: str) -> None:
    packed = COMPRESS[name](TEXT)
    assert read(packed) == TEXT
    assert read(packed + packed + COMPRESS[name](b"")) == TEXT + TEXT
    assert read(packed + b"\0" * 1000) == TEXT


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
@pytest.mark.parametrize("kept", [7, 1000, -1])
def test_what_is_cut_off_is_said_after_what_there_was(name: str, kept: int) -> None:
    packed = COMPRESS[name](TEXT)[:kept]
    pieces = []
    stream = io.BytesIO(packed)
    beginning = stream.read(6)
    with pytest.raises(Unreadable, match="cut off"):
        pieces.extend(expanded(stream, beginning, format_of(beginning), 1 << 40))  # type: ignore[arg-type]
    assert TEXT.startswith(b"".join(pieces))


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
def test_what_is_garbled_is_said(name: str) -> None:
    packed = bytearray(COMPRESS[name](TEXT))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\x55" * 64
    with pytest.raises(Unreadable, match=r"garbled|cut off"):
        read(bytes(packed))
    with pytest.raises(Unreadable, match="something else"):
        read(COMPRESS[name](TEXT) + b"something else altogether")


@pytest.mark.parametrize("name", ["zstd", "xz", "bzip2"])
def test_a_bomb_is_stopped_by_its_ratio_and_takes_no_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_RATIO_COUNTS_FROM", 8 << 20)
    packed = COMPRESS[name](b"\0" * (16 << 20))
    stream = io.BytesIO(packed)
    beginning = stream.read(6)
    sizes: list[int] = []
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="expands too far"):
            sizes.extend(map(len, expanded(stream, beginning, format_of(beginning))))  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert max(sizes) <= PIECE
    assert sum(sizes) < 10 << 20


def test_a_limit_of_ones_own() -> None:
    with pytest.raises(Unreadable, match="expands too far"):
        read(gzip.compress(TEXT), 1 << 20)


@pytest.mark.parametrize("beginning", [b"", b"BZ", b"BZh", b"BZhx", b"plain text", b"\x1f"])
def test_what_is_not_compressed(beginning: bytes) -> None:
    assert format_of(beginning) is None
