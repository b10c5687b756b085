"""Compressed streams, opened by their first bytes: gzip, zstd, xz and bzip2, also several in a row.

What is cut off or garbled is searched as far as it can be read, and then said. A bomb is stopped by how much there is
of it, and by how much more it is than what it is made of; memory never holds more than a piece.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

PIECE: Final = 1 << 20
_READ: Final = 1 << 16
MAX_EXPANDED: Final = 1 << 36
"""Bytes of one file, when decompressed, unless told otherwise: 64 GiB."""

MAX_RATIO: Final = 2_000
"""How many times larger than the file what is in it may be. Zeros in gzip are 1,030 times smaller; logs, 5 to 50."""

_RATIO_COUNTS_FROM: Final = 1 << 27
_XZ_MEMORY: Final = 1 << 28
_ZSTD_WINDOW_LOG: Final = 27


class Unreadable(Exception):
    """A stream cannot be read to its end; the text says why."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to compress: how its streams begin, and how to make what decompresses one."""

    name: str
    magic: bytes
    make: Callable[[], Any]


class _Gzip:
    """Zlib's decompressor with the manner of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _xz() -> Any:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise Unreadable("zstd is read with the extra keybearer[leaks], which is not installed") from None
    parameter = zstd.DecompressionParameter.window_log_max
    return zstd.ZstdDecompressor(options={parameter: _ZSTD_WINDOW_LOG})


FORMATS: Final = (
    Format("gzip", b"\x1f\x8b", _Gzip),
    Format("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    Format("xz", b"\xfd7zXZ\x00", _xz),
    Format("bzip2", b"BZh", bz2.BZ2Decompressor),
)
LONGEST_MAGIC: Final = 6


def format_of(beginning: bytes) -> Format | None:
    """Return the format that a stream begins like, or ``None``."""
    for known in FORMATS:
        if beginning.startswith(known.magic):
            is_bzip2 = known.name != "bzip2" or (beginning[3:4] in b"123456789" and len(beginning) > 3)
            return known if is_bzip2 else None
    return None


def expanded(stream: BinaryIO, beginning: bytes, found: Format, max_expanded: int = MAX_EXPANDED) -> Iterator[bytes]:
    """Yield what is compressed in a stream, of which ``beginning`` was read already; raises ``Unreadable``."""
    taken, given = len(beginning), 0
    inner, data, begun = found.make(), beginning, False
    while True:
        if inner.eof:
            # Another stream may follow, and zeros may fill up a block.
            data = inner.unused_data.lstrip(b"\0") or stream.read(_READ).lstrip(b"\0")
            if not data:
                if not stream.read(1):
                    return
                continue
            if len(data) < LONGEST_MAGIC:
                data += stream.read(LONGEST_MAGIC)
            if format_of(data) is not found:
                raise Unreadable(f"behind the {found.name} stream comes something else")
            inner, begun = found.make(), False
        elif begun and inner.needs_input:
            data = stream.read(_READ)
            taken += len(data)
            if not data:
                raise Unreadable(f"the {found.name} stream is cut off")
        begun = True
        try:
            piece = inner.decompress(data, PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise Unreadable(f"the {found.name} stream is garbled") from error
        except MemoryError as error:
            raise Unreadable(f"the {found.name} stream needs too much memory") from error
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            raise Unreadable(f"the {found.name} stream is garbled, or needs too much memory") from error
        data = b""
        given += len(piece)
        if given > max_expanded or (given > _RATIO_COUNTS_FROM and given > MAX_RATIO * max(taken, 1)):
            raise Unreadable(f"the {found.name} stream expands too far: stopped after {given:,} bytes")
        if piece:
            yield piece
