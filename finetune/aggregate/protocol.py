"""What the server asks of an aggregation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from finetune.exchange.updates import Update
from finetune.model.state import Shapes, State, truncate

__all__ = ["Aggregation"]


class Aggregation(ABC):
    r"""Hands the server's adapter out to a shape, and joins what comes back.

    What it should come to is the *averaged product*, module by module,

    .. math:: P = \sum_{k \in H} p_k B_k A_k, \qquad p_k = n_k / \sum_{j \in H} n_j

    with H the devices of the round that hold the module and :math:`n_k` their examples: what
    the mean of the devices' models would be. (All scales alpha / r are alike in a plan, so
    they are left out.) How far a round is from it, `finetune.aggregate.error` says.

    Attributes
    ----------
    needs_equal_ranks : bool
        Whether all holders of a layer must train it at the server's rank.
    changes_base : bool
        Whether it adds to the base's weights (``base_delta``), which devices then download.
    hands_out_adapters : bool
        Whether devices download adapters; else each draws fresh ones itself, from the seed.
    keeps_coordinates : bool
        Whether rank j of a module means the same in the next round, so that a device may
        carry a rounding error over to it.
    """

    needs_equal_ranks = False
    changes_base = False
    hands_out_adapters = True
    keeps_coordinates = True

    def trains(self, name: str) -> bool:
        """Whether devices train, and send, the tensor of this name."""
        return True

    def hand_out(self, server: State, shapes: Shapes) -> State:
        """What a device of this shape starts the round from: the first ranks."""
        return truncate(server, shapes)

    @abstractmethod
    def join(self, server: State, updates: Sequence[Update], round_index: int) -> State:
        """Return the server's next adapter, and ``base_delta`` where the base changes.

        Parameters
        ----------
        server : State
            Adapter, head and ``base_delta`` before the round.
        updates : sequence of Update
            Not empty, and every state valid.
        round_index : int
            From 0.
        """

    def base_rank(self, ranks: Sequence[int]) -> int:
        """Ranks that describe a round's change of the base where holders had these ranks."""
        raise NotImplementedError
