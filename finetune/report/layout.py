"""Where each row stands, so that pictures side by side line up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from finetune.report.rows import Row

__all__ = ["Band", "Layout", "Placed", "lay_out"]

BODY_PX = 560.0
LEAST_ROW_PX, MOST_ROW_PX = 6.5, 24.0
LEAST_BAND_PX = 12.0
GAP_PX = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A row between two heights, counted downwards in pixels."""

    row: Row
    top_px: float
    bottom_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The rows of one device class."""

    device_class: str
    count: int
    rows: tuple[Placed, ...]

    @property
    def top_px(self) -> float:
        """Where its first row begins."""
        return self.rows[0].top_px

    @property
    def middle_px(self) -> float:
        """Height of its label."""
        return (self.rows[0].top_px + self.rows[-1].bottom_px) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All bands from top to bottom.

    Attributes
    ----------
    bands : tuple of Band
    height_px : float
        Of all of them.
    heading_px : float
        Room above each band for its label; 0 where labels stand beside the bands.
    """

    bands: tuple[Band, ...]
    height_px: float
    heading_px: float = 0.0

    @property
    def rows(self) -> list[Placed]:
        """Every row from top to bottom."""
        return [placed for band in self.bands for placed in band.rows]


def lay_out(rows: Sequence[Row], heading_px: float = 0.0) -> Layout:
    """Stack sorted rows, class by class.

    Labels stand above their class in `heading_px`; without it beside it, so that every class
    gets the height of its label at least.
    """
    row_px = min(max(BODY_PX / len(rows), LEAST_ROW_PX), MOST_ROW_PX)
    least_px = LEAST_ROW_PX if heading_px else LEAST_BAND_PX
    bands, y = [], 0.0
    for device_class, group in groupby(rows, key=lambda row: row.device_class):
        members = list(group)
        height = max(row_px, least_px / len(members))
        y += heading_px
        placed = tuple(
            Placed(row=row, top_px=y + i * height, bottom_px=y + (i + 1) * height)
            for i, row in enumerate(members)
        )
        count = sum(row.count for row in members)
        bands.append(Band(device_class=device_class, count=count, rows=placed))
        y = placed[-1].bottom_px + GAP_PX
    return Layout(bands=tuple(bands), height_px=y - GAP_PX, heading_px=heading_px)
