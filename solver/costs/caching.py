"""Prefix caches: outputs of the layers below the first adapted one, stored, not computed again.

Those layers are frozen and bare, so what they make of an example never changes. Without a
cache every step runs them all,

    prefix_s[c, k] = embedding_s + sum of forward_s over all but the last k layers;

with one, only a step that meets an example for the first time does: a cache `round` is filled
anew in each round, a cache `always` once before the first. LEGEND (arXiv 2412.20004) has no
such cache as far as known; FedAdapter (arXiv 2205.10162) keeps activations over rounds.

What a device spares is a share of its prefixes that does not hang on the depth, so which
cache is fastest does not either: it is chosen once, and its costs stay a table by depth.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from profiler.schema import DeviceClass, Fleet
from solver.costs.devices import Devices, Floats
from solver.plan import Cache, CacheChoice

KINDS: tuple[Cache, ...] = ("off", "round", "always")
OFF, ROUND, ALWAYS = range(3)

Kinds = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """The cache of every device.

    Parameters
    ----------
    kind : array of int, shape (N,)
        Index into `KINDS`.
    spared : array, shape (N,)
        Share of the prefixes of a round that are not computed, 0 to 1.
    """

    kind: Kinds
    spared: Floats


def example_bytes(fleet: Fleet) -> float:
    """Bytes that a cache holds for one example: the residual stream of all its tokens."""
    width = 4 if fleet.training.dtype == "float32" else 2
    return float(fleet.training.sequence_length * fleet.model.hidden_size * width)


def prefix_s(device_class: DeviceClass) -> Floats:
    """Seconds of the layers below the adapted ones in a step, by depth, shape (L + 1,).

    At depth 0 the rule is no cache, so nothing counts as prefix there.
    """
    time = device_class.time
    below = np.cumsum([time.embedding_s, *time.forward_s])[::-1]
    return np.array([0.0, *below[1:]])


def choose(
    fleet: Fleet, devices: Devices, choice: CacheChoice, rounds: int | None = None
) -> Caches | None:
    """Give every device the fastest cache that is asked for and that it can store.

    Parameters
    ----------
    fleet : Fleet
    devices : Devices
    choice : {'off', 'round', 'always', 'auto'}
        `round` and `always` go to everybody who can store them, the others have none.
    rounds : int, optional
        Rounds a device takes part in, for `auto`; None means without end.

    Returns
    -------
    Caches or None
        None where no caches are asked for.
    """
    if choice == "off":
        return None
    stored = example_bytes(fleet)
    met = _met(fleet, devices)
    kind, spared = np.zeros(len(met), dtype=np.int8), np.zeros(len(met))
    if choice in ("round", "auto"):
        # Where every example is met once, nothing is spared.
        share = 1 - _distinct(devices, met) / met
        fits = (_distinct(devices, met) * stored <= devices.storage_bytes) & (share > 0)
        kind[fits], spared[fits] = ROUND, share[fits]
    if choice in ("always", "auto"):
        examples = devices.examples.astype(np.float64)
        fits = examples * stored <= devices.storage_bytes
        if choice == "auto" and rounds is not None:
            # Examples whose prefixes are spared, less those that filling it takes.
            anew = np.where(kind == ROUND, met - _distinct(devices, met), 0.0)
            fits &= rounds * met - examples > rounds * anew
        # Without an end never slower than a cache filled anew: it spares every prefix.
        kind[fits], spared[fits] = ALWAYS, 1.0
    return Caches(kind=kind, spared=spared)


def storage_bytes(fleet: Fleet, devices: Devices, kind: Kinds) -> Floats:
    """Storage that each device's cache takes, shape (N,)."""
    kept = np.where(kind == ALWAYS, devices.examples, 0.0)
    kept[kind == ROUND] = _distinct(devices, _met(fleet, devices))[kind == ROUND]
    return np.asarray(kept * example_bytes(fleet))


def _met(fleet: Fleet, devices: Devices) -> Floats:
    """Examples that a round's steps go through, the same ones again included."""
    return devices.local_steps.astype(np.float64) * fleet.training.batch_size


def _distinct(devices: Devices, met: Floats) -> Floats:
    return np.minimum(devices.examples, met)
