"""The NVFlare job: who gets which shape, its mean, and a real simulator where there is one."""

import importlib.util
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from finetune.aggregate.layerwise import LayerwiseMean
from finetune.exchange.updates import Update
from finetune.export.files import write_export
from finetune.export.nvflare import render
from finetune.export.nvflare_app.legend_mean import mean_by_holder, usable
from solver.plan import InputError, Plan
from tests.finetune.plans import plan_to_show
from tests.finetune.runs import make_plan, save_model, write_reviews


def job(plan: Plan, folder: Path) -> dict[str, Any]:
    write_export(render(plan), folder)
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    return meta


def test_every_device_is_a_site_with_its_shape(tmp_path: Path) -> None:
    plan = plan_to_show(depths=(0, 3, 6))
    twins = replace(plan.devices[1], count=2)
    plan = replace(plan, devices=[plan.devices[0], twins, *plan.devices[2:]])
    meta = job(plan, tmp_path)
    assert meta["min_clients"] == 9
    deployed = {site: app for app, sites in meta["deploy_map"].items() for site in sites}
    for device in plan.devices:
        names = [f"{device.name}-1", f"{device.name}-2"] if device.count > 1 else [device.name]
        for name in names:
            if device.configuration is None:
                assert name not in deployed
                continue
            custom = tmp_path / deployed[name] / "custom"
            adapter = json.loads((custom / "adapter_config.json").read_text())
            ranks = [r for r in plan.configurations[device.configuration].ranks if r]
            assert list((adapter or {"rank_pattern": {}})["rank_pattern"].values()) == ranks
            site = json.loads((custom / "sites.json").read_text())[name]
            assert (site["local_steps"], site["examples"]) == (5, device.examples)


def test_a_name_that_no_site_can_have_is_refused() -> None:
    plan = plan_to_show()
    evil = replace(plan.devices[0], name="../evil")
    with pytest.raises(InputError, match="cannot be the name of an NVFlare site"):
        render(replace(plan, devices=[evil, *plan.devices[1:]]))


@pytest.mark.parametrize("shape", [0, 1])
def test_no_two_devices_are_the_same_site(shape: int) -> None:
    """One that stands for several is numbered, and may come to the name of another."""
    plan = plan_to_show()
    twins = replace(plan.devices[0], name="van", count=2, configuration=0)
    third = replace(plan.devices[1], name="van-2", configuration=shape)
    with pytest.raises(InputError, match="2 devices would be NVFlare site 'van-2'"):
        render(replace(plan, devices=[twins, third, *plan.devices[2:]]))


def test_the_mean_is_that_of_our_engine_where_ranks_are_alike() -> None:
    generator = torch.Generator().manual_seed(0)

    def state(names: str) -> dict[str, torch.Tensor]:
        return {n: torch.randn(3, 4, generator=generator) for n in names}

    server, states = state("abcd"), [state("abc"), state("bc"), state("c")]
    updates = [
        Update(device=str(i), examples=10 + i, received={}, state=s, train_loss=0.0)
        for i, s in enumerate(states)
    ]
    ours = LayerwiseMean().join(server, updates, 0)
    theirs = mean_by_holder(
        [(u.examples, {n: t.numpy() for n, t in u.state.items()}) for u in updates],
        {n: t.numpy() for n, t in server.items()},
    )
    assert theirs.keys() == ours.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(theirs[name], tensor.numpy(), rtol=1e-6, atol=1e-7)


def test_each_rank_is_meant_over_those_who_have_it() -> None:
    small, large = np.full((1, 2), 1.0, np.float32), np.full((3, 2), 4.0, np.float32)
    before = {"a": np.full((4, 2), 9.0, np.float32)}
    mean = mean_by_holder([(1.0, {"a": small}), (2.0, {"a": large})], before)["a"]
    assert mean.tolist() == [[3, 3], [4, 4], [4, 4], [9, 9]]


@pytest.mark.parametrize(
    ("weight", "number"),
    [
        (0, 1),
        (-3, 1),
        (math.nan, 1),
        (math.inf, 1),
        (2, math.nan),
        (2, math.inf),
    ],
)
def test_a_site_that_would_spoil_the_mean_is_left_out(weight: float, number: float) -> None:
    arrays = {"a": np.ones((2, 2), np.float32), "b": np.full((1, 2), number, np.float32)}
    assert not usable(weight, arrays)
    assert usable(2, {"a": arrays["a"]})


class Listener(torch.nn.Module):
    """A model that notes what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[dict[str, torch.Tensor]] = []

    def forward(self, **batch: torch.Tensor) -> SimpleNamespace:
        self.seen.append(batch)
        return SimpleNamespace(loss=self.weight.square())


def test_a_site_whose_tokenizer_knows_no_padding_learns_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(make_plan("gpt2", task="causal-lm"), tmp_path / "job")
    folder = save_model(tmp_path / "model", "gpt2")
    path = folder / "tokenizer_config.json"
    known = json.loads(path.read_text())
    del known["pad_token"]
    path.write_text(json.dumps(known | {"eos_token": "[CLS]"}))
    monkeypatch.setenv("LEGEND_MODEL", str(folder))
    monkeypatch.setenv("LEGEND_DATA", str(write_reviews(tmp_path / "reviews.csv")))
    code = next((tmp_path / "job").rglob("local_training.py"))
    spec = importlib.util.spec_from_file_location("local_training", code)
    assert spec is not None
    assert spec.loader is not None
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    model = Listener()
    site.train(model, 2, 8)
    for batch in model.seen:
        padding = batch["attention_mask"] == 0
        assert padding.any()
        assert torch.equal(batch["labels"] == -100, padding)
    assert site.load_model().config.pad_token_id == 2


@pytest.mark.skipif(
    shutil.which("nvflare") is None, reason="NVFlare is not installed (pip install nvflare)"
)
def test_the_simulator_runs_the_job(tmp_path: Path) -> None:
    plan = make_plan(shapes=((0, 0, 4), (0, 2, 3)), devices=3, structure="capped")
    named = [replace(d, name=f"site-{i}", local_steps=2) for i, d in enumerate(plan.devices)]
    job(replace(plan, devices=named), tmp_path / "job")
    model = save_model(tmp_path / "model", "bert")
    data = write_reviews(tmp_path / "reviews.csv")
    path = tmp_path / "job" / "app_server" / "config" / "config_fed_server.json"
    path.write_text(path.read_text().replace('"num_rounds": 10', '"num_rounds": 1'))
    done = subprocess.run(
        ["nvflare", "simulator", "job", "-w", "ws", "-c", "site-0,site-1", "-t", "1"],
        cwd=tmp_path,
        env=os.environ | {"LEGEND_MODEL": str(model), "LEGEND_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    (saved,) = (tmp_path / "ws").rglob("adapter_model.safetensors")
    ranks = {
        int(name.split("layer.")[1].split(".")[0]): len(tensor)
        for name, tensor in load_file(saved).items()
        if "lora_A" in name
    }
    assert ranks == {1: 2, 2: 4}, done.stdout[-2000:]
