"""One scalar says how far a device is from its profile."""

import pytest

from profiler.derive import derive_profile
from profiler.drift import drift_scale
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


def test_the_scale_is_found(profile: Profile) -> None:
    observed = [(r, 1.25 * step_s(profile.time, r)) for r in (SHALLOW, UNEVEN)]
    assert drift_scale(profile.time, observed) == pytest.approx(1.25)


def test_one_disturbed_step_is_mute(profile: Profile) -> None:
    honest = [(r, step_s(profile.time, r)) for r in (SHALLOW, UNEVEN, DEEP, [0] * 12)]
    disturbed = (DEEP, 9 * step_s(profile.time, DEEP))
    assert drift_scale(profile.time, [*honest, disturbed]) == pytest.approx(1)


@pytest.mark.parametrize("observed", [[], [(DEEP, 0.0)], [(DEEP, float("nan"))]])
def test_nothing_observed_is_refused(
    profile: Profile, observed: list[tuple[list[int], float]]
) -> None:
    with pytest.raises(InputError, match="expected"):
        drift_scale(profile.time, observed)
