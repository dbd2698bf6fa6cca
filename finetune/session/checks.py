"""Whether a plan fits the run that it is given: its codecs, its ranks, its bytes."""

import torch

from finetune.aggregate import Aggregation
from finetune.devices import Participant
from finetune.exchange.codec import Wire, payload_bytes
from finetune.model.state import Shapes
from solver.plan import InputError, Plan

__all__ = ["check_bytes", "check_codec", "check_ranks"]


def check_codec(name: str, aggregation: Aggregation, wire: Wire) -> None:
    """Refuse a codec for downloads where these hold more than adapters."""
    if aggregation.changes_base and wire.download != "none":
        raise InputError(
            f"aggregation '{name}' changes the base's weights, and what it adds to them has no "
            "codec; use --aggregation hlora, or solve again with --download-codec none"
        )


def check_ranks(plan: Plan) -> None:
    """Refuse a plan whose server cannot hold what its devices train."""
    if not any(plan.ranks):
        raise InputError(
            "the plan adapts no layer, so there is no adapter to train; solve again with a "
            "least depth of 1"
        )
    for index, configuration in enumerate(plan.configurations):
        for layer, (rank, most) in enumerate(zip(configuration.ranks, plan.ranks, strict=True)):
            if rank > most:
                raise InputError(
                    f"configuration {index} has rank {rank} on layer {layer}, more than the "
                    f"server's {most}; the plan is damaged, solve again"
                )


def check_bytes(
    plan: Plan, devices: list[Participant], shapes: dict[int, Shapes], dtype: torch.dtype
) -> None:
    """Refuse a plan that predicts other bytes than its adapters really take on the wire."""
    asked = plan.question
    ways = {"upload": asked.upload_codec}
    if asked.download == "own":
        ways["download"] = asked.download_codec
    for way, codec in ways.items():
        real = {i: payload_bytes(by_name, codec, dtype) for i, by_name in shapes.items()}
        for device in devices:
            told: float = getattr(device.predicted, f"{way}_bytes")
            if abs(told - real[device.configuration]) >= 0.5:
                raise InputError(
                    f"device '{device.name}': the plan predicts {told:.0f} bytes to {way}; "
                    f"its adapters and head take {real[device.configuration]}. Profile this "
                    "model again and solve again"
                )
