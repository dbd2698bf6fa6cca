"""The pictures by name, and how they are kept. Listing them loads nothing that draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.registry import RESULTS
from benchmarks.result import Result
from profiler.schema import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "Picture", "draw_all", "picture_path"]

FOLDER = "pictures"
LEARNING = (
    "time-to-accuracy",
    "time-to-accuracy-more",
    "time-to-accuracy-short",
    "time-to-accuracy-skewed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of one case.

    Attributes
    ----------
    name : str
        Of its file, without the ending.
    case : str
    alt : str
        What is to be seen, for those who do not see it.
    where : str
        The function that draws it, ``module:name`` in this package; it returns None where
        the result does not hold what it shows.
    """

    name: str
    case: str
    alt: str
    where: str

    def draw(self, result: Result) -> "Figure | None":
        """Draw it, under the settings of `benchmarks.pictures.look`."""
        module, _, function = self.where.partition(":")
        drawn: Figure | None = getattr(
            import_module(f"benchmarks.pictures.{module}"), function
        )(result)
        return drawn


PICTURES = (
    Picture(
        name="dp-vs-milp",
        case="dp-vs-milp",
        alt="How many times longer general solvers take than the dynamic program, by number "
        "of rank choices, with the target of 1000.",
        where="ratios:speed_ratios",
    ),
    Picture(
        name="dp-scale",
        case="dp-scale",
        alt="Planning time and memory over the number of devices, both axes logarithmic, with "
        "fitted exponents and targets.",
        where="growth:devices",
    ),
    Picture(
        name="scale",
        case="scale",
        alt="Planning time over devices and over layers, and re-planning time over devices, "
        "all axes logarithmic, with fitted exponents.",
        where="growth:everything",
    ),
    Picture(
        name="frontier",
        case="frontier",
        alt="Most utility over the round time, one curve a seed.",
        where="points:frontier",
    ),
    *(
        picture
        for case in LEARNING
        for picture in (
            Picture(
                name=f"{case}-curves",
                case=case,
                alt="Accuracy over virtual time and over uploaded bytes, by policy: every "
                "seed a thin line, their mean a thick one.",
                where="learning:curves",
            ),
            Picture(
                name=f"{case}-reached",
                case=case,
                alt="Virtual time and uploaded bytes until an accuracy is reached, by policy: "
                "a point a seed, a bar at their median.",
                where="learning:reached",
            ),
        )
    ),
    Picture(
        name="utility-truth",
        case="utility-truth",
        alt="Measured speed of learning over predicted utility a second, a point a plan, by "
        "gain table.",
        where="points:truth",
    ),
    Picture(
        name="testbed",
        case="testbed",
        alt="Predicted and measured round time and mean wait of both plans, and measured "
        "over predicted training and transfer times of every device.",
        where="testbed:predicted_and_measured",
    ),
)


def picture_path(picture: Picture, folder: Path = RESULTS) -> Path:
    """Where a picture is kept."""
    return folder / FOLDER / f"{picture.name}.svg"


def draw_all(results: Sequence[Result], folder: Path = RESULTS) -> list[Path]:
    """Draw what the results hold; a picture whose result is gone is removed."""
    from benchmarks.pictures.look import render

    by_case = {result.case: result for result in results}
    written = []
    for picture in PICTURES:
        path, result = picture_path(picture, folder), by_case.get(picture.case)
        text = None if result is None else render(picture, result)
        if text is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
        written.append(path)
    return written
