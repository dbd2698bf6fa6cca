"""A base in 4 bits: sizes as bitsandbytes has them, and refusals where nothing is known.

The figures are those of real steps on a CPU with bitsandbytes 0.50.2, transformers 5.23 and
PEFT 0.21: bytes of all frozen parameters and their quantisation states, and what torch's
allocator held at the peak of a forward and a backward pass in float32 (3 x 24 tokens, ranks
0, 6 and 6).
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from profiler.checkpoint import open_checkpoint, settle
from profiler.cli.fleet import fleet
from profiler.closed_form.architectures import Linear, read_architecture
from profiler.closed_form.footprint import frozen_bytes
from profiler.closed_form.quantised import restoring
from profiler.closed_form.simulate import Setting, simulate_step
from profiler.configs import load_config
from profiler.derive import derive_profile
from profiler.predict import full_depth_step_s
from profiler.schema import InputError, Training, read_fleet
from tests.profiler.closed_form.tiny import tiny

NF4 = Training(batch_size=3, sequence_length=24, base_dtype="nf4", task="causal-lm", labels=0)
WIDE = {"hidden_size": 128, "intermediate_size": 384, "vocab_size": 200}
# Weights that are no whole number of blocks.
ODD = {"hidden_size": 126, "vocab_size": 200}


@pytest.mark.parametrize(
    ("family", "changes", "stored", "forward", "backward"),
    [
        ("llama", WIDE, 535_600, 1_661_920, 1_607_784),
        ("qwen3", WIDE, 497_968, 1_546_528, 1_492_392),
        ("gemma", WIDE, 388_848, 1_441_504, 1_387_368),
        ("phi3", WIDE, 525_760, 1_649_216, 1_595_080),
        ("starcoder2", WIDE, 368_192, 1_220_416, 1_141_704),
        ("gpt2", {"n_embd": 126, "vocab_size": 200}, 445_548, 2_435_540, 2_344_984),
        ("opt", ODD | {"ffn_dim": 384}, 404_868, 1_208_096, 1_277_080),
        ("gpt_neox", ODD | {"intermediate_size": 384}, 481_974, 1_207_856, 1_094_056),
    ],
)
def test_memory_is_that_of_bitsandbytes(
    family: str, changes: dict[str, Any], stored: int, forward: int, backward: int
) -> None:
    architecture = read_architecture(tiny(family, **changes).to_dict())
    setting = Setting(
        architecture=architecture,
        training=NF4,
        adapted=architecture.resolve_targets(()),
        fused=False,
    )
    assert frozen_bytes(setting) == stored
    step = simulate_step(setting, [0, 6, 6])
    assert step.forward_bytes == pytest.approx(forward, rel=0.003)
    assert step.backward_bytes == pytest.approx(backward, rel=0.003)


def test_a_quarter_of_the_weights_is_paid_for_in_time() -> None:
    setup = replace(NF4, batch_size=1, sequence_length=256, dtype="bfloat16")
    small = derive_profile("llama-3-8b", "h100", None, setup)
    whole = derive_profile("llama-3-8b", "h100", None, replace(setup, base_dtype="same"))
    # 4.127 bits a weight (QLoRA, section 3), and embeddings and head as they are.
    layers = small.model.parameters - 2 * 128_256 * 4096
    expected = layers * 4.127 / 8 + 2 * 2 * 128_256 * 4096
    assert small.memory.weights_bytes == pytest.approx(expected, rel=1e-3)
    assert 1 < full_depth_step_s(small.time) / full_depth_step_s(whole.time) < 2
    assert small.lora == whole.lora
    assert "bitsandbytes" in small.provenance.origins["memory"].source
    assert "bitsandbytes" not in whole.provenance.origins["memory"].source


@pytest.mark.parametrize(
    ("model", "base", "words"),
    [
        ("roberta-base", "nf4", "derived for decoders; roberta is an encoder"),
        ("gpt2", "int8", "base_dtype is 'int8'; expected one of same, nf4"),
    ],
)
def test_what_is_not_covered_is_refused(model: str, base: Any, words: str) -> None:
    training = replace(NF4, base_dtype=base, task="classification", labels=2)
    with pytest.raises(InputError, match=words):
        derive_profile(model, "laptop-cpu", None, training)


@pytest.mark.parametrize(
    ("said", "base", "words"),
    [
        ({}, "same", "add --base-dtype nf4"),
        ({}, "nf4", ""),
        ({"bnb_4bit_use_double_quant": False}, "nf4", "quantised .'bitsandbytes'.; closed"),
        ({"llm_int8_skip_modules": ["lm_head", "mlp"]}, "nf4", "leave out quantization_config"),
        ({"quant_method": "gptq"}, "same", "the model is quantised .'gptq'."),
    ],
)
def test_the_config_of_a_quantised_model_is_not_taken_for_another(
    said: dict[str, Any], base: Any, words: str, tmp_path: Path
) -> None:
    _, config = load_config("qwen2-0.5b")
    stored = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    }
    content = {**config, "quantization_config": {**stored, **said}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    training = replace(NF4, base_dtype=base)
    if words:
        with pytest.raises(InputError, match=words):
            derive_profile(str(tmp_path), "laptop-cpu", None, training)
    else:
        assert derive_profile(str(tmp_path), "laptop-cpu", None, training).training == training


def test_a_base_in_4_bits_is_not_measured(tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a base in nf4 is derived, not run or counted"):
        settle(open_checkpoint(str(tmp_path)), NF4)


def test_a_fleet_says_the_whole_training_step(tmp_path: Path) -> None:
    out = str(tmp_path / "fleet.json")
    arguments = ["paper-80", "--model", "gpt2", "-o", out, "--task", "causal-lm"]
    said = ["--base-dtype", "nf4", "--targets", "all-linear", "--gradient-checkpointing"]
    done = CliRunner().invoke(fleet, [*arguments, *said, "--no-dropout", "--optimizer", "sgd"])
    assert done.exit_code == 0, done.output
    made = read_fleet(Path(out))
    training = made.training
    assert (training.base_dtype, training.optimizer) == ("nf4", "sgd")
    assert (training.gradient_checkpointing, training.dropout) == (True, False)
    assert len(made.model.targets) == 4
    assert made.provenance.options["dropout"] == "False"
    done = CliRunner().invoke(fleet, [*arguments, "--labels", "3"])
    assert (done.exit_code, "--labels are of --task classification" in done.output) == (2, True)


def test_restoring_a_weight_moves_these_bytes() -> None:
    """64 x 64 weights are 64 blocks: their constants from a byte to 4, a mean, the weights."""
    module = Linear(name="q", in_features=64, out_features=64, bias=False)
    moved = [cost.traffic_bytes for cost in restoring(module, itemsize=2)]
    assert moved == [64 + 256, 2 * 256, 4096 / 2 + 256 + 2 * 4096]
    assert not any(cost.flops for cost in restoring(module, itemsize=2))
