"""What the server asks of an aggregation."""

from collections.abc import Sequence
from typing import Protocol

from finetune.state import Shapes, State
from finetune.updates import Update

__all__ = ["Aggregation"]


class Aggregation(Protocol):
    """Hands the server's adapter out to a shape, and joins what comes back."""

    @property
    def needs_equal_ranks(self) -> bool:
        """Whether all holders of a layer must train it at the server's rank."""

    def hand_out(self, server: State, shapes: Shapes) -> State:
        """What a device of this shape starts the round from."""

    def join(self, server: State, updates: Sequence[Update]) -> State:
        """The server's next adapter; `updates` is not empty, and every state is valid."""
