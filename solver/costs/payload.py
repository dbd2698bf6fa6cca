"""Bytes of what travels, an upload or a download, by the codec that compresses it.

================ ========================================================================
``none``         every parameter in the wire's own type
``float16``      2 bytes a parameter, adapters and head
``int8``         a rank of a module is one row of A and one column of B: a byte a
                 parameter and two float32 scales, one of the row and one of the column;
                 the head in 2 bytes a parameter
================ ========================================================================

So it is ``head_bytes + sum over adapted layers of r_l (bytes_per_parameter size_l +
bytes_per_rank)``, whatever the codec. A stack of everybody's adapters is so many ranks more.
Where layers differ in size, bytes are in proportion to none of their sizes; spread over the
largest or the smallest, what a rank takes is no more or no less than it is, and they are.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

from profiler.schema import Fleet
from solver.costs.devices import Floats, Ints
from solver.plan import Codec

# Whether what a rank takes is as it is, or spread over parameters: no more, or no less.
Spread = Literal["none", "less", "more"]
# Two float32 scales of each rank of a module.
SCALES_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What travels in one direction weighs.

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

    def spread(self, sizes: Ints, how: Spread) -> Self:
        """Return the payload with what a rank takes spread over its parameters.

        Parameters
        ----------
        sizes : array of int, shape (L,)
            LoRA parameters of a rank, by layer.
        how : {'none', 'less', 'more'}
            No adapter then takes more, or less, than it does. Where all layers are of one
            size, each takes what it does, and it is always spread.
        """
        least, most = int(sizes.min()), int(sizes.max())
        if how == "none" and least != most:
            return self
        each = self.bytes_per_rank / (least if how == "more" else most)
        width = self.bytes_per_parameter + each
        return replace(self, bytes_per_parameter=width, bytes_per_rank=0.0)

    def adapter_bytes(self, parameters: Floats | Ints, ranks: Floats | Ints) -> Floats:
        """Bytes of adapters without the head.

        Parameters
        ----------
        parameters : array
            LoRA parameters of each adapter.
        ranks : array
            Its ranks, summed over layers.
        """
        return parameters * self.bytes_per_parameter + ranks * self.bytes_per_rank
