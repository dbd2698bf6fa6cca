"""What is made on the machine and must be gone afterwards, whatever happens in between.

Names hold the process that made them, so that a later run finds what a killed one has left.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Made", "left_over", "own_name"]


class Made(ABC):
    """Something that is made on entering and removed on leaving, or where making fails."""

    def __enter__(self) -> Self:
        try:
            self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    @abstractmethod
    def make(self) -> None:
        """Make it; may stop in the middle."""

    @abstractmethod
    def remove(self) -> None:
        """Remove what there is of it."""


def own_name(prefix: str, end: str) -> str:
    """A name on this machine that says that it is of this process."""
    return f"{prefix}-{os.getpid()}-{end}"


def left_over(folder: Path, prefix: str) -> Iterable[Path]:
    """What lies in a folder under names of processes that are gone."""
    for path in folder.glob(f"{prefix}-*") if folder.is_dir() else ():
        found = re.fullmatch(rf"{re.escape(prefix)}-(\d+)-.*", path.name)
        if found and not Path("/proc", found[1]).exists():
            yield path
