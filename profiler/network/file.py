"""A measured network link as a file: ``legend/network/1``."""

import math
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from profiler.schema import Provenance, read

__all__ = ["NETWORK_SCHEMA", "Network", "read_network"]

NETWORK_SCHEMA = "legend/network/1"

NonNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link between a device and a server, as a device of a fleet states it."""

    schema: Literal["legend/network/1"] = "legend/network/1"
    provenance: Provenance
    peer: Annotated[str, Meta(description="the other end, HOST:PORT")]
    uplink_bytes_per_s: Annotated[Positive, Meta(description="payload sent, median")]
    downlink_bytes_per_s: Annotated[Positive, Meta(description="payload received, median")]
    latency_s: Annotated[NonNegative, Meta(description="round trip of a small message, median")]
    uplink_spread_fraction: Annotated[
        NonNegative, Meta(description="half the range of the transfers over the median")
    ]
    downlink_spread_fraction: Annotated[
        NonNegative, Meta(description="half the range of the transfers over the median")
    ]
    latency_spread_s: Annotated[NonNegative, Meta(description="half the interquartile range")]
    moved_bytes: Annotated[int, Meta(ge=0, description="payload both ways, warm-up too")]

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"network: {field} is {value}; expected a finite number")


def read_network(path: Path) -> Network:
    """Read a measured link; raises `InputError`."""
    remedy = "Make one with 'legend profile --network HOST:PORT'."
    return read(path, Network, NETWORK_SCHEMA, remedy)
