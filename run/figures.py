"""Shares and bounds as text, never rounded in their own favor."""

import math


def bounded(value: float, side: str, digits: int = 1) -> float:
    """Round a bound so that what it claims stays true.

    Args:
        side: ``at least`` rounds down, ``at most`` up.
    """
    scale: int = 10**digits
    exact = round(value * scale, 6)  # 100 * 0.29 is a hair below 29
    return (math.floor(exact) if side == "at least" else math.ceil(exact)) / scale


def percent(share: float, side: str = "", digits: int = 1) -> str:
    """A share in percent, or the bound of one as ``bounded`` rounds it; only all is 100, and only none is 0."""
    if side:
        return f"{bounded(100 * share, side, digits):.{digits}f}%"
    least: float = 10**-digits
    if 0 < share < least / 200:
        return f"<{least:g}%"
    return f"{min(100 * share, 100 - least if share < 1 else 100):.{digits}f}%"


def between(lower: float, upper: float) -> str:
    """An interval of shares in percent, without the sign."""
    return f"{bounded(100 * lower, 'at least'):.1f}–{bounded(100 * upper, 'at most'):.1f}"
