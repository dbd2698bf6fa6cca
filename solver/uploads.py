"""Bytes of an upload, by the codec that compresses it; downloads are never compressed.

================ ========================================================================
``none``         every parameter in the wire's own type
``float16``      2 bytes a parameter, adapters and head
``int8``         a rank of a module is one row of A and one column of B: a byte a
                 parameter and two float32 scales, one of the row and one of the column;
                 the head in 2 bytes a parameter
================ ========================================================================

So an upload is ``head_bytes + sum over adapted layers of r_l (bytes_per_parameter size_l +
bytes_per_rank)``, whatever the codec.
"""

from dataclasses import dataclass
from typing import Self

from profiler.schema import Fleet
from solver.plan import Codec

# Two float32 scales of each rank of a module.
SCALES_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What an upload weighs.

    Parameters
    ----------
    head_bytes : float
        The task head.
    bytes_per_parameter : float
        Of the adapters.
    bytes_per_rank : float
        What a rank of any layer takes beside its parameters.
    """

    head_bytes: float
    bytes_per_parameter: float
    bytes_per_rank: float

    @classmethod
    def of(cls, fleet: Fleet, codec: Codec) -> Self:
        """Sizes under a codec."""
        wire = fleet.lora.bytes_per_parameter if codec == "none" else 2.0
        return cls(
            head_bytes=fleet.model.head_parameters * wire,
            bytes_per_parameter=1.0 if codec == "int8" else wire,
            bytes_per_rank=SCALES_BYTES * float(len(fleet.model.targets))
            if codec == "int8"
            else 0.0,
        )
