"""Derived profiles: times that make sense, no framework needed, clear refusals."""

import contextlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from profiler.configs import load_config
from profiler.derive import DEFAULT_TRAINING, derive_profile
from profiler.hardware import read_catalogue
from profiler.predict import full_depth_step_s
from profiler.schema import InputError, Profile, Training


def test_the_tx2_agrees_with_the_measurement_it_is_calibrated_to() -> None:
    training = Training(batch_size=4, sequence_length=256)
    time = derive_profile("bert-base-uncased", "jetson-tx2", "maxn", training).time
    # FedAdapter caches frozen layers, so one more layer costs its forward and backward pass.
    assert time.forward_s[0] + time.backward_s[0] == pytest.approx(0.09, rel=0.01)


def test_backward_is_about_one_forward_and_cheaper_at_the_bottom() -> None:
    time = derive_profile("roberta-base", "jetson-tx2").time
    assert 1.0 < time.backward_s[0] / time.forward_s[0] < 1.5
    assert time.backward_s[-1] < time.backward_s[0]
    assert 0 < time.lora_s_per_rank[0] < 0.01 * time.backward_s[0]


def test_half_precision_and_checkpointing_trade_time_for_memory() -> None:
    plain = derive_profile("roberta-base", "jetson-agx-orin")
    half = _with(dtype="bfloat16")
    again = _with(gradient_checkpointing=True)
    assert full_depth_step_s(half.time) < full_depth_step_s(plain.time)
    assert half.memory.weights_bytes == plain.memory.weights_bytes / 2
    assert full_depth_step_s(again.time) > 1.2 * full_depth_step_s(plain.time)
    assert again.memory.forward_bytes.by_depth[-1] < plain.memory.forward_bytes.by_depth[-1]


def _with(**changes: object) -> Profile:
    training = msgspec.structs.replace(DEFAULT_TRAINING, **changes)
    return derive_profile("roberta-base", "jetson-agx-orin", None, training)


@pytest.mark.parametrize("hardware", [h.label for h in read_catalogue()])
def test_every_device_of_the_catalogue_gives_a_profile(hardware: str) -> None:
    profile = derive_profile("roberta-base", hardware)
    assert f"{profile.device.name}/{profile.device.mode}" == hardware
    assert 0.005 < full_depth_step_s(profile.time) < 30
    for phase in (profile.memory.forward_bytes, profile.memory.backward_bytes):
        assert all(a <= b for a, b in pairwise(phase.by_depth))
    assert profile.provenance.origins["time"].kind == "derived"


@pytest.mark.parametrize("model", ["llama-3-70b", "deberta-v3-base", "qwen3-0.6b", "gpt2"])
def test_models_of_every_kind_give_a_profile(model: str) -> None:
    training = Training(batch_size=1, sequence_length=256, dtype="bfloat16")
    profile = derive_profile(model, "h100", None, training)
    assert profile.memory.weights_bytes >= 2 * profile.model.parameters
    assert profile.training.attention == ("eager" if "deberta" in model else "sdpa")


def test_a_profile_survives_its_file() -> None:
    profile = derive_profile("distilbert-base-uncased", "laptop-cpu")
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


def test_a_type_the_device_lacks_is_refused() -> None:
    training = msgspec.structs.replace(DEFAULT_TRAINING, dtype="bfloat16")
    with pytest.raises(InputError, match="jetson-tx2/maxn: computes no bfloat16"):
        derive_profile("roberta-base", "jetson-tx2", None, training)
    training = msgspec.structs.replace(DEFAULT_TRAINING, dtype="bf16")
    with pytest.raises(InputError, match="dtype is 'bf16'; expected one of float32"):
        derive_profile("roberta-base", "jetson-tx2", None, training)


def test_text_longer_than_the_positions_is_refused() -> None:
    training = Training(batch_size=1, sequence_length=513)
    with pytest.raises(InputError, match="past the 512 positions"):
        derive_profile("roberta-base", "jetson-tx2", None, training)


@pytest.mark.parametrize("preset", ["roberta-base", "deberta-v3-base"])
@pytest.mark.parametrize("value", ["x", [1], 1.5, {}])
def test_a_config_of_the_wrong_types_is_bad_input(
    preset: str, value: object, tmp_path: Path
) -> None:
    """Every field of a config in turn: what cannot be used is refused in one line."""
    _, config = load_config(preset)
    for name in config:
        (tmp_path / "config.json").write_text(json.dumps({**config, name: value}))
        with contextlib.suppress(InputError):
            derive_profile(str(tmp_path))


def test_positions_that_are_not_stated_are_those_of_the_embeddings(tmp_path: Path) -> None:
    _, config = load_config("deberta-v3-base")
    made = []
    for stated in ({"position_buckets": None}, {"position_buckets": -1}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **stated}))
        made.append(derive_profile(str(tmp_path)).memory)
    assert made[0] == made[1]


def test_deriving_needs_no_framework() -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'peft', 'numpy', 'pandas', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from profiler.derive import derive_profile\n"
        "from profiler.fleet import FleetRequest, preset_fleet\n"
        "print(derive_profile('llama-3-70b', 'h100').model.layers)\n"
        "print(len(preset_fleet(FleetRequest(options={})).devices))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["80", "80"], done.stderr
