"""Held-out configurations are held out."""

import pytest

from profiler.check.held_out import fold_of, held_out
from profiler.memory.model import HIGH_RANK, LOW_RANK
from profiler.probes import calibration_ranks, choose_probes, ranks_at


@pytest.mark.parametrize("layers", [1, 2, 3, 6, 12, 32])
@pytest.mark.parametrize("seed", range(20))
def test_no_probe_is_among_them(layers: int, seed: int) -> None:
    chosen = held_out(layers, 8, seed)
    probes = [p.ranks(layers) for p in choose_probes(layers, quick=False)]
    memory = (LOW_RANK, HIGH_RANK, (LOW_RANK + HIGH_RANK) // 2)
    probes += [ranks_at(layers, k, r) for k in range(layers + 1) for r in memory]
    probes.append(calibration_ranks(layers))
    assert not [ranks for ranks in chosen if ranks in probes]
    assert len({tuple(ranks) for ranks in chosen}) == len(chosen)
    for ranks in chosen:
        bare = ranks.count(0)
        assert len(ranks) == layers
        assert not any(ranks[:bare])
        assert bare < layers


def test_both_halves_span_the_depths_and_ranks_are_uneven() -> None:
    chosen = held_out(12, 8, seed=0)
    assert chosen == held_out(12, 8, seed=0) != held_out(12, 8, seed=1)
    for fold in (0, 1):
        depths = [12 - r.count(0) for i, r in enumerate(chosen) if fold_of(i) == fold]
        assert max(depths) - min(depths) >= 8
    assert sum(len(set(ranks) - {0}) > 1 for ranks in chosen) >= 4


def test_shallow_models_have_few() -> None:
    assert 2 <= len(held_out(1, 8, seed=0)) <= 8
