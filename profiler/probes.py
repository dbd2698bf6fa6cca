"""What is timed, and the messages between the profiler and its timing process."""

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


class Request(Struct, frozen=True, kw_only=True):
    """What to time.

    Attributes
    ----------
    patience_s : float
        Once it is over, and `MIN_ROUNDS` rounds are complete, timing stops.
    """

    model: str
    training: Training
    targets: list[str]
    probes: list[Probe]
    rounds: int
    warmup: int
    patience_s: float
    processor: Processor
    seed: int


class Ready(Struct, frozen=True, kw_only=True, tag=True):
    """The model is built.

    Attributes
    ----------
    framework_bytes : int
        What the process took before that.
    threads : int
        CPU threads it computes with.
    """

    framework_bytes: int
    threads: int


class Sample(Struct, frozen=True, kw_only=True, tag=True):
    """One timed step.

    Attributes
    ----------
    probe : int
        Index of the probe.
    round : int
        Round it was timed in; rounds below 0 are warm-up.
    step : Seconds
        The whole step.
    parts : list of Seconds, shape (L + 2,)
        Embeddings, each layer's forward pass, and the rest; only of probes at depth 0.
    """

    probe: int
    round: int
    step: Seconds
    parts: list[Seconds] = []


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """The request cannot be met."""

    message: str


Message = Ready | Sample | Refused

MIN_ROUNDS = 2


def choose_probes(layers: int, *, quick: bool) -> list[Probe]:
    """Choose the probes that a step's time is fitted to.

    Depth 0 splits the forward pass; depths 1 and L at rank 8 give the cost of a layer, 64 at L
    that of a rank; the others say how well the fit holds.
    """
    points = [(0, 0), (1, 8), (layers, 8), (layers, 64)]
    if not quick:
        points += [(max(1, layers // 2), 8), (layers, 2)]
    return [Probe(depth=depth, rank=rank) for depth, rank in dict.fromkeys(points)]
