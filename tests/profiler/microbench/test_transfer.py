"""A profile carried over to another device by two micro-benchmarks."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from profiler.cli.profile import profile as command
from profiler.derive import DEFAULT_TRAINING, derive_profile
from profiler.microbench.file import Backend, Benchmark, Kernel
from profiler.microbench.kernels import numpy_operations
from profiler.microbench.transfer import TRANSFER_FRACTION, transfer_profile
from profiler.schema import InputError, Profile, provenance, read_profile, write

SPEEDS = {"product": 1e11, "copy": 5e10, "function": 2e9, "random": 3e8}
HERE = derive_profile("roberta-base", "laptop-cpu")


def step_s(profile: Profile, depth: int, rank: int) -> float:
    time, start = profile.time, profile.model.layers - depth
    bare = time.embedding_s + sum(time.forward_s) + time.head_s
    return bare + sum(time.backward_s[start:]) + rank * sum(time.lora_s_per_rank[start:])


def made_up(
    speeds: Mapping[str, float],
    *,
    threads: int = HERE.device.threads,
    backends: tuple[Backend, ...] = ("numpy",),
) -> Benchmark:
    """A device whose operations run at just these speeds."""
    kernels = [
        replace(
            kernel,
            backend=backend,
            call_s=kernel.call_s / speeds[kernel.kind],
            process_s=kernel.process_s / speeds[kernel.kind] * (2 if kernel.flops else 1),
        )
        for backend in backends
        for kernel in unit_kernels()
    ]
    device = replace(HERE.device, name="other", threads=threads)
    return Benchmark(provenance=provenance(), device=device, kernels=kernels)


@cache
def unit_kernels() -> list[Kernel]:
    """The operations on a device that does everything at speed 1."""
    return [
        Kernel(
            name=operation.name,
            backend=operation.backend,
            kind=operation.kind,
            flops=operation.flops,
            traffic_bytes=operation.traffic_bytes,
            elements=operation.elements,
            call_s=_work(operation.kind, operation.flops, operation.traffic_bytes),
            process_s=_work(operation.kind, operation.flops, operation.traffic_bytes),
            spread_fraction=0.01,
            blocks=5,
        )
        for operation in numpy_operations(1, seed=0)
    ]


def _work(kind: str, flops: float, traffic_bytes: float) -> float:
    return {"product": flops, "copy": traffic_bytes}.get(kind, traffic_bytes / 8)


def faster(**factors: float) -> dict[str, float]:
    return {kind: speed * factors.get(kind, 1.0) for kind, speed in SPEEDS.items()}


def test_an_equal_device_takes_the_same_time() -> None:
    made = transfer_profile(HERE, made_up(SPEEDS), made_up(SPEEDS)).profile
    assert replace(made.time, error_fraction=HERE.time.error_fraction) == HERE.time


def test_a_device_slower_in_everything_is_as_much_slower() -> None:
    slow = dict.fromkeys(SPEEDS, 0.25)
    there = made_up(faster(**slow))
    made = transfer_profile(HERE, made_up(SPEEDS), there).profile
    for depth, rank in ((0, 0), (1, 8), (6, 3), (12, 64)):
        assert step_s(made, depth, rank) == pytest.approx(4 * step_s(HERE, depth, rank))


def test_each_part_is_scaled_by_what_it_is_made_of() -> None:
    made = transfer_profile(HERE, made_up(SPEEDS), made_up(faster(product=2.0)))
    ratios = made.ratios
    assert 0.5 < ratios["forward"] < 1.0
    assert 0.5 <= ratios["backward"] < ratios["forward"] < ratios["embedding"]
    assert ratios["embedding"] == pytest.approx(1.0)
    dry = replace(HERE, training=replace(HERE.training, dropout=False))
    drier = transfer_profile(dry, made_up(SPEEDS), made_up(faster(product=2.0))).ratios
    assert drier["forward"] < ratios["forward"]


def test_random_numbers_count_where_dropout_draws_them() -> None:
    there = made_up(faster(random=0.5))
    assert transfer_profile(HERE, made_up(SPEEDS), there).ratios["forward"] > 1.01
    dry = replace(HERE, training=replace(HERE.training, dropout=False))
    assert transfer_profile(dry, made_up(SPEEDS), there).ratios["forward"] == 1.0


def test_there_and_back_again() -> None:
    a, b = made_up(SPEEDS), made_up(faster(product=3.0, copy=0.7, random=1.3))
    forth = transfer_profile(HERE, a, b).profile
    back = transfer_profile(forth, b, a).profile
    assert back.time.forward_s == pytest.approx(HERE.time.forward_s)
    assert back.time.backward_s == pytest.approx(HERE.time.backward_s)
    assert back.time.lora_s_per_rank == pytest.approx(HERE.time.lora_s_per_rank)


def test_memory_carries_over_and_the_device_is_the_other() -> None:
    there = made_up(SPEEDS, threads=64)
    made = transfer_profile(HERE, made_up(SPEEDS), there).profile
    assert made.memory == HERE.memory
    assert (made.device.name, made.device.threads) == ("other", 64)
    assert (made.model, made.lora, made.gain) == (HERE.model, HERE.lora, HERE.gain)


def test_the_uncertainty_grows_with_how_differently_the_devices_compare() -> None:
    here = made_up(SPEEDS)
    even = transfer_profile(HERE, here, made_up(faster(**dict.fromkeys(SPEEDS, 2.0))))
    uneven = transfer_profile(HERE, here, made_up(faster(product=8.0)))
    floor = (HERE.time.error_fraction**2 + TRANSFER_FRACTION**2) ** 0.5
    errors = [t.profile.time.error_fraction for t in (even, uneven)]
    assert floor < errors[0] < errors[1]


def test_kernels_of_torch_count_where_both_ends_have_them() -> None:
    both, bare = made_up(SPEEDS, backends=("numpy", "torch")), made_up(SPEEDS)
    assert transfer_profile(HERE, both, both).backend == "torch"
    assert transfer_profile(HERE, both, bare).backend == "numpy"
    assert transfer_profile(HERE, bare, both).backend == "numpy"


def test_an_unknown_config_is_assumed_and_said_so() -> None:
    unknown = replace(HERE, model=replace(HERE.model, config_sha256="0" * 64))
    there = made_up(faster(product=2.0))
    made = transfer_profile(unknown, made_up(SPEEDS), there)
    known = transfer_profile(HERE, made_up(SPEEDS), there)
    assert any("common proportions" in note for note in made.notes)
    assert "common proportions" in made.profile.provenance.origins["time"].source
    assert made.ratios["step"] == pytest.approx(known.ratios["step"], rel=0.02)


def on_gpu(profile: Profile) -> Profile:
    return replace(profile, device=replace(profile.device, processor="cuda"))


@pytest.mark.parametrize(
    ("source", "threads", "model", "words"),
    [
        (HERE, 3, "", "measured with 4 threads, the benchmark here with 3"),
        (HERE, 4, "bert-base-uncased", "is not the one that the profile of 'roberta-base'"),
        (on_gpu(HERE), 4, "", "the profile is of a cuda"),
        (
            derive_profile(
                "roberta-base", "a100", None, replace(DEFAULT_TRAINING, dtype="bfloat16")
            ),
            0,
            "",
            "benchmarks time float32",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    source: Profile, threads: int, model: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        transfer_profile(source, made_up(SPEEDS, threads=threads), made_up(SPEEDS), model)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(tmp_path / "p.json", HERE)
    write(tmp_path / "here.json", made_up(SPEEDS))
    write(tmp_path / "there.json", made_up(faster(product=0.5)))
    return tmp_path


def test_the_command_writes_a_profile(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    arguments = "--transfer p.json --here here.json --there there.json -o q.json --json"
    result = CliRunner().invoke(command, [*arguments.split(), "--power-w", "4"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    made = read_profile(files / "q.json")
    assert 1.0 < figures["ratios"]["step"] < 2.0
    assert step_s(made, 12, 8) > step_s(HERE, 12, 8)
    inputs = [i.name for i in made.provenance.inputs]
    assert inputs == ["p.json", "here.json", "there.json"]
    assert made.provenance.origins["time"].kind == "derived"
    assert made.device.power_w == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--transfer p.json --here here.json -o q.json", "needs --there"),
        ("--transfer p.json --here here.json --there there.json", "needs -o"),
        ("--transfer p.json --here p.json --there there.json -o q.json", "legend/benchmark/1"),
        ("--transfer x.json --here here.json --there there.json -o q.json", "no such file"),
    ],
)
def test_bad_input_is_one_line(
    arguments: str, words: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    result = CliRunner().invoke(command, arguments.split())
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (files / "q.json").exists()
