"""What a training step keeps beside the activations: trained parameters, optimizer, batch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from profiler.closed_form.architectures import head_linears
from profiler.closed_form.tape import FP32_BYTES, Cost

if TYPE_CHECKING:
    from profiler.closed_form.simulate import Setting

__all__ = ["INDEX_BYTES", "Trained"]

INDEX_BYTES = 8


class Trained:
    """Trained parameters and what the optimizer keeps beside them."""

    def __init__(self, setting: "Setting", ranks: Sequence[int]) -> None:
        self.setting = setting
        head = head_linears(setting.architecture, setting.training)
        self.head_sizes = [
            size * setting.itemsize
            for m in head
            for size in (m.in_features * m.out_features, m.bias * m.out_features)
            if size
        ]
        modules = [setting.architecture.target(name) for name in setting.adapted]
        self.lora_sizes = [
            rank * width * FP32_BYTES
            for rank in ranks
            if rank
            for m in modules
            for width in (m.in_features, m.out_features)
        ]

    @property
    def parameter_bytes(self) -> int:
        """Head and adapters, once."""
        return sum(self.head_sizes) + sum(self.lora_sizes)

    @property
    def resident_bytes(self) -> int:
        """Parameters, optimizer state, batch."""
        copies = 3 if self.setting.training.optimizer == "adamw" else 1
        causal = self.setting.training.task == "causal-lm"
        labels = self.setting.tokens if causal else self.setting.training.batch_size
        batch = INDEX_BYTES * (2 * self.setting.tokens + labels)
        counters = FP32_BYTES * len((*self.head_sizes, *self.lora_sizes)) * (copies > 1)
        return copies * self.parameter_bytes + batch + counters

    def temporary_bytes(self, fused: bool) -> int:
        """Temporaries of an optimizer step: of all parameters at once, or one by one."""
        if self.setting.training.optimizer == "sgd":
            return 0
        if fused:
            return self.parameter_bytes
        sizes = (*self.lora_sizes, *self.head_sizes)
        # Two for the parameter at hand; one of the parameter before it is still referred to.
        return max((2 * n + before for before, n in pairwise((0, *sizes))), default=0)

    def optimizer_work(self) -> tuple[Cost, ...]:
        """Read and write parameters, gradients and moments."""
        passes = 7.0 if self.setting.training.optimizer == "adamw" else 3.0
        return tuple(Cost(0.0, passes * n) for n in (*self.head_sizes, *self.lora_sizes))
