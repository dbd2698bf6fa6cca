"""One device's training alone, to see what it takes under a memory limit.

``python -m benchmarks.testbed.trial PLAN POSITION MODEL DATA STEPS`` trains a device of
a plan with the code of a SuperNode's worker. It says "loaded" once libraries, model and data
are in memory, and trains when it is sent a line.
"""

import gc
import sys
from pathlib import Path

__all__ = ["main"]


def main(plan_path: Path, position: int, model: Path, data: Path, steps: int) -> None:
    """Load, wait for a line, train; the kernel may end this process first."""
    import torch

    from finetune.devices import participants
    from finetune.exchange.codec import encode_state
    from finetune.flower.node import Node
    from finetune.flower.orders import Order, plan_of_one
    from finetune.options import RunOptions
    from solver.plan import read_plan

    plan = read_plan(plan_path)
    device = participants(plan)[position]
    order = Order(
        device=device.name,
        position=device.position,
        round_index=0,
        task="trial",
        learning_rate=2e-3,
        local_steps=steps,
        labels=["0", "1"],
        options=RunOptions(partition="iid"),
        plan=plan_of_one(plan, device.position),
    )
    node = Node(device.name, model, data)
    generator = torch.Generator().manual_seed(0)
    shapes = node.load(order)
    state = {
        name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()
    }
    gc.collect()
    print("loaded", flush=True)
    sys.stdin.readline()
    node.train(order, encode_state(state, plan.question.download_codec))


if __name__ == "__main__":
    plan, position, model, data, steps = sys.argv[1:6]
    main(Path(plan), int(position), Path(model), Path(data), int(steps))
