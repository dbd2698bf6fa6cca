"""A device's micro-benchmark as a file: ``legend/benchmark/1``.

Like the profile and the fleet it is closed to unknown fields, checked where it is built,
and says what made it.
"""

import math
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from profiler.schema import Device, Provenance, read

__all__ = ["BENCHMARK_SCHEMA", "Backend", "Benchmark", "Kernel", "Kind", "read_benchmark"]

BENCHMARK_SCHEMA = "legend/benchmark/1"

Backend = Literal["numpy", "torch"]
Kind = Literal["product", "copy", "function", "random"]
NonNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]


class Kernel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operation, timed."""

    name: Annotated[str, Meta(description="operation and size", min_length=1)]
    backend: Annotated[Backend, Meta(description="library that ran it")]
    kind: Annotated[Kind, Meta(description="what bounds it")]
    flops: Annotated[NonNegative, Meta(description="arithmetic of a call; 0 if not a product")]
    traffic_bytes: Annotated[Positive, Meta(description="read and written by a call")]
    elements: Annotated[int, Meta(ge=1, description="numbers put out by a call")]
    call_s: Annotated[
        Positive, Meta(description="CPU time of the calling thread for a call, median")
    ]
    process_s: Annotated[
        Positive, Meta(description="CPU time of all threads for a call, median")
    ]
    spread_fraction: Annotated[
        NonNegative, Meta(description="half the interquartile range over the median")
    ]
    blocks: Annotated[int, Meta(ge=1, description="timed blocks of calls")]

    def __post_init__(self) -> None:
        for field in ("flops", "traffic_bytes", "call_s", "process_s", "spread_fraction"):
            if not math.isfinite(getattr(self, field)):
                raise ValueError(
                    f"kernel '{self.name}': {field} is not finite; expected a number"
                )
        if (self.kind == "product") != (self.flops > 0):
            raise ValueError(
                f"kernel '{self.name}': flops is {self.flops} for kind '{self.kind}'; "
                "expected arithmetic just of products"
            )


class Benchmark(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast one device runs the operations that training is made of."""

    schema: Literal["legend/benchmark/1"] = "legend/benchmark/1"
    provenance: Provenance
    device: Annotated[Device, Meta(description="the machine, with the threads used")]
    quota_cores: Annotated[
        NonNegative, Meta(description="CPU quota of the process in cores; 0: none")
    ] = 0.0
    busy_fraction: Annotated[
        NonNegative, Meta(description="how much longer blocks took than on an idle machine")
    ] = 0.0
    kernels: Annotated[list[Kernel], Meta(min_length=1, description="operations timed")]

    def __post_init__(self) -> None:
        for backend in self.backends:
            kinds = {kernel.kind for kernel in self.of(backend)}
            if missing := {"product", "copy", "function", "random"} - kinds:
                raise ValueError(
                    f"benchmark: {backend} has no kernel of kind {', '.join(sorted(missing))}; "
                    "expected each kind"
                )

    @property
    def backends(self) -> list[Backend]:
        """Libraries that ran, in order."""
        return list(dict.fromkeys(kernel.backend for kernel in self.kernels))

    def of(self, backend: Backend) -> list[Kernel]:
        """Kernels that one library ran."""
        return [kernel for kernel in self.kernels if kernel.backend == backend]


def read_benchmark(path: Path) -> Benchmark:
    """Read a benchmark; raises `InputError`."""
    return read(
        path, Benchmark, BENCHMARK_SCHEMA, "Make one with 'legend profile --benchmark'."
    )
