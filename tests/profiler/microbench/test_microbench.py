"""The micro-benchmark: runs, says what it timed, and knows its quota."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from profiler.cli.profile import profile
from profiler.microbench.file import Benchmark, Kernel, read_benchmark
from profiler.microbench.kernels import Team
from profiler.microbench.run import run_benchmark
from profiler.quota import quota_cores
from profiler.schema import InputError, write


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return run_benchmark(threads=2, seed=3, seconds=0.0)


def test_every_kind_is_timed_by_every_library(benchmark: Benchmark) -> None:
    assert benchmark.backends == ["numpy", "torch"]
    names = [[kernel.name for kernel in benchmark.of(b)] for b in benchmark.backends]
    assert names[0] == names[1]
    assert all(kernel.blocks >= 5 for kernel in benchmark.kernels)
    assert benchmark.device.threads == 2
    assert benchmark.device.memory_bytes > 2**28


def test_the_figures_are_sane(benchmark: Benchmark) -> None:
    for kernel in benchmark.kernels:
        assert kernel.flops / kernel.call_s < 1e13
        assert 1e7 < kernel.traffic_bytes / kernel.call_s < 1e13


def test_the_file_comes_back(benchmark: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write(path, benchmark)
    assert read_benchmark(path) == benchmark


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "legend/benchmark/2"}, "newer than 'legend/benchmark/1'"),
        ({"schema": "legend/plan/1"}, "expected 'legend/benchmark/1'"),
        ({"colour": "red"}, "unknown field `colour`"),
        ({"kernels": []}, "length >= 1"),
    ],
)
def test_other_files_are_refused(
    benchmark: Benchmark, change: dict[str, object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    write(path, benchmark)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=words):
        read_benchmark(path)


def test_a_kernel_counts_arithmetic_of_products_only() -> None:
    with pytest.raises(ValueError, match="just of products"):
        Kernel(
            name="copy",
            backend="numpy",
            kind="copy",
            flops=1.0,
            traffic_bytes=1.0,
            elements=1,
            call_s=1.0,
            process_s=1.0,
            spread_fraction=0.0,
            blocks=1,
        )


def test_a_benchmark_without_a_kind_is_refused(benchmark: Benchmark) -> None:
    few = [kernel for kernel in benchmark.kernels if kernel.kind != "random"]
    with pytest.raises(ValueError, match="no kernel of kind random"):
        Benchmark(provenance=benchmark.provenance, device=benchmark.device, kernels=few)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_shared_work_is_the_whole_work(threads: int) -> None:
    x, out = np.arange(12, dtype=np.float32), np.zeros(12, np.float32)
    Team(threads).share(np.negative, x, out=out)()
    assert np.array_equal(out, -x)


def test_version_1_groups(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    groups.write_text("5:memory:/a\n4:cpu,cpuacct:/a/b\n0::/\n")
    for folder, quota in (("", -1), ("a", 150_000), ("a/b", 300_000)):
        group = tmp_path / "cpu,cpuacct" / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (group / "cpu.cfs_period_us").write_text("100000\n")
    assert quota_cores(tmp_path, groups) == 1.5


def test_version_2_groups(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    groups.write_text("0::/a\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota_cores(tmp_path, groups) == math.inf
    (tmp_path / "a" / "cpu.max").write_text("25000 100000\n")
    assert quota_cores(tmp_path, groups) == 0.25


def test_no_groups_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path, tmp_path / "absent") == math.inf


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--benchmark"], "needs -o"),
        (["--benchmark", "some-model", "-o", "b.json"], "takes no model"),
        (["--benchmark", "-o", "b.json", "--device", "cuda"], "times CPUs"),
        (["--benchmark", "--serve", "-o", "b.json"], "do not go together"),
        (["--here", "b.json", "-o", "b.json"], "add --transfer"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(profile, arguments)
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(tmp_path.iterdir())
