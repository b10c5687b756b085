"""QR codes: read by a real reader where there is one, and unchanged since they were."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from keybearer.web.pages.qr_code import QUIET, Modules, encode, svg_path

LENGTHS = (1, 14, 15, 26, 27, 42, 62, 84, 106, 122, 152, 180, 213, 214, 251, 287, 331)
URI = "otpauth://totp/Keybearer:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Keybearer"
DIGEST = "39d613a1ff8f6cad207df26cbb17e8075ddd248f70e6ff06bd67923c2ad6b03b"
"""Of the code of ``URI`` as zbarimg 0.23.92 read it."""


@pytest.mark.parametrize("length", LENGTHS)
def test_a_reader_reads_what_was_written(length: int, tmp_path: Path) -> None:
    program = shutil.which("zbarimg")
    if program is None:
        pytest.skip("zbarimg (zbar-tools) is not installed")
    text = (URI * 4)[:length]
    picture = tmp_path / "code.pgm"
    modules = encode(text.encode())
    assert modules is not None
    picture.write_bytes(_pgm(modules))
    read = subprocess.run([program, "--raw", "-q", str(picture)], capture_output=True, text=True, timeout=30)
    assert read.stdout == text + "\n"


def test_a_code_that_was_read_is_still_the_same() -> None:
    modules = encode(URI.encode())
    assert modules is not None
    assert hashlib.sha256(bytes(module for row in modules for module in row)).hexdigest() == DIGEST


def test_what_is_too_long_has_no_code() -> None:
    assert svg_path("x" * 331) is not None
    assert svg_path("x" * 332) is None


def test_the_path_draws_the_modules() -> None:
    path, width = svg_path("x") or ("", 0)
    assert width == 21 + 2 * QUIET
    assert path.startswith(f"M{QUIET} {QUIET}h7v1h-7z")  # the upper edge of the first finder


def _pgm(modules: Modules, scale: int = 6) -> bytes:
    blank = [0] * len(modules)
    rows = [*[blank] * QUIET, *modules, *[blank] * QUIET]
    wide = [[0] * QUIET + row + [0] * QUIET for row in rows]
    lines = [bytes(0 if module else 255 for module in row for _ in range(scale)) * scale for row in wide]
    size = len(wide) * scale
    return f"P5 {size} {size} 255\n".encode() + b"".join(lines)
