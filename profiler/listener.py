"""Who is told how a measurement goes."""

from typing import Protocol


class Listener(Protocol):
    """Follows a measurement."""

    def stage(self, name: str, steps: int) -> None:
        """A stage of so many steps begins."""

    def advance(self) -> None:
        """One step of the stage is done."""

    def note(self, text: str) -> None:
        """Something a person should know."""


class Silence:
    """A listener that ignores everything."""

    def stage(self, name: str, steps: int) -> None:
        """Ignore it."""

    def advance(self) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""
