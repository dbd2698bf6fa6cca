"""Caches, changed bases, codecs and new plans in one run."""

import itertools
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from finetune.model.carry import carry
from finetune.model.state import DELTA, KEPT_BY, A, B, lora_modules
from finetune.monitor.metrics import read_metrics
from finetune.options import RunOptions
from finetune.session.setup import Sources, set_up
from solver.plan import Plan, read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import ADAPTER, files_of_run
from tests.finetune.runs import make_plan

OPTIONS = RunOptions(rounds=3, sample=5, learning_rate=1e-2)
NOTHING_KEPT = replace(OPTIONS, cache_memory_mb=0, cache_disk_mb=0)


def caching(plan: Plan, *kinds: str) -> Plan:
    by_turns = itertools.cycle(kinds)
    return replace(plan, devices=[replace(d, cache=next(by_turns)) for d in plan.devices])


@pytest.mark.parametrize("aggregation", ["fedex", "flora", "hlora"])
def test_what_is_below_the_adapted_layers_never_changes(
    inputs: MakeInputs, tmp_path: Path, aggregation: str
) -> None:
    # Devices of depth 1 keep states of layers that the others' rounds change the base of.
    plan = make_plan(
        codec="int8",
        download="stacked" if aggregation == "flora" else "own",
        download_codec="int8" if aggregation == "hlora" else "none",
    )
    given = inputs(caching(plan, "always", "round", "off"))
    kept, anew = (
        files_of_run(given, tmp_path / name, replace(options, aggregation=aggregation))
        for name, options in (("kept", OPTIONS), ("anew", NOTHING_KEPT))
    )
    assert kept == anew
    assert not any(read_metrics(tmp_path / "kept")["refused"])
    saved = load_file(tmp_path / "kept" / ADAPTER)
    assert not any(KEPT_BY in name or name.endswith(DELTA) for name in saved)


def test_the_base_of_a_new_plan_is_the_original(inputs: MakeInputs) -> None:
    given = inputs()
    plan, sources = read_plan(given.plan), Sources(*given[:2])
    options = replace(OPTIONS, aggregation="fedex")
    first = set_up(plan, sources, options, lambda: None)
    before = first.evaluate(first.start)
    noise = torch.Generator().manual_seed(0)
    changed = {
        module + DELTA: torch.randn(
            len(first.start[module + B]), first.start[module + A].shape[1], generator=noise
        )
        for module in lora_modules(first.start)
    }
    after = first.evaluate(first.start | changed)
    assert after != before
    second = set_up(plan, sources, options, lambda: None, first.loaded)
    assert second.evaluate(second.start) == before
    assert second.evaluate(second.start | changed) == after
    carried = carry(first.start | changed, second.start)
    assert second.evaluate(carried) == after


def test_what_a_device_kept_is_dropped_where_its_ranks_mean_something_else(
    inputs: MakeInputs,
) -> None:
    def start(ranks: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        plan = make_plan(shapes=(ranks,), ranks=ranks)
        return set_up(plan, Sources(*inputs(plan)[:2]), OPTIONS, lambda: None).start

    state = start((2, 3, 4))
    state |= {f"{name}{KEPT_BY}1": torch.ones_like(t) for name, t in state.items()}
    carried = carry(state, start((2, 4, 2)))
    left = {name.split("layer.")[1][0] for name in carried if KEPT_BY in name and A in name}
    assert left == {"0", "1"}
