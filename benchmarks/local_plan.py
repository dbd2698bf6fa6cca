"""Plans written down rather than solved, for cases that time the engine alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiler.schema import Training
    from solver.plan import Cache, Plan

__all__ = ["ONE_THREAD", "write_down"]

# One thread, so that CPU seconds are seconds of work.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def write_down(
    model: Path,
    training: "Training",
    ranks: Sequence[int],
    *,
    devices: int = 1,
    steps: int = 1,
    cache: "Cache" = "off",
) -> "Plan":
    """Plan in which all devices train one configuration of a real model, at a second a round.

    Parameters
    ----------
    model : Path
        Its folder.
    training : Training
    ranks : sequence of int, shape (L,)
        Rank by layer.
    devices, steps : int
        Devices, and local steps of each.
    cache : {"off", "round", "always"}
    """
    from profiler.anatomy import examine
    from profiler.checkpoint import open_checkpoint
    from profiler.schema import Provenance
    from solver.plan import (
        Budgets,
        Certificate,
        Configuration,
        Plan,
        PlannedDevice,
        PredictedDevice,
        PredictedRound,
        Question,
    )

    anatomy = examine(open_checkpoint(str(model)), training)
    per_rank = anatomy.lora.parameters_per_rank
    adapted = sum(rank * size for rank, size in zip(ranks, per_rank, strict=True))
    sent = 4.0 * (adapted + anatomy.model.head_parameters)
    predicted = PredictedDevice(
        time_s=1.0, compute_s=1.0, upload_s=0.0, download_s=0.0, wait_s=0.0,
        memory_bytes=0.0, upload_bytes=sent, download_bytes=sent, energy_j=0.0,
    )  # fmt: skip
    return Plan(
        provenance=Provenance(version="0", created="2026-01-01", host="benchmark"),
        model=anatomy.model,
        training=training,
        lora=anatomy.lora,
        question=Question(policy="none", rank_choices=[8], budgets=Budgets()),
        ranks=list(ranks),
        configurations=[Configuration(depth=sum(r > 0 for r in ranks), ranks=list(ranks))],
        devices=[
            PlannedDevice(
                name=f"device-{i}", device_class="any", configuration=0, examples=1,
                local_steps=steps, cache=cache, predicted=predicted,
            )
            for i in range(devices)
        ],
        predicted=PredictedRound(
            utility=1.0, round_time_s=1.0, mean_wait_s=0.0, upload_bytes=devices * sent,
            download_bytes=devices * sent, energy_j=0.0,
        ),
        certificate=Certificate(
            status="feasible", method="none", value=1.0, bound=None, gap_fraction=None
        ),
    )  # fmt: skip
