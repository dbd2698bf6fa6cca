"""Where commands print: as wide as the terminal, or as wide as their tables need."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

# Columns where there is no terminal to fit.
WIDE = 140


def console() -> "Console":
    """Stdout, as wide as tables need where it is not a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDE
    # Names are printed as they are, whatever brackets and colons they hold.
    return Console(width=width, markup=False, emoji=False, highlight=False)


def watched(work: Iterable[T], words: str) -> Iterable[T]:
    """Hand work on piece by piece; on a terminal, show on stderr how far it is."""
    from rich.console import Console
    from rich.progress import track

    shown = Console(stderr=True)
    return track(work, words, console=shown, transient=True, disable=not shown.is_terminal)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """On a terminal, show on stderr that work goes on and for how long."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn(words), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        shown.add_task("")
        yield
