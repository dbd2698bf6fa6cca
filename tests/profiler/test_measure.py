"""The measured profile: what is found in a model, what is fitted, what is written."""

from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import torch

from profiler.adapters import adapt
from profiler.anatomy import examine
from profiler.checkpoint import build, open_checkpoint, settle
from profiler.listener import Silence
from profiler.measure import QUICK, measure_profile
from profiler.probes import ranks_at
from profiler.schema import InputError, Profile, Training, read_profile, write
from profiler.timing.steps import Rig
from tests.profiler.conftest import Measured
from tests.profiler.tiny_models import FAMILIES, LAYERS, model_folder

pytestmark = pytest.mark.usefixtures("one_thread")
TRAINING = Training(batch_size=2, sequence_length=8)
QUERY_VALUE = {
    "bert": ["attention.self.query", "attention.self.value"],
    "roberta": ["attention.self.query", "attention.self.value"],
    "distilbert": ["attention.q_lin", "attention.v_lin"],
    "deberta-v2": ["attention.self.query_proj", "attention.self.value_proj"],
    "mpnet": ["attention.attn.q", "attention.attn.v"],
    "gpt2": ["attn.c_attn"],
    "llama": ["self_attn.q_proj", "self_attn.v_proj"],
    "qwen2": ["self_attn.q_proj", "self_attn.v_proj"],
    "qwen3": ["self_attn.q_proj", "self_attn.v_proj"],
    "phi3": ["self_attn.qkv_proj"],
    "opt": ["self_attn.v_proj", "self_attn.q_proj"],
}
HEADS = {
    "distilbert": ["pre_classifier", "classifier"],
    "deberta-v2": ["pooler", "classifier"],
    "gpt2": ["score"],
    "llama": ["score"],
    "qwen2": ["score"],
    "qwen3": ["score"],
    "phi3": ["score"],
    "opt": ["score"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_targets_and_head_are_found(family: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder(family, tmp_path))
    training, _ = settle(checkpoint, TRAINING)
    anatomy = examine(checkpoint, training)
    model = anatomy.model
    assert (model.family, model.layers, model.hidden_size) == (family, LAYERS, 32)
    assert [t.name for t in model.targets] == QUERY_VALUE[family]
    assert model.head_modules == HEADS.get(family, ["classifier"])
    plain = build(checkpoint, training, meta=False)
    assert model.parameters + model.head_parameters == sum(
        p.numel() for p in plain.parameters()
    )
    adapted = adapt(plain, anatomy, [0, 3, 5], training)
    trained = {n: p.numel() for n, p in adapted.named_parameters() if p.requires_grad}
    lora = sum(count for name, count in trained.items() if "lora_" in name)
    per_rank = anatomy.lora.parameters_per_rank
    assert lora == 3 * per_rank[1] + 5 * per_rank[2]
    assert sum(trained.values()) - lora == model.head_parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_of_every_family_are_timed(family: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder(family, tmp_path))
    training, _ = settle(checkpoint, TRAINING)
    anatomy = examine(checkpoint, training)
    configurations = [[0, 0, 0], [0, 4, 4]]
    rig = Rig(checkpoint, anatomy, training, configurations, processor="cpu", seed=0)
    samples = list(rig.run(rounds=1, warmup=1))
    assert sorted((s.round, s.probe) for s in samples) == [(-1, 0), (-1, 1), (0, 0), (0, 1)]
    for sample in samples:
        assert len(sample.parts) == (LAYERS + 2 if sample.probe == 0 else 0)
        parts = sum(part.wall_s for part in sample.parts)
        assert parts == pytest.approx(sample.step.wall_s if sample.parts else 0.0)


def test_probes_share_one_frozen_base(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder("bert", tmp_path))
    anatomy = examine(checkpoint, TRAINING)
    configurations = [[0, 0, 4], [4, 4, 4]]
    rig = Rig(checkpoint, anatomy, TRAINING, configurations, processor="cpu", seed=0)
    pointers = [
        {p.data_ptr() for p in step.model.parameters() if not p.requires_grad}
        for step in rig.steps
    ]
    assert pointers[0] == pointers[1]


def test_a_decoder_without_head_trains_adapters_only(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder("llama", tmp_path))
    training = Training(batch_size=2, sequence_length=8, task="causal-lm", labels=0)
    anatomy = examine(checkpoint, training)
    assert (anatomy.model.head_modules, anatomy.model.head_parameters) == ([], 0)
    bare = adapt(build(checkpoint, training, meta=True), anatomy, [0, 0, 0], training)
    assert not any(p.requires_grad for p in bare.parameters())


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (("q", "k"), ["self_attn.q_proj", "self_attn.k_proj"]),
        (("down_proj",), ["mlp.down_proj"]),
        (("mlp.up_proj", "o"), ["mlp.up_proj", "self_attn.o_proj"]),
    ],
)
def test_targets_can_be_named(
    targets: tuple[str, ...], found: list[str], tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(model_folder("llama", tmp_path))
    anatomy = examine(checkpoint, TRAINING, targets)
    assert [t.name for t in anatomy.model.targets] == found
    adapt(build(checkpoint, TRAINING, meta=True), anatomy, ranks_at(3, 2, 4), TRAINING)


def test_all_linear_means_every_linear_module(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(model_folder("gpt2", tmp_path))
    anatomy = examine(checkpoint, TRAINING, ["all-linear"])
    widths = {t.name: (t.in_features, t.out_features) for t in anatomy.model.targets}
    assert widths == {
        "attn.c_attn": (32, 96),
        "attn.c_proj": (32, 32),
        "mlp.c_fc": (32, 128),
        "mlp.c_proj": (128, 32),
    }


@pytest.mark.parametrize(
    ("family", "options", "line"),
    [
        ("t5", {}, "encoder-decoder"),
        ("qwen3_moe", {}, "mixture of experts"),
        ("albert", {}, "weights of their own"),
        ("longformer", {}, "depends on values"),
        ("bert", {"sequence_length": 71}, "past the 70 positions"),
        ("roberta", {"sequence_length": 70}, "past the 69 positions"),
        ("opt", {"sequence_length": 71}, "past the 70 positions"),
        ("mpnet", {"gradient_checkpointing": True}, "cannot recompute"),
        ("distilbert", {"task": "causal-lm", "labels": 0}, "no causal-lm model"),
        ("bert", {"task": "causal-lm", "labels": 0}, "is an encoder"),
    ],
)
def test_what_cannot_be_profiled_is_said(
    family: str, options: dict[str, Any], line: str, tmp_path: Path
) -> None:
    setup = {"batch_size": 2, "sequence_length": 8, **options}
    with pytest.raises(InputError, match=line):
        measure_profile(model_folder(family, tmp_path), Training(**setup))


def test_unknown_targets_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no module 'nose'.*self_attn\.q_proj"):
        measure_profile(model_folder("llama", tmp_path), TRAINING, targets=["nose"])


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        open_checkpoint(str(tmp_path))
    with pytest.raises(InputError, match="neither a folder nor a model"):
        open_checkpoint(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not a config"):
        open_checkpoint(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "no-such-family"}')
    with pytest.raises(InputError, match="not a config"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"a download cut short"])
def test_weights_that_are_none_are_one_line(tmp_path: Path, content: bytes) -> None:
    folder = model_folder("bert", tmp_path)
    (Path(folder) / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="cannot be loaded") as raised:
        build(open_checkpoint(folder), TRAINING, meta=False)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        measure_profile(model_folder("bert", tmp_path), TRAINING, processor="cuda")


class Diary(Silence):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.stages: list[list[Any]] = []
        self.notes: list[str] = []

    def stage(self, name: str, steps: int) -> None:
        self.stages.append([name, steps, 0])

    def advance(self) -> None:
        self.stages[-1][2] += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_profile_is_measured_written_and_read(measured: Measured, tmp_path: Path) -> None:
    profile = read_profile(measured.path)
    assert msgspec.to_builtins(profile) == msgspec.json.decode(measured.path.read_bytes())
    write(tmp_path / "again.json", profile)
    assert read_profile(tmp_path / "again.json") == profile
    _check_figures(profile)
    assert profile.provenance.inputs[0].name == "config.json"
    kinds = {o.kind for o in profile.provenance.origins.values()}
    # Watts are what somebody says.
    assert kinds == {"measured", "derived", "catalogue"}
    assert not psutil.Process().children()


def _check_figures(profile: Profile) -> None:
    time, memory = profile.time, profile.memory
    assert time.embedding_s > 0
    assert time.head_s > 0
    assert all(forward > 0 for forward in time.forward_s)
    assert len(set(time.forward_s)) == 1, "layers alike take one time"
    assert 0 < time.error_fraction < 1
    assert memory.framework_bytes > 50e6
    assert memory.weights_bytes == 4 * (
        profile.model.parameters + profile.model.head_parameters
    ) + _buffer_bytes(profile)
    assert profile.device.threads == 1


def _buffer_bytes(profile: Profile) -> int:
    """Position and token type ids that RoBERTa keeps as buffers of 64-bit integers."""
    positions = 70
    assert profile.model.family == "roberta"
    return 2 * 8 * positions


class Impatient(Diary):
    """A listener that stops the measurement as Ctrl-C would."""

    def stage(self, name: str, steps: int) -> None:
        super().stage(name, steps)
        if name == "timing steps":
            raise KeyboardInterrupt


def test_an_interrupt_leaves_no_process_behind(tmp_path: Path) -> None:
    folder, diary = model_folder("bert", tmp_path), Impatient()
    with pytest.raises(KeyboardInterrupt):
        measure_profile(folder, TRAINING, effort=QUICK, threads=1, listener=diary)
    assert not psutil.Process().children()
    assert "random ones are used" in diary.notes[0]
    assert [name for name, *_ in diary.stages] == [
        "counting memory",
        "loading the model",
        "timing steps",
    ]
    assert all(advanced == steps for _, steps, advanced in diary.stages[:2])
