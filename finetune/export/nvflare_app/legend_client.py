"""A site of the plan: receives its part of the server's adapter, trains it, sends it back.

``adapter_config.json`` beside this file is the site's shape (null: the head alone) and
``sites.json`` says its local steps and examples. What is trained on is the site's own affair:
see ``local_training.py``.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import nvflare.client as flare
import peft
import torch
from local_training import load_model, train

HERE = Path(__file__).resolve().parent
PREFIX = "base_model.model."


def build(shape: dict[str, Any] | None, heads: list[str]) -> torch.nn.Module:
    """Adapted model of a shape; all sites start from the same head and the same A."""
    torch.manual_seed(0)
    model: torch.nn.Module = load_model()
    model.requires_grad_(False)
    if shape is None:
        for name in heads:
            model.get_submodule(name).requires_grad_(True)
        return model
    fields = {k: v for k, v in shape.items() if k not in ("peft_type", "inference_mode")}
    adapted: torch.nn.Module = peft.get_peft_model(model, peft.LoraConfig(**fields))
    return adapted


def trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """What trains, under the names PEFT saves it by."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = name.replace(".modules_to_save.default.", ".").replace(".default.", ".")
            found[plain if plain.startswith(PREFIX) else PREFIX + plain] = parameter
    return found


def load(model: torch.nn.Module, server: dict[str, Any]) -> None:
    """Take the leading ranks of the server's arrays; A that it lacks starts by its name."""
    for name, parameter in trained(model).items():
        if name in server:
            place = tuple(slice(size) for size in parameter.shape)
            value = np.asarray(server[name], np.float64)[place]
        elif ".lora_A." in name:
            # The first rows are the same whatever the rank, so shapes nest from the start.
            generator = np.random.default_rng(zlib.crc32(name.encode()))
            bound = parameter.shape[1] ** -0.5
            value = generator.uniform(-bound, bound, tuple(parameter.shape))
        else:
            continue
        with torch.no_grad():
            parameter.copy_(torch.as_tensor(value, dtype=parameter.dtype))


def main() -> None:
    """Play rounds until the server ends the job."""
    flare.init()
    site = json.loads((HERE / "sites.json").read_text())[flare.get_site_name()]
    shape = json.loads((HERE / "adapter_config.json").read_text())
    model = build(shape, site["head_modules"])
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        load(model, received.params or {})
        train(model, site["local_steps"], site["batch_size"])
        arrays = {n: p.detach().float().cpu().numpy() for n, p in trained(model).items()}
        meta = {"examples": site["examples"], "NUM_STEPS_CURRENT_ROUND": site["local_steps"]}
        flare.send(flare.FLModel(params=arrays, meta=meta))


main()
