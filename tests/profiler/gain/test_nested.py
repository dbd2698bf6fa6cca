"""From scores of single layers and values of depths to gains along the chain of depths."""

from itertools import pairwise

import pytest

from profiler.gain.default import default_gain
from profiler.gain.nested import gain_table, power_of_rank, saturate
from profiler.gain.probe import concave_marginals, plan_probes, rank_exponent
from profiler.schema import InputError


@pytest.mark.parametrize("layers", [1, 6, 24])
def test_layers_that_score_alike_give_the_analytic_default(layers: int) -> None:
    gain = gain_table("x", saturate([0.3] * layers), [power_of_rank()] * layers)
    expected = default_gain(layers)
    assert gain.ranks == expected.ranks
    for row, wanted in zip(gain.by_layer, expected.by_layer, strict=True):
        assert row == pytest.approx(wanted)


def test_saturation_makes_a_lower_layer_worth_less_than_alone() -> None:
    scores = [1.0, 2.0, 3.0]
    marginal = saturate(scores)
    assert sum(marginal) == pytest.approx(1)
    assert marginal[2] > 3.0 / 6.0
    assert marginal[0] < 1.0 / 6.0


def test_unit_of_the_scores_does_not_matter() -> None:
    assert saturate([1e-9, 3e-9]) == pytest.approx(saturate([1.0, 3.0]))


def test_scores_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no layer gains anything"):
        saturate([0.0, 0.0])


def test_concave_values_are_kept_as_measured() -> None:
    marginal = concave_marginals({1: 0.5, 2: 0.8, 4: 1.0}, layers=4)
    assert marginal == pytest.approx([0.1, 0.1, 0.3, 0.5])


def test_noise_is_fitted_by_a_rising_concave_curve() -> None:
    marginal = concave_marginals({1: 0.50, 2: 0.45, 3: 0.62, 6: 0.60}, layers=6)
    assert len(marginal) == 6
    assert all(gain >= 0 for gain in marginal)
    assert all(a <= b + 1e-12 for a, b in pairwise(marginal))
    assert sum(marginal) == pytest.approx(0.6, abs=0.03)


def test_adapters_that_only_harm_are_refused() -> None:
    with pytest.raises(InputError, match="took nothing off"):
        concave_marginals({1: -0.1, 2: -0.2}, layers=2)


def test_rank_exponent_is_the_one_of_a_power_law_and_stays_in_bounds() -> None:
    law = {(k, r): k**0.5 * r**0.2 for k in (1, 2) for r in (2, 16)}
    assert rank_exponent(law) == pytest.approx(0.2)
    assert rank_exponent({(1, 2): 0.3, (1, 16): 0.2}) == 0
    assert rank_exponent({(1, 2): -0.1, (1, 16): 0.2}) == 1


@pytest.mark.parametrize("layers", [1, 2, 3, 6, 12])
def test_probes_span_the_chain_at_two_ranks(layers: int) -> None:
    probes = plan_probes(layers)
    assert {1, layers} <= {p.depth for p in probes} <= set(range(1, layers + 1))
    assert len({p.rank for p in probes}) == 2
    assert len({(p.depth, p.rank) for p in probes}) == len(probes)
