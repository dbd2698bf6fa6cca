"""A picture that can be an element of a page, or a file of its own."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from finetune.report.style import drawing, svg
from solver.plan import InputError, write_bytes

__all__ = ["Drawing", "check_format"]

FORMATS = (".svg", ".png")
DOTS_PER_INCH = 200
STANDALONE = (
    "<style>svg{color:#1b2a3a;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#dbe4ee;background:#11171e}}</style>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture before it is rendered.

    Attributes
    ----------
    name : str
        File name without its ending, and prefix of the element's ids: unique on a page.
    label : str
        What is to be seen, for those who do not see it.
    figure : callable
        Draws it anew; called under the settings of `finetune.report.style.drawing`.
    """

    name: str
    label: str
    figure: Callable[[], Figure]

    def element(self) -> str:
        """Render as an SVG element that follows the colours of its page."""
        with drawing():
            return svg(self.figure(), self.name, self.label)

    def write(self, path: Path) -> None:
        """Write as ``.svg`` (follows the reader's light or dark mode) or ``.png`` (white)."""
        check_format(path)
        if path.suffix.lower() == ".svg":
            text = self.element().replace(">", f">{STANDALONE}", 1)
            write_bytes(path, text.encode())
            return
        buffer = io.BytesIO()
        with drawing():
            self.figure().savefig(
                buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}
            )
        write_bytes(path, buffer.getvalue())


def check_format(path: Path) -> None:
    """Raise `InputError` unless the path ends as pictures do."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: pictures end in {' or '.join(FORMATS)}; rename it")
