"""What all of the contracts' types rest on: closed records, and checks of their numbers."""

import math
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

# As far as a float counts exactly.
Count = Annotated[int, Meta(ge=1, le=2**53)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]


def finite(owner: str, **values: float | Sequence[float] | None) -> None:
    """Refuse NaN and infinities, which no unit check would catch."""
    for name, value in values.items():
        numbers = value if isinstance(value, list | tuple) else (value,)
        for number in numbers:
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{owner}: {name} holds {number}; expected finite numbers")


def length(owner: str, expected: int, **arrays: Sequence[object]) -> None:
    """Refuse lists that have not as many entries as expected."""
    for name, array in arrays.items():
        if len(array) != expected:
            raise ValueError(f"{owner}: {name} has {len(array)} entries; expected {expected}")


class Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, closed to unknown fields."""
