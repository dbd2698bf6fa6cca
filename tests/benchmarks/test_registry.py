"""The registry: every case is found, runs nothing when imported, and is described."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.machine import ROOT
from benchmarks.registry import NAMES, Case, Job, check_writable, find, result_path, run, save
from benchmarks.result import Figure, Result, figure, read_result
from profiler.schema import InputError
from tests.hints import leaves


def sorting(job: Job) -> list[Figure]:
    """A case that is done at once: how far a list is from sorted after sorting it."""
    job.notes.append("sorted here")
    steps = []
    for seed in range(job.seeds):
        values = [(7 * i + seed) % 11 for i in range(11)]
        steps.append(float(sum(a > b for a, b in zip(values, sorted(values), strict=True))))
    return [figure("inversions", steps, "pairs", setting="11 numbers", target=5.0)]


TINY = Case(
    name="sorting",
    summary="Is it sorted?",
    protocol="Numbers are\nsorted.",
    seeds=4,
    quick_seeds=2,
    measure=sorting,
)


@pytest.mark.parametrize("name", NAMES)
def test_every_case_is_found_and_says_what_it_does(name: str) -> None:
    case = find(name)
    assert case.name == name
    assert case.summary.endswith("?")
    assert len(case.protocol.split()) > 20
    assert case.seeds >= case.quick_seeds >= 1


def test_unknown_cases_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no benchmark 'speed'; expected one of dp-vs-milp"):
        find("speed")


def test_nothing_heavy_is_loaded_to_list_the_cases() -> None:
    code = (
        "import sys; from benchmarks.registry import NAMES, find; [find(n) for n in NAMES]; "
        "print(sorted({'torch', 'transformers', 'peft', 'pulp', 'ortools'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_run_keeps_every_value_and_says_what_repeats_it() -> None:
    result = run(TINY)
    (one,) = result.figures
    assert len(one.values) == result.seeds == 4
    assert result.command == "python -m benchmarks run sorting"
    assert result.protocol == "Numbers are sorted."
    assert result.notes == ["sorted here"]
    assert result.machine.cores >= 1
    assert result.machine.versions["python"]
    quick = run(TINY, quick=True)
    assert quick.seeds == 2
    assert quick.command.endswith("sorting --quick")
    assert run(TINY, seeds=3).command.endswith("sorting --seeds 3")
    assert run(TINY, seeds=3).figures[0].values == one.values[:3]


def test_results_are_kept_and_read_back(tmp_path: Path) -> None:
    result = run(TINY, quick=True)
    path = save(result, tmp_path)
    assert path == result_path("sorting", quick=True, folder=tmp_path)
    assert path.parent.name == "quick"
    assert read_result(path) == result
    assert save(run(TINY), tmp_path).parent == tmp_path


def test_results_of_the_older_name_are_read(tmp_path: Path) -> None:
    path = save(run(TINY), tmp_path)
    meant = read_result(path)
    older = {**msgspec.json.decode(path.read_bytes()), "schema": "legend/benchmark/1"}
    path.write_bytes(msgspec.json.encode(older))
    assert read_result(path) == meant


def test_results_that_cannot_be_kept_are_refused_before_measuring(tmp_path: Path) -> None:
    check_writable(quick=True, folder=tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "quick"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="results cannot be written"):
        check_writable(quick=False, folder=tmp_path / "file")


def test_result_files_are_closed(tmp_path: Path) -> None:
    path = save(run(TINY), tmp_path)
    content = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**content, "score": 1}))
    with pytest.raises(InputError, match="unknown field `score`"):
        read_result(path)


@pytest.mark.parametrize(
    ("values", "options", "met"),
    [
        ([1, 2, 9], {"target": 2}, True),
        ([1, 2, 9], {"target": 2, "judged": "worst"}, False),
        ([1, 2, 9], {"target": 3, "better": "high"}, False),
        ([1, 2, 9], {"target": 1, "better": "high", "judged": "worst"}, True),
        ([1, 2, 9], {}, None),
    ],
)
def test_targets(values: list[float], options: dict[str, object], met: bool | None) -> None:
    one = figure("a", values, "s", **options)  # type: ignore[arg-type]
    assert (one.median, one.lowest, one.highest) == (2, 1, 9)
    assert one.met is met


def test_fields_of_the_file_name_their_unit_or_are_ruled_by_one() -> None:
    counts = {"cores", "seeds"}
    shares = {"load_before", "load_after"}
    seconds = {"seconds"}
    ruled_by_unit = {"median", "lowest", "highest", "values", "target"}
    for kind in (Figure, Result, type(run(TINY).machine)):
        for field in msgspec.structs.fields(kind):
            if {int, float} & set(leaves(field.type)):
                known = counts | shares | seconds | ruled_by_unit
                assert field.name in known or field.name.endswith("_bytes"), field.name
