"""Figures in words."""

__all__ = ["number", "quantity"]


def number(value: float) -> str:
    """Three significant digits, without an exponent where one is not needed."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = f"{value:.3g}"
        return f"{value:.0f}" if "e" in digits else digits
    return f"{value:.2e}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit; a ratio has none."""
    return number(value) + ("" if unit == "1" else f" {unit}")
