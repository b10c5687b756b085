"""QR codes as SVG paths, so that a phone can read the key of an authenticator app off the screen.

Byte mode, error correction level M, versions 1 to 13: up to 331 bytes. Spec: ISO/IEC 18004:2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

QUIET: Final = 4
"""Light modules around the code, which readers need. Spec: §5.3.8."""

_BLOCKS: Final[tuple[tuple[int, tuple[int, ...]], ...]] = (
    (10, (16,)),
    (16, (28,)),
    (26, (44,)),
    (18, (32,) * 2),
    (24, (43,) * 2),
    (16, (27,) * 4),
    (18, (31,) * 4),
    (22, (38, 38, 39, 39)),
    (22, (36, 36, 36, 37, 37)),
    (26, (43, 43, 43, 43, 44)),
    (30, (50, 51, 51, 51, 51)),
    (22, (36,) * 6 + (37,) * 2),
    (22, (37,) * 8 + (38,)),
)
"""Of each version: error correction codewords per block, and the data codewords of each block. Spec: table 9."""

_ALIGNMENT: Final = (
    *((), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34)),
    *((6, 22, 38), (6, 24, 42), (6, 26, 46), (6, 28, 50), (6, 30, 54), (6, 32, 58), (6, 34, 62)),
)
_MASKS: Final[tuple[Callable[[int, int], int], ...]] = (
    lambda x, y: (x + y) % 2,
    lambda x, y: y % 2,
    lambda x, y: x % 3,
    lambda x, y: (x + y) % 3,
    lambda x, y: (y // 2 + x // 3) % 2,
    lambda x, y: x * y % 2 + x * y % 3,
    lambda x, y: (x * y % 2 + x * y % 3) % 2,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2,
)
_FINDER_LIKE: Final = ((1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1))

Modules = list[list[int]]


def svg_path(text: str) -> tuple[str, int] | None:
    """Return the dark modules as an SVG path and the width of the picture, ``None`` for a text that is too long."""
    modules = encode(text.encode())
    if modules is None:
        return None
    runs = []
    for y, row in enumerate(modules):
        x = 0
        while x < len(row):
            width = 0
            while x + width < len(row) and row[x + width]:
                width += 1
            if width:
                runs.append(f"M{x + QUIET} {y + QUIET}h{width}v1h-{width}z")
            x += width + 1
    return "".join(runs), len(modules) + 2 * QUIET


def encode(data: bytes) -> Modules | None:
    """Return the rows of modules, 1 for dark, or ``None`` for data that is too long."""
    for version, (_, blocks) in enumerate(_BLOCKS, 1):
        if len(data) + (2 if version < 10 else 3) <= sum(blocks):
            break
    else:
        return None
    bits = list(_codeword_bits(_interleaved(version, _data_codewords(version, data))))
    drawn = []
    for mask in range(len(_MASKS)):
        modules, free = _frame(version)
        _place(modules, free, bits, mask)
        _write_format(modules, mask)
        drawn.append((_penalty(modules), mask, modules))
    return min(drawn)[2]


def _data_codewords(version: int, data: bytes) -> bytes:
    """Return mode, length, data and padding. Spec: §7.4.5, §7.4.10."""
    capacity = sum(_BLOCKS[version - 1][1])
    length_bits = 8 if version < 10 else 16
    value = (0b0100 << length_bits | len(data)) << 8 * len(data) | int.from_bytes(data)
    used = 4 + length_bits + 8 * len(data)
    value, used = value << 4, used + 4  # the terminator always fits: a byte is kept free for mode and terminator
    codewords = value.to_bytes(used // 8)
    padding = (b"\xec\x11" * capacity)[: capacity - len(codewords)]
    return codewords + padding


def _interleaved(version: int, codewords: bytes) -> bytes:
    """Return data and error correction of all blocks, one codeword of each in turn. Spec: §7.6."""
    correction, sizes = _BLOCKS[version - 1]
    blocks, at = [], 0
    for size in sizes:
        blocks.append(codewords[at : at + size])
        at += size
    checks = [_correction_of(block, correction) for block in blocks]
    mixed = [block[n] for n in range(max(sizes)) for block in blocks if n < len(block)]
    return bytes(mixed + [check[n] for n in range(correction) for check in checks])


def _multiply(one: int, other: int) -> int:
    """Multiply in GF(256) modulo 0x11d."""
    product = 0
    for bit in range(7, -1, -1):
        product = product << 1 ^ (product >> 7) * 0x11D
        product ^= (other >> bit & 1) * one
    return product


def _correction_of(block: Sequence[int], count: int) -> list[int]:
    """Return the Reed-Solomon codewords of a block. Spec: §7.5.2."""
    generator, root = [1], 1
    for _ in range(count):
        shifted = [*generator, 0]
        generator = [value ^ _multiply(before, root) for value, before in zip(shifted, [0, *generator], strict=True)]
        root = _multiply(root, 2)
    remainder = [0] * count
    for codeword in block:
        factor = codeword ^ remainder[0]
        remainder = [
            value ^ _multiply(coefficient, factor)
            for value, coefficient in zip([*remainder[1:], 0], generator[1:], strict=True)
        ]
    return remainder


def _codeword_bits(codewords: bytes) -> Iterator[int]:
    for codeword in codewords:
        for bit in range(7, -1, -1):
            yield codeword >> bit & 1


def _frame(version: int) -> tuple[Modules, Modules]:
    """Return the function patterns, and which modules are free for data. Spec: §6.3."""
    size = 17 + 4 * version
    modules = [[0] * size for _ in range(size)]
    free = [[1] * size for _ in range(size)]

    def draw(x: int, y: int, dark: bool) -> None:
        if 0 <= x < size and 0 <= y < size:
            modules[y][x], free[y][x] = int(dark), 0

    for n in range(size):
        draw(n, 6, n % 2 == 0)
        draw(6, n, n % 2 == 0)
    for cx, cy in ((3, 3), (size - 4, 3), (3, size - 4)):
        for dx in range(-4, 5):
            for dy in range(-4, 5):
                draw(cx + dx, cy + dy, max(abs(dx), abs(dy)) not in (2, 4))
    centres = _ALIGNMENT[version - 1]
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    for cx in centres:
        for cy in centres:
            if (cx, cy) not in corners:
                for dx in range(-2, 3):
                    for dy in range(-2, 3):
                        draw(cx + dx, cy + dy, max(abs(dx), abs(dy)) != 1)
    for n in range(9):
        for x, y in ((8, n), (n, 8)):
            if free[y][x]:
                draw(x, y, False)
    for n in range(8):
        draw(8, size - 1 - n, n == 7)
        draw(size - 1 - n, 8, False)
    if version >= 7:
        bits = version << 12 | _remainder(version, 0x1F25, 12)
        for n in range(18):
            draw(size - 11 + n % 3, n // 3, bool(bits >> n & 1))
            draw(n // 3, size - 11 + n % 3, bool(bits >> n & 1))
    return modules, free


def _remainder(value: int, generator: int, bits: int) -> int:
    """Return the check bits of a BCH code. Spec: annexes C and D."""
    value <<= bits
    for shift in range(value.bit_length() - 1, bits - 1, -1):
        if value >> shift & 1:
            value ^= generator << shift - bits
    return value


def _place(modules: Modules, free: Modules, bits: Sequence[int], mask: int) -> None:
    """Write the bits in columns of two, up and down in turn, under a mask. Spec: §7.7.3, §7.8."""
    size, at, is_masked = len(modules), 0, _MASKS[mask]
    for right in range(size - 1, 0, -2):
        column = right if right > 6 else right - 1  # the timing pattern has a column of its own
        is_upward = (column + 1) & 2 == 0
        for step in range(size):
            y = size - 1 - step if is_upward else step
            for x in (column, column - 1):
                if free[y][x]:
                    bit = bits[at] if at < len(bits) else 0
                    at += 1
                    modules[y][x] = bit ^ int(is_masked(x, y) == 0)


def _write_format(modules: Modules, mask: int) -> None:
    """Write level M (00) and the mask, twice. Spec: §7.9."""
    bits = (mask << 10 | _remainder(mask, 0x537, 10)) ^ 0x5412
    size = len(modules)
    for n in range(15):
        bit = bits >> n & 1
        if n < 8:
            modules[n if n < 6 else n + 1][8] = bit
            modules[8][size - 1 - n] = bit
        else:
            modules[8][15 - n if n > 8 else 7] = bit
            modules[size - 15 + n][8] = bit
    modules[size - 8][8] = 1


def _penalty(modules: Modules) -> int:
    """Tell how hard a code is to read. Spec: §7.8.3."""
    size, total = len(modules), 0
    for line in (*modules, *map(list, zip(*modules, strict=True))):
        run = 1
        for before, module in zip(line, [*line[1:], 2], strict=True):
            if before == module:
                run += 1
                continue
            total += run - 2 if run >= 5 else 0
            run = 1
        total += sum(40 for at in range(size - 10) if tuple(line[at : at + 11]) in _FINDER_LIKE)
    for y in range(size - 1):
        for x in range(size - 1):
            if modules[y][x] == modules[y][x + 1] == modules[y + 1][x] == modules[y + 1][x + 1]:
                total += 3
    dark = sum(map(sum, modules))
    return total + 10 * (abs(dark * 20 - size * size * 10) // (size * size))
