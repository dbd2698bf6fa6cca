"""Tiny random models with a tokenizer, data and plans that fit them, for runs of the engine."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from finetune.data.dataset import Examples
from finetune.data.tokens import Batch, load_tokeniser, local_batches
from finetune.model.base import Base, load_base
from profiler.schema import Provenance, Target, Training, write
from solver.plan import (
    Budgets,
    Certificate,
    Codec,
    Configuration,
    Lora,
    Model,
    Plan,
    PlannedDevice,
    PredictedDevice,
    PredictedRound,
    Question,
)

WORDS = [
    "good",
    "fine",
    "great",
    "lovely",
    "warm",
    "bright",
    "bad",
    "poor",
    "awful",
    "dull",
    "cold",
    "grim",
    "the",
    "a",
    "film",
    "plot",
    "actor",
    "scene",
    "music",
    "ending",
    "was",
    "is",
    "seemed",
    "felt",
    "very",
    "quite",
    "rather",
    "hardly",
]
LAYERS = 3
HIDDEN = 16
Family = Literal["bert", "gpt2", "llama"]
LAYERS_PATH = {"bert": "encoder.layer", "gpt2": "h", "llama": "layers"}
TARGETS = {
    "bert": [("attention.self.query", 16, 16), ("attention.self.value", 16, 16)],
    "gpt2": [("attn.c_attn", 16, 48)],
    "llama": [("self_attn.q_proj", 16, 16), ("mlp.up_proj", 16, 32)],
}
HEADS = {"bert": ("classifier", 34), "gpt2": ("score", 32), "llama": ("score", 32)}


class Inputs(NamedTuple):
    """What `legend run` reads."""

    model: Path
    data: Path
    plan: Path


def save_tokenizer(folder: Path) -> None:
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(folder)


def save_model(folder: Path, family: Family, layers: int = LAYERS) -> Path:
    """Save a random model and its tokenizer."""
    torch.manual_seed(0)
    words = len(WORDS) + 3
    if family == "bert":
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=words,
                hidden_size=HIDDEN,
                num_hidden_layers=layers,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=32,
            )
        ).bert
    elif family == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=words,
                n_embd=HIDDEN,
                n_layer=layers,
                n_head=2,
                n_positions=32,
                bos_token_id=2,
                eos_token_id=2,
            )
        )
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=words,
                hidden_size=HIDDEN,
                intermediate_size=32,
                num_hidden_layers=layers,
                num_attention_heads=2,
                num_key_value_heads=2,
                max_position_embeddings=32,
            )
        )
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def write_reviews(path: Path, count: int = 160, separator: str = ",") -> Path:
    """Sentences labelled by whether their one judging word is kind; `critic` is their owner."""
    generator = torch.Generator().manual_seed(1)

    def pick(start: int, stop: int) -> str:
        return WORDS[int(torch.randint(start, stop, (1,), generator=generator))]

    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=separator)
        rows.writerow(["text", "label", "critic"])
        for i in range(count):
            judgement = pick(0, 6) if i % 2 else pick(6, 12)
            filler = [pick(12, len(WORDS)) for _ in range(2 + i % 5)]
            rows.writerow([" ".join([*filler, judgement]), i % 2, f"critic-{i % 12}"])
    return path


def make_plan(
    family: Family = "bert",
    shapes: Sequence[Sequence[int]] = ((0, 0, 4), (0, 3, 4), (2, 3, 4)),
    *,
    ranks: Sequence[int] = (2, 3, 4),
    devices: int = 6,
    structure: Literal["shared", "capped"] = "shared",
    task: Literal["classification", "causal-lm"] = "classification",
    dropout: bool = True,
    bytes_per_parameter: float = 4.0,
    training: Training | None = None,
    codec: Codec = "none",
    download: Literal["own", "stacked"] = "own",
    download_codec: Codec = "none",
) -> Plan:
    """Plan of a few devices that take the shapes in turn; the last device takes no part."""
    model = _planned_model(family, task)
    part = [sum(shapes[index % len(shapes)]) for index in range(devices - 1)]

    def predicted(index: int) -> PredictedDevice:
        stacked = sum(part) if download == "stacked" else part[index]
        return _predicted(
            index,
            upload_bytes=_sent_bytes(model, part[index], codec, bytes_per_parameter),
            download_bytes=_sent_bytes(model, stacked, download_codec, bytes_per_parameter),
        )

    return Plan(
        provenance=Provenance(version="0.1.0", created="2026-01-01", host="test"),
        model=model,
        training=training
        or Training(
            batch_size=4,
            sequence_length=16,
            dropout=dropout,
            task=task,
            labels=2 if task == "classification" else 0,
        ),
        lora=Lora(
            parameters_per_rank=[_per_rank(model)] * LAYERS,
            bytes_per_parameter=bytes_per_parameter,
        ),
        question=Question(
            policy="exact",
            structure=structure,
            rank_choices=[1, 2, 3, 4],
            budgets=Budgets(),
            upload_codec=codec,
            download_codec=download_codec,
            download=download,
        ),
        ranks=list(ranks),
        configurations=[
            Configuration(depth=sum(r > 0 for r in shape), ranks=list(shape))
            for shape in shapes
        ],
        devices=[
            PlannedDevice(
                name=f"device-{i}",
                device_class="tiny",
                configuration=None if i == devices - 1 else i % len(shapes),
                examples=20,
                local_steps=3,
                predicted=None if i == devices - 1 else predicted(i),
            )
            for i in range(devices)
        ],
        predicted=PredictedRound(
            utility=0.5,
            round_time_s=20.0,
            mean_wait_s=2.0,
            upload_bytes=1.0,
            download_bytes=1.0,
            energy_j=0.0,
        ),
        certificate=Certificate(
            status="optimal", method="test", value=0.5, bound=0.5, gap_fraction=0.0
        ),
    )


def _planned_model(family: Family, task: str) -> Model:
    head, head_parameters = HEADS[family] if task == "classification" else ("", 0)
    return Model(
        name="tiny",
        config_sha256="0" * 64,
        family=family,
        layers=LAYERS,
        hidden_size=HIDDEN,
        parameters=1000,
        head_parameters=head_parameters,
        head_modules=[head] if head else [],
        layers_path=LAYERS_PATH[family],
        targets=[Target(name=n, in_features=i, out_features=o) for n, i, o in TARGETS[family]],
    )


def _per_rank(model: Model) -> int:
    """Parameters that a rank has in one layer."""
    return sum(t.in_features + t.out_features for t in model.targets)


def _sent_bytes(model: Model, ranks: int, codec: Codec, bytes_per_parameter: float) -> float:
    """What an adapter of so many ranks in all layers takes on the wire, with its head."""
    if codec == "int8":
        return ranks * (_per_rank(model) + 8 * len(model.targets)) + 2 * model.head_parameters
    width = 2 if codec == "float16" else bytes_per_parameter
    return width * (ranks * _per_rank(model) + model.head_parameters)


def _predicted(index: int, *, upload_bytes: float, download_bytes: float) -> PredictedDevice:
    return PredictedDevice(
        time_s=10.0 + index,
        compute_s=8.0 + index,
        upload_s=1.0,
        download_s=1.0,
        wait_s=0.0,
        memory_bytes=1e6,
        upload_bytes=upload_bytes,
        download_bytes=download_bytes,
        energy_j=0.0,
    )


def write_plan(path: Path, plan: Plan) -> Path:
    write(path, plan)
    return path


def batches_of(plan: Plan, folder: Path, steps: int = 4) -> list[Batch]:
    texts = ["the film was good", "a dull scene", "the plot seemed very grim", "fine", "cold"]
    examples = Examples(texts, np.array([1, 0, 0, 1, 0]), [""] * 5)
    data = load_tokeniser(folder, plan.training)(examples)
    return list(local_batches(data, np.arange(5), steps, 2, np.random.default_rng(0)))


def base_of(plan: Plan, folder: Path) -> Base:
    return load_base(plan, folder, seed=0, pad_id=0)
