"""What a run leaves: the trained adapter in PEFT's format, and a summary."""

import json
import math
from pathlib import Path

from msgspec import Struct
from safetensors.torch import save as save_tensors

from finetune.base import Base
from finetune.evaluate import Score
from finetune.metrics import RoundMetrics, time_to_accuracy_s
from finetune.replica import lora_config
from finetune.state import State
from profiler.schema import Provenance
from solver.plan import Plan, write_bytes

__all__ = ["Summary", "save_adapter", "summarise"]


class Summary(Struct, frozen=True, kw_only=True):
    """``summary.json``: a run in figures.

    Parameters
    ----------
    stopped : str
        Why it ended: ``rounds``, ``target accuracy`` or ``time limit``.
    final_accuracy, final_loss, best_accuracy : float
        On the test examples: of the saved adapter, and the best of any round.
    virtual_time_s, mean_wait_s : float
        Virtual clock at the end; mean over the rounds of the mean wait.
    upload_bytes, download_bytes : float
        Sum over rounds and devices.
    time_to_accuracy_s : dict of str to float
        Virtual time at which each whole per cent (as "0.80") was first reached, from the
        accuracy of the first evaluation on.
    refused : int
        Updates left out.
    """

    schema: str = "legend/run/1"
    provenance: Provenance
    policy: str
    aggregation: str
    stopped: str
    rounds: int
    final_accuracy: float
    final_loss: float
    best_accuracy: float
    virtual_time_s: float
    mean_wait_s: float
    upload_bytes: float
    download_bytes: float
    time_to_accuracy_s: dict[str, float]
    train_examples: int
    test_examples: int
    labels: list[str]
    devices: int
    refused: int


def summarise(
    plan: Plan,
    rows: list[RoundMetrics],
    final: Score,
    provenance: Provenance,
    *,
    aggregation: str,
    stopped: str,
    train_examples: int,
    test_examples: int,
    labels: list[str],
    devices: int,
) -> Summary:
    """Sum up a run of one round or more; `final` is the score of the saved adapter."""
    accuracies = [r.test_accuracy for r in rows if r.test_accuracy is not None]
    return Summary(
        provenance=provenance,
        policy=plan.question.policy,
        aggregation=aggregation,
        stopped=stopped,
        rounds=len(rows),
        final_accuracy=final.accuracy,
        final_loss=final.loss,
        best_accuracy=max([*accuracies, final.accuracy]),
        virtual_time_s=rows[-1].virtual_time_s,
        mean_wait_s=sum(r.mean_wait_s for r in rows) / len(rows),
        upload_bytes=rows[-1].upload_bytes,
        download_bytes=rows[-1].download_bytes,
        time_to_accuracy_s=_milestones(rows),
        train_examples=train_examples,
        test_examples=test_examples,
        labels=labels,
        devices=devices,
        refused=sum(len(r.refused) for r in rows),
    )


def save_adapter(folder: Path, base: Base, plan: Plan, server: State) -> None:
    """Write the server's adapter and head as ``PeftModel.from_pretrained`` reads them.

    The configuration is written here and not by PEFT, which stores sets in the order of
    their hashes: the same run would give other bytes every time.
    """
    folder.mkdir(exist_ok=True)
    fields = lora_config(base, plan, plan.ranks).to_dict()
    fields["target_modules"] = sorted(fields["target_modules"])
    fields["modules_to_save"] = base.head_modules or None
    fields["base_model_name_or_path"] = plan.model.name
    fields["task_type"] = None
    fields["inference_mode"] = True
    text = json.dumps(fields, indent=2, sort_keys=True)
    write_bytes(folder / "adapter_config.json", text.encode() + b"\n")
    write_bytes(
        folder / "adapter_model.safetensors", save_tensors(server, metadata={"format": "pt"})
    )


def _milestones(rows: list[RoundMetrics]) -> dict[str, float]:
    """Virtual time to each whole per cent, from the accuracy of the first evaluation on."""
    first = next((r.test_accuracy for r in rows if r.test_accuracy is not None), 1.0)
    percents = range(math.ceil(100 * first), 101)
    times = {f"{p / 100:.2f}": time_to_accuracy_s(rows, p / 100) for p in percents}
    return {accuracy: time for accuracy, time in times.items() if time is not None}
