"""The families of models that a plan may be for: built, trained and saved by PEFT's names."""

from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.data.tokens import Tokenised
from finetune.local.train import LocalSettings, train
from finetune.model.replica import Replica
from tests.finetune.families import FAMILIES, save_family


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_trains_adapters_and_head_only(
    tmp_path: Path, family: str, named: bool
) -> None:
    base, plan = save_family(tmp_path, family, named=named)
    heads, head_parameters = FAMILIES[family][2], plan.model.head_parameters
    assert sorted(base.head_modules) == sorted(heads)
    replica = Replica(base, plan, [0, 3, 4], seed=0)
    start = replica.state()
    adapted = sum(t.numel() for n, t in start.items() if "lora_" in n)
    (module,) = plan.model.targets
    assert adapted == (3 + 4) * (module.in_features + module.out_features)
    assert sum(t.numel() for t in start.values()) == adapted + head_parameters
    data = Tokenised([[5, 6, 7], [8, 9]], np.array([0, 1]), pad_id=0, causal=False)
    train(replica, [data.batch([0, 1])] * 2, LocalSettings("adamw", 1e-2, 0), seed=0)
    assert all(not torch.equal(t, start[n]) for n, t in replica.state().items())
