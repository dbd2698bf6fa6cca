"""What a training process takes beyond its tensors: interpreter, libraries, allocator."""

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.launch import MEMORY_ENVIRONMENT
from profiler.probes import Growth
from profiler.schema import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """The one calibrated offset between counted tensors and a process's resident peak.

    It hardly depends on the configuration, so one process tells it for all.

    Attributes
    ----------
    ranks : sequence of int, shape (L,)
        Configuration that was trained.
    growth : Growth
        What its process took.
    counted_bytes : int
        Its peak counted on fake tensors.
    """

    ranks: Sequence[int]
    growth: Growth
    counted_bytes: int

    @property
    def framework_bytes(self) -> int:
        """All that is not tensors; what `schema.Memory` calls the framework."""
        return max(0, self.growth.peak_bytes - self.counted_bytes)

    def options(self) -> dict[str, str]:
        """How it was found, for the record."""
        offset = self.framework_bytes - self.growth.base_bytes
        return {
            "memory_calibration_ranks": " ".join(map(str, self.ranks)),
            "memory_libraries_bytes": str(self.growth.base_bytes),
            "memory_offset_bytes": str(offset),
            "memory_environment": " ".join(f"{k}={v}" for k, v in MEMORY_ENVIRONMENT.items()),
        }

    def origin(self) -> Origin:
        """Where the figure comes from."""
        return Origin(
            kind="measured",
            source="peak resident size of a process that trained one configuration "
            "(memory_calibration_ranks), less its tensors counted on fake ones; libraries "
            "(memory_libraries_bytes) and what allocator and kernels add (memory_offset_bytes)",
        )
