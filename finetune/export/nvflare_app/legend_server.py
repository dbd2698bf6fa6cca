"""NVFlare's FedAvg for sites whose adapters differ in depth and rank.

The stock aggregation adds arrays of the same name, so it takes sites that lack a layer but
fails where a layer has another rank. This one means every rank over the sites that hold it
(`legend_mean`), weighs by local examples, and saves what PEFT reads: safetensors, no pickle.
"""

from typing import Any

import numpy as np
from legend_mean import mean_by_holder, usable
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
from nvflare.app_common.workflows.fedavg import FedAvg
from safetensors.numpy import load_file, save_file


class HolderMean(ModelAggregator):  # type: ignore[misc]
    """Collects the updates of a round and means them by holder."""

    def __init__(self) -> None:
        super().__init__()
        self.server: dict[str, Any] = {}
        self.updates: dict[str, tuple[float, dict[str, Any]]] = {}

    def accept_model(self, model: FLModel) -> None:
        """Take the update of a site; one that would spoil the mean is left out."""
        site = str(model.meta.get("client_name", len(self.updates)))
        arrays = {name: np.asarray(array, np.float32) for name, array in model.params.items()}
        weight = float(model.meta.get("examples", 1))
        if usable(weight, arrays):
            self.updates[site] = (weight, arrays)
        else:
            self.warning(
                f"update of {site}: its {weight:g} examples or its numbers are not finite, or "
                "it has no examples; left out"
            )

    def aggregate_model(self) -> FLModel:
        """Mean over the sites, in the order of their names, so that a run can be repeated."""
        updates = [self.updates[site] for site in sorted(self.updates)]
        self.server = mean_by_holder(updates, self.server)
        return FLModel(params=self.server)

    def reset_stats(self) -> None:
        """Forget the updates of the last round; the server's adapter stays."""
        self.updates = {}


class LegendFedAvg(FedAvg):  # type: ignore[misc]
    """FedAvg by holder; the adapter is ``adapter_model.safetensors`` in the run's folder."""

    def __init__(self, num_clients: int, num_rounds: int) -> None:
        super().__init__(
            num_clients=num_clients,
            num_rounds=num_rounds,
            persistor_id="",
            save_filename="adapter_model.safetensors",
            aggregator=HolderMean(),
        )

    def save_model_file(self, model: FLModel, filepath: str) -> None:
        """Write the server's adapter and head."""
        save_file(model.params, filepath, metadata={"format": "pt"})

    def load_model_file(self, filepath: str) -> FLModel:
        """Go on from a saved adapter."""
        self.aggregator.server = load_file(filepath)
        return FLModel(params=self.aggregator.server)
