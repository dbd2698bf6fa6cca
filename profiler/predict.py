"""What a profile says of any list of ranks: the cost model in plain Python."""

from collections.abc import Sequence

from profiler.schema import DepthCost, Memory, StepTime

__all__ = ["USUAL_RANK", "depth_of", "full_depth_step_s", "peak_bytes", "step_s"]

USUAL_RANK = 8
"""Of the step that stands for a device's speed."""


def step_s(time: StepTime, ranks: Sequence[int]) -> float:
    """Seconds of a training step.

    Parameters
    ----------
    time : StepTime
        Of the device.
    ranks : sequence of int, shape (L,)
        Rank by layer, input first; 0 below the adapted ones.
    """
    start = len(ranks) - depth_of(ranks)
    lora = sum(s * r for s, r in zip(time.lora_s_per_rank, ranks, strict=True))
    bare = time.embedding_s + sum(time.forward_s) + time.head_s
    return bare + sum(time.backward_s[start:]) + lora


def full_depth_step_s(time: StepTime, rank: int = USUAL_RANK) -> float:
    """Seconds of a step that adapts all layers at one rank."""
    fixed = time.embedding_s + time.head_s + sum(time.forward_s)
    return fixed + sum(time.backward_s) + rank * sum(time.lora_s_per_rank)


def peak_bytes(memory: Memory, ranks: Sequence[int]) -> float:
    """Peak memory of the process, framework included; see `step_s`."""
    phases = (memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes)
    peak = max(_phase_bytes(phase, ranks) for phase in phases)
    return memory.weights_bytes + memory.framework_bytes + peak


def depth_of(ranks: Sequence[int]) -> int:
    """Adapted layers."""
    return sum(rank > 0 for rank in ranks)


def _phase_bytes(phase: DepthCost, ranks: Sequence[int]) -> float:
    lora = sum(b * r for b, r in zip(phase.per_rank, ranks, strict=True))
    return phase.by_depth[depth_of(ranks)] + lora
