"""The devices of a plan as a pandas table, for notebooks and spreadsheets."""

import msgspec
import pandas as pd

from solver.plan import Plan, PlannedDevice, PredictedDevice

__all__ = ["devices_table"]

FIGURES = PredictedDevice.__struct_fields__


def devices_table(plan: Plan) -> pd.DataFrame:
    """Tabulate the devices of a plan, one row each, in its order.

    Returns
    -------
    pandas.DataFrame
        ``device``, ``device_class``, ``count``, ``configuration``, ``depth``, ``examples``,
        ``local_steps``, ``binding``, then ``rank_layer_01`` (next to the embeddings) up to
        layer L, then the predicted figures with their unit in the name, each of one device.
        Where a device does not take part its configuration, depth and figures are missing
        and its ranks 0.
    """
    frame = pd.DataFrame([_row(plan, device) for device in plan.devices])
    return frame.astype({"configuration": "Int64", "depth": "Int64"})


def _row(plan: Plan, device: PlannedDevice) -> dict[str, object]:
    shape = plan.configuration_of(device)
    layers = plan.model.layers
    ranks = shape.ranks if shape else [0] * layers
    width = max(2, len(str(layers)))
    figures = msgspec.structs.asdict(device.predicted) if device.predicted else {}
    return {
        "device": device.name,
        "device_class": device.device_class,
        "count": device.count,
        "configuration": device.configuration,
        "depth": shape.depth if shape else None,
        "examples": device.examples,
        "local_steps": device.local_steps,
        "binding": device.binding,
        **{f"rank_layer_{i:0{width}}": rank for i, rank in enumerate(ranks, start=1)},
        **{name: figures.get(name) for name in FIGURES},
    }
