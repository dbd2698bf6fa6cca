"""Bytes that really travel in a round, and what they cost on the virtual clock."""

from collections.abc import Iterable, Mapping

import torch
from msgspec.structs import replace
from torch import Tensor

from finetune.aggregate import Aggregation
from finetune.exchange.codec import Wire, payload_bytes
from finetune.model.state import RANKS, SEEN, A, B, Shapes, State, lora_modules
from solver.plan import PredictedDevice

__all__ = ["Traffic", "charged"]


class Traffic:
    """Counts a device's bytes, from the shapes and from what it has yet to receive.

    An aggregation that changes the base makes devices download its changes. Each device
    needs those of the rounds since it was last asked, of the layers that it adapts: as
    factors, or as one matrix where that is smaller. Who has what is kept in the server's
    state (`finetune.model.state`), so that a resumed run counts on.

    Parameters
    ----------
    aggregation : Aggregation
    wire : Wire
        What is added to the base has no codec; `finetune.session.checks` refuses one.
    """

    def __init__(self, aggregation: Aggregation, wire: Wire) -> None:
        self._aggregation = aggregation
        self._wire = wire

    def upload_bytes(self, shapes: Shapes) -> int:
        """Bytes of an upload of the tensors that train."""
        sent = {name: shape for name, shape in shapes.items() if self._aggregation.trains(name)}
        return payload_bytes(sent, self._wire.upload, self._wire.dtype)

    def download_bytes(self, server: State, shapes: Shapes, position: int) -> int:
        """Bytes that the device at a position of the fleet receives."""
        handed = {
            name: shape
            for name, shape in shapes.items()
            if self._aggregation.hands_out_adapters or not name.endswith((A, B))
        }
        added = 0
        if self._aggregation.changes_base:
            for module in lora_modules(shapes):
                wide, out = shapes[module + A][1], shapes[module + B][0]
                missed = _missed_ranks(server, module, position)
                added += min(missed * (wide + out), wide * out)
        own = payload_bytes(handed, self._wire.download, self._wire.dtype)
        return own + added * self._wire.dtype.itemsize

    def ledger(
        self,
        server: State,
        received: Mapping[int, Iterable[str]],
        joined: Iterable[State],
    ) -> State:
        """Note the base changes of a round, and who has received all before it.

        Parameters
        ----------
        server : State
            Before the round.
        received : mapping of int to modules
            Modules that each device asked adapts, by its position in the fleet.
        joined : iterable of State
            Updates that were joined.

        Returns
        -------
        State
            What to put into the server's state; empty if the base does not change.
        """
        if not self._aggregation.changes_base:
            return {}
        updates, noted = list(joined), {}
        for module in lora_modules(server):
            ranks = [len(state[module + A]) for state in updates if module + A in state]
            history = server.get(module + RANKS, torch.zeros(0, dtype=torch.int64))
            added = torch.tensor([self._aggregation.base_rank(ranks) if ranks else 0])
            noted[module + RANKS] = torch.cat([history, added])
            having = [position for position, modules in received.items() if module in modules]
            noted[module + SEEN] = _seen(server.get(module + SEEN), having, len(history))
        return noted


def charged(
    predicted: PredictedDevice, upload_bytes: int, download_bytes: int
) -> PredictedDevice:
    """Prediction with its network times and bytes put to what is really sent."""
    up = _ratio(upload_bytes, predicted.upload_bytes)
    down = _ratio(download_bytes, predicted.download_bytes)
    if up == down == 1.0:
        return predicted
    upload_s, download_s = predicted.upload_s * up, predicted.download_s * down
    saved_s = predicted.upload_s - upload_s + predicted.download_s - download_s
    return replace(
        predicted,
        time_s=max(predicted.time_s - saved_s, 0.0),
        upload_s=upload_s,
        download_s=download_s,
        upload_bytes=float(upload_bytes),
        download_bytes=float(download_bytes),
    )


def _ratio(real: int, predicted: float) -> float:
    """Real by predicted bytes, 1 where they agree to the byte."""
    return 1.0 if abs(real - predicted) < 0.5 or predicted == 0 else real / predicted


def _missed_ranks(server: State, module: str, position: int) -> int:
    """Ranks of the base's changes that a device has yet to receive."""
    if module + RANKS not in server:
        return 0
    seen = server[module + SEEN]
    start = int(seen[position]) if position < len(seen) else 0
    return int(server[module + RANKS][start:].sum())


def _seen(old: Tensor | None, having: list[int], rounds: int) -> Tensor:
    """Rounds whose changes each device has, by its position."""
    length = max([len(old) if old is not None else 0, *(position + 1 for position in having)])
    seen = torch.zeros(length, dtype=torch.int64)
    if old is not None:
        seen[: len(old)] = old
    seen[having] = rounds
    return seen
