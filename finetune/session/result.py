"""What a run leaves: the trained adapter in PEFT's format, and a summary."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from safetensors.torch import save as save_tensors

from finetune.export.files import json_bytes
from finetune.export.peft import lora_config
from finetune.model.base import Base
from finetune.model.evaluate import Score
from finetune.model.fold import fold
from finetune.model.state import State
from finetune.monitor.metrics import RoundMetrics, milestones
from finetune.session.setup import Federation
from profiler.schema import Provenance
from solver.plan import Configuration, InputError, Plan, write_bytes

__all__ = ["Summary", "save_adapter", "summarise"]


class Summary(Struct, frozen=True, kw_only=True):
    """``summary.json``: a run in figures."""

    schema: str = "legend/run/1"
    provenance: Annotated[Provenance, Meta(description="what made the file")]
    policy: Annotated[str, Meta(description="way in which the run was planned")]
    aggregation: Annotated[str, Meta(description="how the server combined updates")]
    stopped: Annotated[
        str, Meta(description="why it ended: 'rounds', 'target accuracy' or 'time limit'")
    ]
    rounds: Annotated[int, Meta(description="rounds played")]
    final_accuracy: Annotated[
        float, Meta(description="of the saved adapter on the test examples")
    ]
    final_loss: Annotated[float, Meta(description="of the saved adapter on the test examples")]
    best_accuracy: Annotated[float, Meta(description="best of any evaluation")]
    virtual_time_s: Annotated[float, Meta(description="virtual clock at the end")]
    mean_wait_s: Annotated[float, Meta(description="mean over the rounds of the mean wait")]
    upload_bytes: Annotated[float, Meta(description="sum over rounds and devices")]
    download_bytes: Annotated[float, Meta(description="sum over rounds and devices")]
    time_to_accuracy_s: Annotated[
        dict[str, float],
        Meta(
            description='virtual time at which each whole per cent (as "0.80") was first '
            "reached, from the accuracy of the first evaluation on"
        ),
    ]
    train_examples: Annotated[int, Meta(description="training examples of all devices")]
    test_examples: Annotated[int, Meta(description="examples held out for testing")]
    labels: Annotated[list[str], Meta(description="name of each class")]
    devices: Annotated[int, Meta(description="devices that take part in the plan")]
    refused: Annotated[int, Meta(description="updates left out")]
    refused_by_kind: Annotated[
        dict[str, int],
        Meta(description="updates left out, by the reason in a word, such as 'not finite'"),
    ] = {}
    mean_aggregation_error: Annotated[
        float | None,
        Meta(
            description="mean over the rounds of the error of combining factors apart, "
            "relative; null where nothing was combined"
        ),
    ] = None
    plans: Annotated[
        int, Meta(description="plans adopted after the one the run began with")
    ] = 0
    final_perplexity: Annotated[
        float | None,
        Meta(description="of the saved adapter on the test texts; null for classification"),
    ] = None


def summarise(
    plan: Plan,
    federation: Federation,
    rows: list[RoundMetrics],
    final: Score,
    stopped: str,
    origin: Provenance,
) -> Summary:
    """Sum up a run of one round or more; `final` is the score of the saved adapter."""
    accuracies = [r.test_accuracy for r in rows if r.test_accuracy is not None]
    errors = [r.aggregation_error for r in rows if r.aggregation_error is not None]
    refused = [refusal for r in rows for refusal in r.refused]
    return Summary(
        provenance=origin,
        policy=plan.question.policy,
        aggregation=federation.aggregation,
        stopped=stopped,
        rounds=len(rows),
        final_accuracy=final.accuracy,
        final_loss=final.loss,
        best_accuracy=max([*accuracies, final.accuracy]),
        virtual_time_s=rows[-1].virtual_time_s,
        mean_wait_s=sum(r.mean_wait_s for r in rows) / len(rows),
        upload_bytes=rows[-1].upload_bytes,
        download_bytes=rows[-1].download_bytes,
        time_to_accuracy_s=milestones(rows),
        train_examples=len(federation.dataset.train.texts),
        test_examples=len(federation.dataset.test.texts),
        labels=federation.dataset.label_names,
        devices=len(federation.devices),
        refused=len(refused),
        refused_by_kind=dict(sorted(Counter(r.kind for r in refused).items())),
        mean_aggregation_error=sum(errors) / len(errors) if errors else None,
        plans=rows[-1].plan,
        final_perplexity=final.perplexity if plan.training.task == "causal-lm" else None,
    )


def save_adapter(folder: Path, base: Base, plan: Plan, server: State) -> None:
    """Write the server's adapter and head as ``PeftModel.from_pretrained`` reads them.

    The configuration is the one that `finetune.export` writes, not what PEFT would: PEFT
    stores sets in the order of their hashes, so the same run would give other bytes. What an
    aggregation has added to the base goes into the adapter, whose ranks then grow to what
    that needs: it loads onto the base as it was published.
    """
    _make_folder(folder)
    adapter, ranks = fold(plan, server, f"base_model.model.{base.prefix}.")
    whole = Configuration(depth=sum(rank > 0 for rank in ranks), ranks=ranks)
    heads = {"modules_to_save": base.head_modules or None, "inference_mode": True}
    fields = lora_config(plan, whole) | heads
    write_bytes(folder / "adapter_config.json", json_bytes(fields))
    tensors = {**adapter, **base.made_up}
    write_bytes(
        folder / "adapter_model.safetensors", save_tensors(tensors, metadata={"format": "pt"})
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); mend that and go on with --resume"
        ) from None
