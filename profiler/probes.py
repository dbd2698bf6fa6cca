"""What is measured, and the messages between the profiler and its processes."""

from typing import Literal

from msgspec import Struct

from profiler.schema import Training

Processor = Literal["cpu", "cuda"]


class Seconds(Struct, frozen=True, kw_only=True):
    """A span on both clocks.

    ``cpu_s`` is that of the main thread; on a GPU it is 0 and ``wall_s`` is by events.
    """

    wall_s: float
    cpu_s: float = 0.0


class Probe(Struct, frozen=True, kw_only=True):
    """An adapter of one rank on the last ``depth`` layers."""

    depth: int
    rank: int

    def ranks(self, layers: int) -> list[int]:
        """Rank by layer, input first."""
        return ranks_at(layers, self.depth, self.rank)


def ranks_at(layers: int, depth: int, rank: int) -> list[int]:
    """Rank by layer, input first, of a uniform adapter on the last `depth` layers."""
    return [0] * (layers - depth) + [rank] * depth


class Setup(Struct, frozen=True, kw_only=True):
    """What is trained, and where.

    Attributes
    ----------
    model : str
        A Hugging Face model folder, or a hub id in the local cache.
    training : Training
        A step that the model can do.
    targets : list of str
        Modules to adapt; none for the family's own.
    processor : {'cpu', 'cuda'}
        What computes.
    seed : int
        Seed of weights, batch and order.
    """

    model: str
    training: Training
    targets: list[str]
    processor: Processor
    seed: int


class Request(Struct, frozen=True, kw_only=True):
    """What to time.

    Attributes
    ----------
    configurations : list of list of int, shape (C, L)
        Rank by layer, input first.
    patience_s : float
        Once it is over, and `MIN_ROUNDS` rounds are complete, timing stops.
    """

    setup: Setup
    configurations: list[list[int]]
    rounds: int
    warmup: int
    patience_s: float


class Ready(Struct, frozen=True, kw_only=True, tag=True):
    """The model is built.

    Attributes
    ----------
    threads : int
        CPU threads it computes with.
    """

    threads: int


class Sample(Struct, frozen=True, kw_only=True, tag=True):
    """One timed step.

    Attributes
    ----------
    probe : int
        Index of the configuration.
    round : int
        Round it was timed in; rounds below 0 are warm-up.
    step : Seconds
        The whole step.
    parts : list of Seconds, shape (L + 2,)
        Embeddings, each layer's forward pass, and the rest; only at depth 0.
    """

    probe: int
    round: int
    step: Seconds
    parts: list[Seconds] = []


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """The request cannot be met."""

    message: str


class MemoryRequest(Struct, frozen=True, kw_only=True):
    """A configuration whose process is to be watched.

    Attributes
    ----------
    ranks : list of int, shape (L,)
        Rank by layer, input first.
    """

    setup: Setup
    ranks: list[int]


class Growth(Struct, frozen=True, kw_only=True, tag=True):
    """What a training process took.

    Attributes
    ----------
    base_bytes : int
        Resident before the model was built: interpreter and libraries.
    peak_bytes : int
        Most that was resident while it trained.
    """

    base_bytes: int
    peak_bytes: int


Message = Ready | Sample | Refused | Growth

MIN_ROUNDS = 2


def calibration_ranks(layers: int) -> list[int]:
    """Configuration whose process is watched for what it takes beyond the tensors."""
    return ranks_at(layers, max(1, layers // 2), 8)


def choose_probes(layers: int, *, quick: bool) -> list[Probe]:
    """Choose the probes that a step's time is fitted to.

    Depth 0 splits the forward pass; depths 1 and L at rank 8 give the cost of a layer, 64 at L
    that of a rank; the others say how well the fit holds.
    """
    points = [(0, 0), (1, 8), (layers, 8), (layers, 64)]
    if not quick:
        points += [(max(1, layers // 2), 8), (layers, 2)]
    return [Probe(depth=depth, rank=rank) for depth, rank in dict.fromkeys(points)]
