"""Colours that can be read: a brand's own colour, made darker or lighter where it would be too faint.

Spec: WCAG 2.2 §1.4.3 (contrast of at least 4.5 to 1).
"""

from __future__ import annotations

from typing import Final

ENOUGH: Final = 4.5
PAPER: Final = "#ffffff"
DARK_PAPER: Final = "#1a1d26"
INK: Final = "#14171f"
"""As ``pages.css`` has them."""


def style_of(brand: str) -> str:
    """Return the style sheet's variables for a brand's colour, for light pages and for dark ones."""
    light, dark = readable(brand, PAPER), readable(brand, DARK_PAPER)
    return (
        f":root {{ --accent: {brand}; --on-accent: {ink_on(brand)}; --link: {light}; }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ --accent: {dark}; --on-accent: {ink_on(dark)}; "
        f"--link: {dark}; }} }}\n"
    )


def ink_on(colour: str) -> str:
    """Return white or black ink, whichever is easier to read on a colour."""
    return max((PAPER, INK), key=lambda ink: contrast(ink, colour))


def readable(colour: str, paper: str) -> str:
    """Return the colour, moved away from the paper's as far as it must be to be read on it."""
    target = 0 if _luminance(paper) > 0.5 else 255
    parts = _parts(colour)
    for step in range(21):
        moved = "#" + "".join(f"{round(part + (target - part) * step / 20):02x}" for part in parts)
        if contrast(moved, paper) >= ENOUGH:
            return moved
    return PAPER if target else INK


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours: 1 for none, 21 for black on white."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    shares = (part / 255 for part in _parts(colour))
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
