"""A solved plan for a real pretrained BERT, exported and built by PEFT on its real weights."""

from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from benchmarks.fetch import MINILM, cache_folder
from finetune.export.files import write_export
from finetune.export.peft import render
from profiler.fleet import FleetRequest, preset_fleet
from profiler.schema import Training
from solver.planner import solve
from solver.problem import Problem
from tests.finetune.export.peft_models import lora_modules

pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = cache_folder() / f"{MINILM.name}-{MINILM.version}"


@pytest.mark.skipif(
    not MODEL.is_dir(), reason="the real model is not here; 'legend demo' fetches it"
)
def test_every_module_of_a_real_model_is_as_planned(tmp_path: Path) -> None:
    request = FleetRequest(
        preset="paper-80",
        seed=0,
        devices=0,
        local_steps=10,
        model=str(MODEL),
        training=Training(batch_size=16, sequence_length=128),
        profile=None,
        profile_path=None,
        options={},
    )
    fleet = preset_fleet(request)
    plan = solve(Problem.of(fleet, round_time_s=8.0, ranks=range(1, 33)))
    write_export(render(plan), tmp_path)
    shapes = [c for c in plan.configurations if c.depth]
    assert len(shapes) > 1
    assert len({r for c in shapes for r in c.ranks if r}) > 1
    for shape in (shapes[0], shapes[-1]):
        index = plan.configurations.index(shape)
        base = AutoModelForSequenceClassification.from_pretrained(MODEL, local_files_only=True)
        config = LoraConfig.from_pretrained(tmp_path / f"configuration-{index}")
        adapted = get_peft_model(base, config)
        modules = lora_modules(adapted)
        assert len(modules) == shape.depth * len(plan.model.targets)
        for name, module in modules.items():
            layer = int(name.split("layer.")[1].split(".")[0])
            assert module.r["default"] == shape.ranks[layer]
            assert module.scaling["default"] == plan.lora.scaling
        trained = {n: p.numel() for n, p in adapted.named_parameters() if p.requires_grad}
        lora = sum(count for name, count in trained.items() if "lora_" in name)
        sizes = plan.lora.parameters_per_rank
        assert lora == sum(s * r for s, r in zip(sizes, shape.ranks, strict=True))
        assert sum(trained.values()) - lora == plan.model.head_parameters
