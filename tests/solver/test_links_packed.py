"""The knapsack behind one link against trying every choice."""

from itertools import product

import numpy as np

from solver.links.packed import _pack


def test_nothing_loses_less_within_the_room() -> None:
    rng, tight = np.random.default_rng(3), 0
    for _ in range(60):
        devices, options = rng.integers(1, 5), rng.integers(1, 5)
        size = rng.integers(1, 9, (devices, options)).astype(float)
        loss = rng.uniform(0, 1, (devices, options))
        loss[rng.random(loss.shape) < 0.2] = np.inf
        loss[:, 0] = np.minimum(loss[:, 0], 0.5)
        price, room = float(rng.uniform(0, 0.2)), float(rng.integers(devices, 9 * devices))
        every, worth = np.arange(devices), price * size - loss
        chosen = _pack(size, loss, price, room)
        fitting = [
            np.array(one)
            for one in product(range(options), repeat=int(devices))
            if size[every, one].sum() <= room and np.isfinite(loss[every, one]).all()
        ]
        if not fitting:
            # Not even the smallest fit; those are the answer.
            smallest = np.where(np.isfinite(loss), size, np.inf).min(axis=1)
            assert size[every, chosen].sum() == smallest.sum()
            continue
        assert size[every, chosen].sum() <= room
        best = max(worth[every, one].sum() for one in fitting)
        assert worth[every, chosen].sum() >= best - 1e-9
        tight += size.max(axis=1).sum() > room
    assert tight > 20
