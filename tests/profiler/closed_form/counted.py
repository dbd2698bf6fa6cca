"""Tiny models, looked at by both ways of counting."""

import json
from pathlib import Path
from typing import Any

from profiler.anatomy import examine
from profiler.checkpoint import open_checkpoint, settle
from profiler.closed_form.architectures import read_architecture
from profiler.closed_form.simulate import Setting
from profiler.memory.count import Peaks, probe
from profiler.probes import ranks_at
from profiler.schema import Training
from tests.profiler.closed_form.tiny import tiny

PLAIN: dict[str, Any] = {"batch_size": 3, "sequence_length": 24}

# Families by kind: encoders, decoders with a table of positions, Llama's kin, others.
EXACT = [
    *("bert", "roberta", "distilbert", "mpnet", "electra", "modernbert"),
    *("gpt2", "opt"),
    *("llama", "qwen3"),
    *("gemma", "gemma2", "gemma3_text", "olmo2", "smollm3"),
    *("phi3", "starcoder2", "gpt_neox"),
]


class Case:
    """A tiny model, looked at by both ways of counting."""

    def __init__(
        self, folder: Path, family: str, training: Training, targets: tuple[str, ...] = ()
    ) -> None:
        tiny(family).save_pretrained(folder)
        self.checkpoint = open_checkpoint(str(folder))
        self.training, _ = settle(self.checkpoint, training)
        self.anatomy = examine(self.checkpoint, self.training, targets)
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.setting = Setting(
            architecture=read_architecture(content),
            training=self.training,
            adapted=tuple(t.name for t in self.anatomy.model.targets),
            fused=False,
        )

    def fake(self, depth: int, rank: int) -> Peaks:
        ranks = ranks_at(self.anatomy.model.layers, depth, rank)
        return probe(self.checkpoint, self.anatomy, self.training, ranks)
