"""Bytes that travel: of the adapters of every device, either way."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from profiler.schema import Fleet
from solver.costs.devices import Floats, Ints
from solver.costs.payload import Payload, Spread
from solver.links.graph import Traffic
from solver.plan import Question

__all__ = ["Wires", "alike"]


def alike(value: float | Floats | None, n: int) -> Floats:
    """The same for every device, without a million copies of it; None is no limit."""
    given = np.asarray(np.inf if value is None else value, dtype=np.float64)
    return np.broadcast_to(given, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """Bytes that travel.

    Parameters
    ----------
    sizes : array of int, shape (L,)
    upload, download : Payload
    sent, received : Traffic
        Of every device, by its own ranks.
    """

    sizes: Ints
    upload: Payload
    download: Payload
    sent: Traffic
    received: Traffic

    @classmethod
    def of(
        cls,
        fleet: Fleet,
        question: Question,
        n: int,
        stack_bytes: float | Floats | None,
        spread: Spread,
    ) -> Self:
        """What n devices send and receive; parameters as of `solver.costs.build_costs`."""
        sizes = np.array(fleet.lora.parameters_per_rank[::-1], dtype=np.int64)
        upload = Payload.of(fleet, question.upload_codec)
        download = Payload.of(fleet, question.download_codec)
        received = _own(download, sizes, n, spread)
        if stack_bytes is not None:
            whole = alike(download.head_bytes + stack_bytes, n)
            received = Traffic(fixed=whole, width=0.0)
        return cls(
            sizes=sizes,
            upload=upload,
            download=download,
            sent=_own(upload, sizes, n, spread),
            received=received,
        )


def _own(payload: Payload, sizes: Ints, n: int, spread: Spread) -> Traffic:
    """Traffic of adapters of each device's own shape."""
    counted = payload.spread(sizes, spread)
    return Traffic(
        fixed=alike(payload.head_bytes, n),
        width=counted.bytes_per_parameter,
        flat=counted.bytes_per_rank,
    )
