"""Figures as people read them: in units they use, and rounded to the side that is feasible."""

import numpy as np

__all__ = ["friendly", "plain", "rounded"]

# Larger units that people use, largest first.
_STEPS = {
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    "J": ((1e6, "MJ"), (1e3, "kJ")),
}


def friendly(value: float, unit: str, digits: int | None = None) -> str:
    """A quantity in a unit people use: 3 digits of bytes, 4 of anything else."""
    digits = digits or (3 if unit == "bytes" else 4)
    steps = _STEPS.get(unit, ())
    size, name = next(((s, n) for s, n in steps if value >= s), (1.0, unit))
    number = value / size
    return f"{plain(number, digits) if number >= 1 else f'{number:.{digits}g}'} {name}"


def plain(value: float, digits: int = 3) -> str:
    """A figure for a table: so many digits, never a power of ten."""
    # From here on `g` would round up into one.
    if value >= 10**digits - 0.5:
        return f"{value:.0f}"
    return "<0.001" if 0 < value < 1e-3 else f"{value:.{digits}g}"


def rounded(value: float, *, up: bool) -> str:
    """Five digits, erring on the side that is feasible."""
    step = 10.0 ** (np.floor(np.log10(value)) - 4) if value > 0 else 1.0
    return f"{(np.ceil if up else np.floor)(value / step) * step:.6g}"
