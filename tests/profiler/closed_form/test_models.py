"""Structure from config.json agrees with what transformers builds."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from profiler.closed_form.architectures import (
    config_digest,
    describe_lora,
    describe_model,
    read_architecture,
)
from profiler.configs import load_config, preset_names
from profiler.derive import derive_profile
from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import InputError, Training
from tests.profiler.closed_form.tiny import DECODER, ENCODER, LABELS, TINY, tiny

TRAINING = Training(batch_size=1, sequence_length=8, labels=LABELS)
CLASSIFIERS = [family for family in TINY if family != "granite"]
DECODERS = [
    *("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"),
    *("phi3", "granite", "olmo2", "smollm3", "starcoder2", "gpt_neox", "opt"),
]


def count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def content(config: Any) -> dict[str, Any]:
    return dict(json.loads(config.to_json_string()))


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_parameters_and_head_are_those_that_transformers_counts(family: str) -> None:
    config = tiny(family)
    model = describe_model("tiny", content(config), TRAINING)
    with torch.device("meta"):
        base = AutoModel.from_config(config)
        task = AutoModelForSequenceClassification.from_config(config)
    assert read_architecture(content(config)).base_parameters == count(base)
    assert model.parameters + model.head_parameters == count(task)
    head = sum(count(task.get_submodule(name)) for name in model.head_modules)
    assert model.head_parameters == head


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_targets_are_modules_of_the_base_model(family: str) -> None:
    config = tiny(family)
    model = describe_model("tiny", content(config), TRAINING)
    with torch.device("meta"):
        modules = dict(AutoModel.from_config(config).named_modules())
    for layer in range(model.layers):
        for target in model.targets:
            module = modules[model.module_name(layer, target.name)]
            sizes = {*module.weight.shape}
            assert sizes == {target.in_features, target.out_features}


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("tied", [True, False])
def test_causal_models_freeze_their_head(family: str, tied: bool) -> None:
    config = tiny(family, tie_word_embeddings=tied)
    training = Training(batch_size=1, sequence_length=8, task="causal-lm", labels=0)
    model = describe_model("tiny", content(config), training)
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(config)
    assert model.head_parameters == 0
    assert model.head_modules == []
    assert model.parameters == count(whole)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("roberta-base", 124_645_632),
        ("roberta-large", 355_359_744),
        ("bert-base-uncased", 109_482_240),
        ("distilbert-base-uncased", 66_362_880),
        ("deberta-v3-base", 183_831_552),
        ("gpt2", 124_439_808),
        ("llama-2-7b", 6_738_415_616 - 32_000 * 4096),
        ("llama-3-8b", 8_030_261_248 - 128_256 * 4096),
        ("llama-3-70b", 70_553_706_496 - 128_256 * 8192),
        ("qwen2-0.5b", 494_032_768),
        ("gemma-2-2b", 2_614_341_888),
        ("gemma-3-1b", 999_885_952),
        ("phi-3-mini-4k", 3_821_079_552 - 32_064 * 3072),
        ("smollm2-135m", 134_515_008),
        ("smollm2-360m", 361_821_120),
        ("tinyllama-1.1b", 1_100_048_384 - 32_000 * 2048),
        ("pythia-160m", 162_322_944 - 50_304 * 768),
        ("opt-125m", 125_239_296),
        # With the head that foretells masked words.
        ("modernbert-base", 149_655_232 - (768 * 769 + 50_368)),
        # KerasHub counts a pooler, which transformers has not.
        ("electra-small-discriminator", 13_548_800 - 257 * 256),
    ],
)
def test_presets_have_the_published_size(name: str, parameters: int) -> None:
    _, config = load_config(name)
    assert read_architecture(config).base_parameters == parameters


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_describes_a_model(name: str) -> None:
    _, config = load_config(name)
    model = describe_model(name, config, TRAINING)
    per_rank = sum(t.in_features + t.out_features for t in model.targets)
    assert describe_lora(model).parameters_per_rank == [per_rank] * model.layers


def test_digest_is_that_of_sorted_compact_json() -> None:
    canonical = b'{"a":[1,2],"b":{"c":null}}'
    digest = config_digest({"b": {"c": None}, "a": [1, 2]})
    assert digest == hashlib.sha256(canonical).hexdigest()


def test_a_folder_is_as_good_as_a_preset(tmp_path: Path) -> None:
    name, config = load_config("roberta-base")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_config(str(folder)) == ("mine", config)
    assert load_config(name)[1] == config
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="neither a preset nor a folder"):
        load_config(str(folder))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "perceiver"}, "closed forms know bert"),
        ({"model_type": ["bert"]}, "closed forms know bert"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"hidden_size": -8}, "hidden_size is -8"),
        ({"hidden_size": 25}, "no multiple of"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"vocab_size": 1e400}, "vocab_size is inf"),
        ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob is nan"),
        ({"hidden_dropout_prob": "0.1"}, "expected a number in"),
    ],
)
def test_a_bad_config_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_architecture({**ENCODER, "model_type": "bert", **changes})


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("gemma2", {"use_bidirectional_attention": True}, "attention in both directions"),
        ("gemma3_text", {"layer_types": ["full_attention"]}, "no list of 3 kinds"),
        ("phi3", {"partial_rotary_factor": 2}, r"expected a number in \(0, 1\]"),
        ("smollm3", {"use_sliding_window": True}, "a sliding window"),
        ("smollm3", {"no_rope_layers": [1]}, "no list of 3 numbers"),
        ("starcoder2", {"residual_dropout": 0.1}, "only one of residual_dropout"),
        ("modernbert", {"mlp_dropout": 0.1}, "mlp_dropout asks for dropout"),
        ("modernbert", {"classifier_pooling": "max"}, "expected cls or mean"),
        ("opt", {"do_layer_norm_before": False}, "norms behind attention and MLP"),
        ("opt", {"word_embed_proj_dim": 12}, "word_embed_proj_dim differs"),
        ("opt", {"layerdrop": 0.1}, "left out at random"),
    ],
)
def test_what_closed_forms_do_not_cover_is_named(
    family: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_architecture({**TINY[family], "model_type": family, **changes})


def test_a_bad_config_in_a_file_names_the_file(tmp_path: Path) -> None:
    content = {**ENCODER, "model_type": "bert", "hidden_size": -8}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    expected = rf"{re.escape(str(path))}: hidden_size is -8"
    for given in (tmp_path, path):
        with pytest.raises(InputError, match=expected):
            derive_profile(str(given), "jetson-tx2", None, TRAINING)
        with pytest.raises(InputError, match=expected):
            preset_fleet(FleetRequest(model=str(given), options={}))


@pytest.mark.parametrize("text", ["{", "[1]", "nul", "\x00"])
def test_a_config_that_is_no_json_object_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.json: .*expected a model config"):
        load_config(str(tmp_path))


def test_encoders_have_no_causal_head() -> None:
    _, config = load_config("roberta-base")
    causal = Training(batch_size=1, sequence_length=8, task="causal-lm", labels=0)
    with pytest.raises(InputError, match="is an encoder"):
        describe_model("roberta-base", config, causal)


def test_granite_has_no_classifier() -> None:
    with pytest.raises(InputError, match="no classifier for granite; use causal-lm"):
        describe_model("granite", {**DECODER, "model_type": "granite"}, TRAINING)


@pytest.mark.parametrize(
    ("model", "words", "names"),
    [
        ("gpt2", ["q", "v"], ["attn.c_attn"]),
        ("gpt2", ["o"], ["attn.c_proj"]),
        ("gpt2", ["c_proj"], ["attn.c_proj", "mlp.c_proj"]),
        ("llama-2-7b", ["v", "q_proj"], ["self_attn.v_proj", "self_attn.q_proj"]),
        ("roberta-base", ["output.dense"], ["attention.output.dense", "output.dense"]),
    ],
)
def test_targets_go_by_name_and_role(model: str, words: list[str], names: list[str]) -> None:
    _, config = load_config(model)
    described = describe_model(model, config, TRAINING, words)
    assert [t.name for t in described.targets] == names


def test_all_linear_adapts_every_module_of_a_layer() -> None:
    _, config = load_config("llama-2-7b")
    assert len(describe_model("llama", config, TRAINING, ["all-linear"]).targets) == 7


def test_an_unknown_target_lists_the_known_ones() -> None:
    _, config = load_config("gpt2")
    with pytest.raises(InputError, match=r"known: attn\.c_attn"):
        describe_model("gpt2", config, TRAINING, ["q_projection"])
