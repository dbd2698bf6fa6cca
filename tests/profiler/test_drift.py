"""One scalar corrects a profile, and nothing else of it changes."""

import pytest

from profiler.derive import derive_profile
from profiler.drift import drift_scale, rescaled
from profiler.predict import depth_of, peak_bytes, step_s
from profiler.schema import InputError, Profile
from profiler.show import key_figures

SHALLOW = [0] * 11 + [8]
UNEVEN = [0] * 8 + [4, 8, 2, 32]
DEEP = [16] * 12


@pytest.fixture(scope="module")
def profile() -> Profile:
    return derive_profile("roberta-base", "jetson-tx2")


def test_a_step_is_the_sum_of_its_parts(profile: Profile) -> None:
    time = profile.time
    bare = time.embedding_s + sum(time.forward_s) + time.head_s
    assert step_s(time, [0] * 12) == pytest.approx(bare)
    lora = sum(s * r for s, r in zip(time.lora_s_per_rank[8:], UNEVEN[8:], strict=True))
    assert step_s(time, UNEVEN) == pytest.approx(bare + sum(time.backward_s[8:]) + lora)
    assert depth_of(UNEVEN) == 4
    assert key_figures(profile, "p.json")["peak_bytes_by_depth"] == [
        peak_bytes(profile.memory, [0] * (12 - k) + [8] * k) for k in range(13)
    ]


def test_the_scale_is_found_and_applied(profile: Profile) -> None:
    observed = [(r, 1.25 * step_s(profile.time, r)) for r in (SHALLOW, UNEVEN)]
    made = rescaled(profile, observed)
    assert step_s(made.time, DEEP) == pytest.approx(1.25 * step_s(profile.time, DEEP))
    assert made.time.error_fraction == profile.time.error_fraction
    assert made.provenance.options["time_drift_scale"] == "1.250000"
    assert "2 observed steps" in made.provenance.origins["time"].source
    untouched = {"time", "provenance"}
    for field in set(Profile.__struct_fields__) - untouched:
        assert getattr(made, field) == getattr(profile, field)


def test_one_disturbed_step_is_mute(profile: Profile) -> None:
    honest = [(r, step_s(profile.time, r)) for r in (SHALLOW, UNEVEN, DEEP, [0] * 12)]
    disturbed = (DEEP, 9 * step_s(profile.time, DEEP))
    assert drift_scale(profile.time, [*honest, disturbed]) == pytest.approx(1)
    made = rescaled(profile, [*honest, disturbed])
    assert made.time.error_fraction > profile.time.error_fraction, "the scatter is told"


def test_rescaling_again_leaves_the_profile_as_it_is(profile: Profile) -> None:
    observed = [(r, 0.7 * step_s(profile.time, r)) for r in (SHALLOW, DEEP)]
    once = rescaled(profile, observed)
    assert drift_scale(once.time, observed) == pytest.approx(1)
    again = rescaled(once, observed)
    assert step_s(again.time, UNEVEN) == pytest.approx(step_s(once.time, UNEVEN))
    assert again.provenance.options["time_drift_scale"] == "0.700000", "scales multiply"


@pytest.mark.parametrize("observed", [[], [(DEEP, 0.0)], [(DEEP, float("nan"))]])
def test_nothing_observed_is_refused(
    profile: Profile, observed: list[tuple[list[int], float]]
) -> None:
    with pytest.raises(InputError, match="expected"):
        rescaled(profile, observed)
