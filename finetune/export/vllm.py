"""A trained adapter as a server with one rank and one scale reads it, such as vLLM.

PEFT scales module m by ``alpha_m / r_m``. A server that knows one alpha and one r computes
``(alpha / r) B'_m A'_m``, so with ``r`` the largest rank, ``A'`` and ``B'`` are padded with
zeros to it and ``B'_m = B_m (alpha_m / r_m) / (alpha / r)``. The products, and so the logits,
are the same. ``alpha / r`` is the largest scale of any module: where all are alike, as in
our own runs, B is not touched.
"""

import math
from pathlib import Path

import peft
import torch
from peft.utils.other import get_pattern_key
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from finetune.export.files import Export, json_bytes
from profiler.schema import InputError, blamed, read_bytes

__all__ = ["render_adapter"]

A, B = ".lora_A.weight", ".lora_B.weight"
PREFIX = "base_model.model."
WEIGHTS = "adapter_model.safetensors"
# What vLLM's --max-lora-rank takes.
SERVER_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def render_adapter(source: Path) -> Export:
    """Fold and pad the adapter of a run.

    Parameters
    ----------
    source : Path
        Folder of a run, or of an adapter that PEFT reads.

    Returns
    -------
    Export
        ``adapter_config.json`` and ``adapter_model.safetensors``.

    Raises
    ------
    InputError
        If the folder holds no LoRA adapter, or one that such a server cannot serve: with a
        trained head, DoRA or biases.
    """
    folder = source / "adapter" if (source / "adapter").is_dir() else source
    config = _config(folder)
    factors = _factors(folder, config)
    with blamed(f"{folder}: its alphas cannot be used", "; expected numbers above 0"):
        scales = {name: _scale(config, name, len(a)) for name, (a, _) in factors.items()}
    rank = max(len(a) for a, _ in factors.values())
    scale = max(scales.values())
    tensors: dict[str, Tensor] = {}
    for name, (a, b) in factors.items():
        tensors[name + A], tensors[name + B] = _padded(a, b, rank, scales[name] / scale)
    fields = _fields(config, sorted(factors), rank, scale)
    return Export(
        files={
            "adapter_config.json": json_bytes(fields),
            WEIGHTS: save_tensors(tensors, metadata={"format": "pt"}),
        },
        notes=_notes(config, rank),
    )


def _config(folder: Path) -> peft.LoraConfig:
    read_bytes(folder / "adapter_config.json")
    with blamed(f"{folder}: PEFT cannot read its configuration"):
        config = peft.PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, peft.LoraConfig):
        raise InputError(f"{folder}: holds a {config.peft_type} adapter; expected LoRA")
    unfit = {
        "DoRA": config.use_dora,
        f"trained biases ('{config.bias}')": config.bias != "none" or config.lora_bias,
        f"a trained head ({', '.join(config.modules_to_save or [])})": config.modules_to_save,
    }
    for what, there in unfit.items():
        if there:
            raise InputError(
                f"{folder}: the adapter comes with {what}, which this export cannot hand to a "
                "server; merge it with PEFT's merge_and_unload and serve the whole model"
            )
    return config


def _factors(folder: Path, config: peft.LoraConfig) -> dict[str, tuple[Tensor, Tensor]]:
    """A (rank, in) and B (out, rank) by module."""
    with blamed(f"{folder / WEIGHTS}: is not safetensors that PyTorch reads"):
        state = load_tensors(read_bytes(folder / WEIGHTS))
    names = [name.removesuffix(A) for name in state if name.endswith(A)]
    odd = sorted(state.keys() - {n + end for n in names for end in (A, B)})
    if odd or not names:
        raise InputError(
            f"{folder / WEIGHTS}: holds {odd[0] if odd else 'no LoRA'}; expected lora_A and "
            "lora_B of linear modules only"
        )
    pairs = {name: (state[name + A], state.get(name + B)) for name in names}
    for name, (a, b) in pairs.items():
        if b is None or not _fit(a, b):
            raise InputError(
                f"{folder / WEIGHTS}: A and B of {name} do not fit each other; expected "
                "matrices of floating point numbers, of one rank above 0"
            )
    return {name: (a, b) for name, (a, b) in pairs.items() if b is not None}


def _fit(a: Tensor, b: Tensor) -> bool:
    whole = a.ndim == b.ndim == 2 and a.is_floating_point() and b.is_floating_point()
    return whole and b.shape[1] == a.shape[0] > 0


def _scale(config: peft.LoraConfig, name: str, rank: int) -> float:
    """Scale that PEFT gives a module, from the alpha of its pattern."""
    module = name.removeprefix(PREFIX)
    alphas = config.alpha_pattern or {}
    alpha = alphas.get(get_pattern_key(alphas.keys(), module), config.lora_alpha)
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha of {module} is {alpha}")
    return float(alpha / rank**0.5 if config.use_rslora else alpha / rank)


def _padded(a: Tensor, b: Tensor, rank: int, factor: float) -> tuple[Tensor, Tensor]:
    extra = rank - len(a)
    wide = b if factor == 1 else (b.double() * factor).to(b.dtype)
    pad = torch.nn.functional.pad
    return pad(a, (0, 0, 0, extra)).contiguous(), pad(wide, (0, extra)).contiguous()


def _fields(
    config: peft.LoraConfig, names: list[str], rank: int, scale: float
) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": config.task_type,
        "base_model_name_or_path": config.base_model_name_or_path,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": scale * rank,
        "target_modules": [name.removeprefix(PREFIX) for name in names],
        "bias": "none",
        "lora_dropout": 0.0,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "fan_in_fan_out": config.fan_in_fan_out,
    }


def _notes(config: peft.LoraConfig, rank: int) -> list[str]:
    fitting = next((r for r in SERVER_RANKS if r >= rank), None)
    if fitting is None:
        return [f"its rank is {rank}; vLLM serves up to {SERVER_RANKS[-1]}"]
    # vLLM reads alpha and rank patterns itself from 0.33 on; older versions ignore them.
    return [
        f"serve it with: vllm serve {config.base_model_name_or_path} --enable-lora "
        f"--max-lora-rank {fitting} --lora-modules legend=FOLDER"
    ]
