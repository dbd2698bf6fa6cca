"""Many rectangles as few elements: one path for each colour keeps the files small."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

__all__ = ["Cells"]

Colour = str | tuple[float, float, float, float]
Box = tuple[float, float, float, float]

CORNERS = (Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY)


class Cells:
    """Collects rectangles (left, top, right, bottom) in the units of some axes."""

    def __init__(self) -> None:
        self._boxes: defaultdict[tuple[Colour, float], list[Box]] = defaultdict(list)

    def add(self, box: Box, colour: Colour, alpha: float = 1.0) -> None:
        """Add a rectangle; those without an extent are left out."""
        if box[2] > box[0] and box[3] > box[1]:
            self._boxes[colour, alpha].append(box)

    def draw(self, axes: Axes) -> None:
        """Draw all of them, colour by colour, in the order in which colours first came."""
        for (colour, alpha), boxes in self._boxes.items():
            axes.add_patch(
                PathPatch(_outline(boxes), facecolor=colour, alpha=alpha, lw=0, clip_on=False)
            )


def _outline(boxes: Sequence[Box]) -> Path:
    corners = [
        point
        for left, top, right, bottom in boxes
        for point in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    ]
    return Path(np.asarray(corners), CORNERS * len(boxes))
