"""Whole runs: what they write, that they repeat, resume, refuse and stop."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import torch
from msgspec.structs import replace
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from finetune.data.dataset import load_dataset
from finetune.data.partition import partition
from finetune.deterministic import deterministic
from finetune.exchange.messages import Answer, Task
from finetune.local.in_process import InProcessEngine
from finetune.model.replica import Replica
from finetune.model.state import State
from finetune.monitor.metrics import RoundMetrics, read_metrics
from finetune.options import RunOptions
from finetune.run import Stopped, run
from finetune.server.schedule import HALVING, learning_rate
from finetune.session.result import Summary
from finetune.session.setup import Sources, set_up
from profiler.labelled import read_table
from solver.plan import InputError, Plan, read_plan
from tests.finetune.arrow import save_to_disk
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import ADAPTER, CAPPED, OPTIONS, StopAfter, execute
from tests.finetune.runs import Family, make_plan, save_model


def test_a_run_writes_metrics_summary_and_adapter(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs()
    summary = execute(given, tmp_path / "run")
    frame = read_metrics(tmp_path / "run")
    assert list(frame.columns) == list(RoundMetrics.__struct_fields__)
    assert frame["round"].tolist() == [1, 2, 3]
    assert frame["test_accuracy"].between(0, 1).all()
    assert frame["virtual_time_s"].tolist() == frame["round_time_s"].cumsum().tolist()
    assert summary.final_accuracy == frame["test_accuracy"].iloc[-1]
    assert summary.best_accuracy == frame["test_accuracy"].max()
    assert summary.upload_bytes == frame["upload_bytes"].iloc[-1]
    assert (summary.train_examples, summary.test_examples) == (128, 32)
    assert [i.name for i in summary.provenance.inputs] == ["plan.json", "reviews.csv"]
    written = msgspec.json.decode((tmp_path / "run/summary.json").read_bytes(), type=Summary)
    assert written == summary


def test_the_clock_charges_the_slowest_device_and_the_wait_for_it(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    execute(given, tmp_path / "run")
    times = {d.name: d.predicted.time_s for d in read_plan(given.plan).devices if d.predicted}
    frame = read_metrics(tmp_path / "run")
    columns = (frame["devices"], frame["round_time_s"], frame["mean_wait_s"])
    for names, round_time_s, mean_wait_s in zip(*columns, strict=True):
        asked = [times[name] for name in names]
        assert len(set(names)) == 3
        assert round_time_s == max(asked)
        assert mean_wait_s == pytest.approx(max(asked) - sum(asked) / 3)


@pytest.mark.parametrize("bytes_per_parameter", [4.0, 2.0])
def test_bytes_charged_are_those_of_the_tensors_exchanged(
    inputs: MakeInputs,
    tmp_path: Path,
    bytes_per_parameter: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = {"up": 0, "down": 0}
    train = InProcessEngine.train

    def state_bytes(state: State) -> int:
        return sum(tensor.nbytes for tensor in state.values())

    def counting(self: InProcessEngine, tasks: Sequence[Task]) -> Iterator[Answer]:
        sent["down"] += sum(state_bytes(task.state) for task in tasks)
        for answer in train(self, tasks):
            assert not isinstance(answer.state, bytes)
            sent["up"] += state_bytes(answer.state)
            yield answer

    monkeypatch.setattr(InProcessEngine, "train", counting)
    given = inputs(make_plan(bytes_per_parameter=bytes_per_parameter))
    summary = execute(given, tmp_path / "run")
    assert (summary.upload_bytes, summary.download_bytes) == (sent["up"], sent["down"])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")
@pytest.mark.parametrize(
    ("family", "task", "structure"),
    [
        ("bert", "classification", "shared"),
        ("bert", "classification", "capped"),
        ("gpt2", "classification", "shared"),
        ("llama", "causal-lm", "shared"),
    ],
)
def test_peft_loads_the_adapter_onto_the_plain_model_with_the_same_logits(
    inputs: MakeInputs, tmp_path: Path, family: Family, task: str, structure: str
) -> None:
    causal = task == "causal-lm"
    plan = make_plan(
        family,
        CAPPED if structure == "capped" else ((0, 0, 4), (0, 3, 4), (2, 3, 4)),
        task="causal-lm" if causal else "classification",
        structure="capped" if structure == "capped" else "shared",
    )
    given = inputs(plan, family)
    sources = Sources(given.model, given.data)
    options = RunOptions(
        rounds=3, sample=3, learning_rate=1e-2, partition="iid" if causal else "dirichlet"
    )
    summary = run(given.plan, sources, tmp_path / "run", options)
    assert summary.aggregation == ("hlora" if structure == "capped" else "layerwise")

    kind = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
    torch.manual_seed(123)
    plain = kind.from_pretrained(given.model, pad_token_id=0).eval()
    batch = {"input_ids": torch.tensor([[2, 5, 7, 9]]), "attention_mask": torch.ones(1, 4)}
    untrained = plain(**batch).logits
    loaded = PeftModel.from_pretrained(plain, tmp_path / "run/adapter").eval()
    ranks = {
        name: (module.r["default"], module.scaling["default"])
        for name, module in loaded.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "r")
    }
    assert len(ranks) == 3 * len(plan.model.targets)
    for name, (rank, scale) in ranks.items():
        layer = int(name.split(f"{plan.model.layers_path}.")[1].split(".")[0])
        assert (rank, scale) == (plan.ranks[layer], 2.0)

    federation = set_up(plan, sources, options, lambda: None)
    state = load_file(tmp_path / "run" / ADAPTER)
    whole = Replica(federation.base, plan, plan.ranks, seed=99)
    whole.load(state)
    whole.model.eval()
    expected = whole.forward(batch)[1]
    assert torch.equal(loaded(**batch).logits, expected)
    assert not torch.allclose(untrained, expected)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(7)
        options = RunOptions(rounds=2, sample=3, learning_rate=1e-2, seed=seed)
        execute(given, tmp_path / name, options)
    for file in (ADAPTER, "adapter/adapter_config.json", "metrics.jsonl", "summary.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a" / ADAPTER).read_bytes() != (tmp_path / "c" / ADAPTER).read_bytes()


def test_two_policies_share_split_partition_sampling_and_head(inputs: MakeInputs) -> None:
    given = inputs()
    other = make_plan(shapes=((1, 1, 1),), ranks=(1, 1, 1))
    started = [
        set_up(plan, Sources(given.model, given.data), OPTIONS, lambda: None)
        for plan in (read_plan(given.plan), other)
    ]
    a, b = started
    assert a.dataset.test.texts == b.dataset.test.texts
    head = "base_model.model.classifier.weight"
    assert torch.equal(a.start[head], b.start[head])
    assert a.server.play(a.start, 0).devices == b.server.play(b.start, 0).devices


@pytest.mark.parametrize("answers", [0, 4, 5, 8])
def test_a_stopped_run_resumes_to_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path, answers: int
) -> None:
    given = inputs()
    execute(given, tmp_path / "whole")
    with pytest.raises(Stopped) as stopped:
        execute(given, tmp_path / "parts", progress=StopAfter(answers))
    assert stopped.value.exit_code == 4
    assert "--resume" in str(stopped.value)
    assert (tmp_path / "parts" / ADAPTER).exists() == (answers >= 3)
    execute(given, tmp_path / "parts", resume=True)
    for file in (ADAPTER, "metrics.jsonl", "summary.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (
            tmp_path / "parts" / file
        ).read_bytes()


def test_a_kill_between_metrics_and_checkpoint_loses_one_round_at_most(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    execute(given, tmp_path / "whole")
    execute(given, tmp_path / "parts", RunOptions(rounds=2, sample=3, learning_rate=1e-2))
    metrics = tmp_path / "parts/metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes() + b'{"round":3,"virtual')
    (tmp_path / "parts/checkpoint/adapter-000003.safetensors").write_bytes(b"half")
    execute(given, tmp_path / "parts", resume=True)
    assert (tmp_path / "whole" / ADAPTER).read_bytes() == (
        tmp_path / "parts" / ADAPTER
    ).read_bytes()
    assert metrics.read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_run_folder_is_never_overwritten_or_mixed(inputs: MakeInputs, tmp_path: Path) -> None:
    given, out = inputs(), tmp_path / "run"
    execute(given, out, RunOptions(rounds=1, sample=2))
    with pytest.raises(InputError, match=r"not empty .* add --resume"):
        execute(given, out)
    with pytest.raises(InputError, match="another plan, data or options"):
        execute(given, out, RunOptions(rounds=1, sample=2, seed=1), resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(InputError, match="holds no run to resume"):
        execute(given, tmp_path / "other", resume=True)


def test_a_mistake_leaves_no_folder_behind(inputs: MakeInputs, tmp_path: Path) -> None:
    given, out = inputs(), tmp_path / "run"
    with pytest.raises(InputError, match="no column 'review'"):
        execute(given, out, RunOptions(text_column="review"))
    assert not out.exists()


def test_a_damaged_checkpoint_is_refused(inputs: MakeInputs, tmp_path: Path) -> None:
    given, out = inputs(), tmp_path / "run"
    execute(given, out, RunOptions(rounds=1, sample=2))
    (tensors,) = (out / "checkpoint").glob("*.safetensors")
    data = bytearray(tensors.read_bytes())
    data[-1] ^= 1
    tensors.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        execute(given, out, RunOptions(rounds=1, sample=2), resume=True)


def test_a_run_stops_at_the_target_or_the_time_limit(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    many = RunOptions(rounds=9, sample=3, eval_every=4)
    timed = execute(given, tmp_path / "timed", replace(many, time_limit_s=25.0))
    assert timed.stopped == "time limit"
    assert (timed.rounds, timed.virtual_time_s >= 25.0) == (2, True)
    assert read_metrics(tmp_path / "timed")["test_accuracy"].notna().tolist() == [False, True]
    easy = execute(given, tmp_path / "easy", replace(many, target_accuracy=0.01))
    assert (easy.stopped, easy.rounds) == ("target accuracy", 4)


def changed(plan: Plan, **fields: object) -> Plan:
    return replace(plan, model=replace(plan.model, **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "roberta"}, "holds a bert model; the plan is for 'tiny', a roberta model"),
        ({"layers_path": "encoder.blocks"}, "has no attribute `blocks`"),
        ({"head_modules": ["score"]}, "has no attribute `score`"),
        ({"head_parameters": 36}, "has 34 parameters with 2 labels; the plan counts 36"),
        (
            {"targets": [replace(make_plan().model.targets[0], in_features=8)]},
            "is \\(16, 16\\) wide; the plan for 'tiny' expects \\(8, 16\\)",
        ),
    ],
)
def test_another_model_than_planned_is_refused(
    inputs: MakeInputs, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    given = inputs(changed(make_plan(), **fields))
    with pytest.raises(InputError, match=message) as raised:
        execute(given, tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_another_number_of_layers_or_bytes_is_refused(
    inputs: MakeInputs, tmp_path: Path, models: Callable[[Family], Path]
) -> None:
    given = inputs()
    deeper = given._replace(model=save_model(tmp_path / "deeper", "bert", layers=4))
    with pytest.raises(InputError, match="has 4 layers; the plan for 'tiny' has 3"):
        execute(deeper, tmp_path / "run")
    plan = json.loads(given.plan.read_text())
    plan["devices"][0]["predicted"]["upload_bytes"] += 4
    given.plan.write_text(json.dumps(plan))
    with pytest.raises(InputError, match=r"'device-0': the plan predicts .* bytes to upload"):
        execute(given, tmp_path / "again")


def test_folders_without_model_or_weights_are_refused(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    with pytest.raises(InputError, match="no model folder"):
        execute(given._replace(model=tmp_path / "nowhere"), tmp_path / "run")
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in given.model.iterdir():
        if file.suffix == ".json":
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="cannot be loaded"):
        execute(given._replace(model=bare), tmp_path / "run2")


def test_weights_cut_short_and_damaged_configs_are_one_line(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    """As an interrupted download or a full disk leaves them."""
    given = inputs()
    config = json.loads((given.model / "config.json").read_text())
    weights = (given.model / "model.safetensors").read_bytes()
    cases = (
        ("model.safetensors", weights[: len(weights) // 2], "cannot be loaded"),
        ("model.safetensors", b"", "cannot be loaded"),
        ("config.json", json.dumps({**config, "hidden_act": "no"}).encode(), "no 'no'"),
        ("config.json", json.dumps({**config, "hidden_size": "x"}).encode(), "hidden_size"),
        ("config.json", b"[" * 10**5, "recursion"),
        ("tokenizer.json", b"[]", "no usable tokenizer"),
    )
    for number, (name, content, message) in enumerate(cases):
        damaged = without(given.model, tmp_path / f"damaged{number}")
        (damaged / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as raised:
            execute(given._replace(model=damaged), tmp_path / "run")
        assert "\n" not in str(raised.value)


def test_a_base_with_weights_missing_is_refused(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs()
    for lost in ("encoder.layer.1.output.dense.weight", "embeddings.LayerNorm.bias"):
        partial = without(given.model, tmp_path / lost, lost)
        with pytest.raises(InputError, match=rf"lack bert.{lost} \(1 in all\)"):
            execute(given._replace(model=partial), tmp_path / "run")


def without(model: Path, folder: Path, *lost: str) -> Path:
    """Copy a model folder without some weights."""
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if name not in lost}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_base_without_a_pooler_gets_one_that_is_named_and_saved(
    inputs: MakeInputs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = inputs()
    pooler = ("pooler.dense.weight", "pooler.dense.bias")
    given = given._replace(model=without(given.model, tmp_path / "partial", *pooler))
    options = RunOptions(rounds=1, sample=2)
    for name in ("a", "b"):
        execute(given, tmp_path / name, options)
    assert "bert.pooler.dense.bias, bert.pooler.dense.weight; they start" in caplog.text
    saved = load_file(tmp_path / "a" / ADAPTER)
    assert {f"base_model.model.bert.{name}" for name in pooler} < saved.keys()
    assert (tmp_path / "a" / ADAPTER).read_bytes() == (tmp_path / "b" / ADAPTER).read_bytes()

    plan, sources = read_plan(given.plan), Sources(given.model, given.data)
    federation = set_up(plan, sources, options, lambda: None)
    whole = Replica(federation.base, plan, plan.ranks, seed=99)
    whole.load(saved)
    whole.model.eval()
    torch.manual_seed(123)
    plain = AutoModelForSequenceClassification.from_pretrained(given.model).eval()
    loaded = PeftModel.from_pretrained(plain, tmp_path / "a/adapter").eval()
    batch = {"input_ids": torch.tensor([[2, 5, 7]]), "attention_mask": torch.ones(1, 3)}
    assert torch.equal(loaded(**batch).logits, whole.forward(batch)[1])


def test_deterministic_restores_torch() -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    with deterministic():
        torch.rand(3)
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_learning_rate_schedules() -> None:
    linear = RunOptions(rounds=4, learning_rate=1.0, schedule="linear")
    rates = [learning_rate(linear, i) for i in range(4)]
    assert rates == [1.0, 0.75, 0.5, 0.25]
    assert learning_rate(RunOptions(learning_rate=1.0), 7) == 1.0
    cosine = RunOptions(rounds=7, learning_rate=1.0, schedule="cosine", warmup_rounds=3)
    rates = [learning_rate(cosine, i) for i in range(7)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    root = RunOptions(learning_rate=1.0, schedule="inverse-sqrt", warmup_rounds=1)
    assert [learning_rate(root, i) for i in (0, 1, 1 + HALVING)] == [0.5, 1.0, 0.5]
    with pytest.raises(
        InputError, match="--warmup-rounds is 7; expected 0 or more and at most 6"
    ):
        RunOptions(rounds=7, warmup_rounds=7)


def test_a_learning_rate_falls_to_nothing_where_a_limit_of_time_ends_the_run() -> None:
    linear = RunOptions(rounds=4, learning_rate=1.0, schedule="linear", time_limit_s=10.0)
    # Whichever end is nearer counts.
    assert [learning_rate(linear, 1, now_s) for now_s in (1.0, 5.0)] == [0.75, 0.5]
    assert "time_limit_s" in linear.fixed()
    assert "time_limit_s" not in RunOptions(schedule="inverse-sqrt").fixed()


def test_training_learns(inputs: MakeInputs, tmp_path: Path) -> None:
    given = inputs(make_plan("llama"), "llama")
    options = RunOptions(rounds=12, sample=5, learning_rate=1e-2)
    summary = execute(given, tmp_path / "run", options)
    losses = read_metrics(tmp_path / "run")["train_loss"]
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    assert summary.final_accuracy > 0.8


def test_a_causal_model_learns_and_reports_its_perplexity(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs(make_plan("gpt2", task="causal-lm"), "gpt2")
    options = RunOptions(rounds=10, sample=5, learning_rate=3e-2, partition="iid", max_test=24)
    summary = execute(given, tmp_path / "run", options)
    frame = read_metrics(tmp_path / "run")
    assert summary.final_perplexity == pytest.approx(math.exp(frame["test_loss"].iloc[-1]))
    assert frame["test_loss"].iloc[-1] < frame["test_loss"].iloc[0] - 0.01
    assert summary.labels == []

    plan, sources = read_plan(given.plan), Sources(given.model, given.data)
    federation = set_up(plan, sources, options, lambda: None)
    texts = federation.dataset.test.texts
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    plain = AutoModelForCausalLM.from_pretrained(given.model).eval()
    loaded = PeftModel.from_pretrained(plain, tmp_path / "run/adapter").eval()
    total, count = 0.0, 0
    for text in texts:  # alone, hence without padding
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=16)["input_ids"]])
        with torch.no_grad():
            loss = loaded(input_ids=ids, labels=ids).loss.item()
        total += loss * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert summary.final_loss == pytest.approx(total / count, rel=1e-4)


def test_local_epochs_replace_the_planned_steps_and_are_charged(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    plan, sources = read_plan(given.plan), Sources(given.model, given.data)
    options = replace(OPTIONS, local_epochs=2)
    federation = set_up(plan, sources, options, lambda: None)
    data = load_dataset(given.data, None, plan.training, options)
    parts = partition(data.train, [20] * 6, options, minimum=4)
    planned = {d.name: d.predicted for d in plan.devices if d.predicted}
    for device in federation.devices:
        before = planned[device.name]
        assert device.local_steps == 2 * math.ceil(len(parts[device.position]) / 4)
        per_step_s = before.compute_s / 3
        assert device.predicted.compute_s == pytest.approx(per_step_s * device.local_steps)
        assert device.predicted.time_s == pytest.approx(2.0 + device.predicted.compute_s)
    devices = [replace(device, cache="round") for device in plan.devices]
    with pytest.raises(InputError, match="'device-0' fills its cache each round"):
        set_up(replace(plan, devices=devices), sources, options, lambda: None)


def test_a_datasets_folder_runs_resumes_and_is_told_apart(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    table = read_table(given.data)
    save_to_disk(table, tmp_path / "data")
    folder = given._replace(data=tmp_path / "data")
    options = RunOptions(rounds=1, sample=2)
    execute(folder, tmp_path / "folder", options)
    execute(given, tmp_path / "table", options)
    execute(folder, tmp_path / "folder", options, resume=True)
    assert (tmp_path / "folder" / ADAPTER).read_bytes() == (
        tmp_path / "table" / ADAPTER
    ).read_bytes()
    save_to_disk(table[::-1], tmp_path / "other")
    with pytest.raises(InputError, match="another plan, data or options"):
        execute(
            given._replace(data=tmp_path / "other"), tmp_path / "folder", options, resume=True
        )


def test_another_compute_type_changes_the_training_but_neither_clock_nor_bytes(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs()
    whole = execute(given, tmp_path / "whole")
    half = execute(given, tmp_path / "half", replace(OPTIONS, compute_dtype="bfloat16"))
    assert (half.virtual_time_s, half.upload_bytes) == (
        whole.virtual_time_s,
        whole.upload_bytes,
    )
    first, second = (read_metrics(tmp_path / name) for name in ("whole", "half"))
    gaps = (first["train_loss"] - second["train_loss"]).abs()
    assert 0 < gaps.max() < 0.05
    with pytest.raises(InputError, match="another plan, data or options"):
        execute(given, tmp_path / "half", replace(OPTIONS, rounds=4), resume=True)
