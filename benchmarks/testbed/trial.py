"""One device's training alone, to see what it takes under a memory limit.

``python -m benchmarks.testbed.trial PLAN POSITION MODEL DATA STEPS GROUP`` trains a device of
a plan with the code of a SuperNode's worker, and prints JSON: what the control group is
charged before the model is loaded, the process's own count of the same, and the end.
"""

import gc
import json
import sys
from pathlib import Path

import psutil

__all__ = ["main"]


def main(plan_path: Path, position: int, model: Path, data: Path, steps: int, group: Path) -> None:
    """Train; the kernel may end this process first."""
    import torch

    from benchmarks.testbed.cage import charged_bytes
    from finetune.base import load_base  # noqa: F401  # all that a worker loads
    from finetune.devices import participants
    from finetune.flower.node import Node
    from finetune.flower.orders import Order, plan_of_one
    from finetune.flower.payload import encode_state
    from finetune.options import RunOptions
    from solver.plan import read_plan

    plan = read_plan(plan_path)
    device = participants(plan)[position]
    order = Order(
        device=device.name,
        position=device.position,
        round_index=0,
        learning_rate=2e-3,
        local_steps=steps,
        labels=["0", "1"],
        options=RunOptions(partition="iid"),
        plan=plan_of_one(plan, device.position),
    )
    node = Node(device.name, model, data)
    generator = torch.Generator().manual_seed(0)
    ready, _ = node._load(order)
    state = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in ready.shapes.items()
    }
    gc.collect()
    before = {
        "charged_bytes": charged_bytes(group),
        "resident_bytes": psutil.Process().memory_info().rss,
    }
    print(json.dumps(before), flush=True)
    report, _ = node.train(order, encode_state(state))
    print(json.dumps({"train_loss": report.train_loss}), flush=True)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]),
        int(sys.argv[5]), Path(sys.argv[6]),
    )  # fmt: skip
