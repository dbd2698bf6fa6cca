"""The adapter for a server with one rank and one scale: PEFT itself finds the same logits."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from finetune.cli.export import export
from finetune.export.files import write_export
from finetune.export.vllm import render_adapter
from solver.plan import InputError
from tests.finetune.export.peft_models import bert, llama

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")

TOKENS = torch.arange(24).reshape(2, 12) % 32
RANKS = {"q_proj": 2, "v_proj": 5, "up_proj": 3}


def base() -> nn.Module:
    torch.manual_seed(0)
    model = llama()[0].eval()
    model.name_or_path = "tiny"  # type: ignore[assignment]
    return model


def trained(folder: Path, **fields: Any) -> Tensor:
    """Save an adapter whose layers differ in rank and alpha, and return its logits."""
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=list(RANKS), rank_pattern=RANKS, **fields
    )
    adapted = get_peft_model(base(), config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter))
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return logits(adapted)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(TOKENS).logits
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"alpha_pattern": {"layers.11.self_attn.q_proj": 9, "up_proj": 1}},
        {"alpha_pattern": {"q_proj": 7}, "use_rslora": True},
    ],
)
def test_one_rank_and_one_scale_give_the_same_logits(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    expected = trained(tmp_path / "run" / "adapter", **fields)
    write_export(render_adapter(tmp_path / "run"), tmp_path / "out")
    said = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert said["r"] == 5
    assert not {"rank_pattern", "alpha_pattern"} & said.keys()
    served = PeftModel.from_pretrained(base(), tmp_path / "out").eval()
    scales = {m.scaling["default"] for m in served.modules() if hasattr(m, "lora_A")}
    ranks = {len(m.lora_A["default"].weight) for m in served.modules() if hasattr(m, "lora_A")}
    assert scales == {said["lora_alpha"] / 5}
    assert ranks == {5}
    assert not torch.allclose(expected, logits(base()), atol=1e-2)
    torch.testing.assert_close(logits(served), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        logits(served.merge_and_unload()), expected, atol=1e-5, rtol=1e-5
    )


def test_a_scale_that_is_the_same_everywhere_leaves_b_alone(tmp_path: Path) -> None:
    alphas = {name: 2 * rank for name, rank in RANKS.items()}
    expected = trained(tmp_path / "in", alpha_pattern=alphas)
    write_export(render_adapter(tmp_path / "in"), tmp_path / "out")
    assert (
        json.loads((tmp_path / "out" / "adapter_config.json").read_text())["lora_alpha"] == 10
    )
    served = PeftModel.from_pretrained(base(), tmp_path / "out").eval()
    torch.testing.assert_close(logits(served), expected, atol=1e-6, rtol=1e-6)


def test_a_trained_head_or_dora_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "dora", use_dora=True)
    with pytest.raises(InputError, match="comes with DoRA"):
        render_adapter(tmp_path / "dora")
    model = bert()[0]
    config = LoraConfig(target_modules=["query"], task_type="SEQ_CLS")
    get_peft_model(model, config).save_pretrained(
        tmp_path / "head", save_embedding_layers=False
    )
    with pytest.raises(InputError, match=r"comes with a trained head \(classifier"):
        render_adapter(tmp_path / "head")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora_alpha": 0}, r"alpha of .* is 0\); expected numbers"),
        ({"lora_alpha": float("nan")}, "alpha of .* is nan"),
        ({"alpha_pattern": {"q_proj": "much"}}, "its alphas cannot be used"),
        ({"alpha_pattern": {"(": 3}}, "its alphas cannot be used"),
        ({"alpha_pattern": ["q_proj"]}, "its alphas cannot be used"),
    ],
)
def test_alphas_that_scale_nothing_are_one_line(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    trained(tmp_path)
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    with pytest.raises(InputError, match=message) as raised:
        render_adapter(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("dtype", "rank", "message"),
    [("F32", 0, "of one rank above 0"), ("I8", 2, "floating point"), ("F8_E8M0", 2, "is not")],
)
def test_tensors_that_are_no_factors_are_one_line(
    tmp_path: Path, dtype: str, rank: int, message: str
) -> None:
    trained(tmp_path)
    size = 8 * rank * (4 if dtype == "F32" else 1)
    module = "base_model.model.q_proj"
    header = {
        f"{module}.lora_A.weight": (rank, 8, 0, size),
        f"{module}.lora_B.weight": (8, rank, size, 2 * size),
    }
    entries = {
        name: {"dtype": dtype, "shape": [rows, columns], "data_offsets": [start, end]}
        for name, (rows, columns, start, end) in header.items()
    }
    text = json.dumps(entries).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(2 * size)
    (tmp_path / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=message) as raised:
        render_adapter(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_no_adapter_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    arguments = ["--to", "vllm", "-o", str(tmp_path / "out")]
    for source in (tmp_path / "plan.json", tmp_path, tmp_path / "none"):
        done = CliRunner().invoke(export, [str(source), *arguments])
        assert isinstance(done.exception, InputError)
        assert "\n" not in str(done.exception)
    trained(tmp_path / "in")
    weights = tmp_path / "in" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="is not safetensors"):
        render_adapter(tmp_path / "in")
