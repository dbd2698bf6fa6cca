"""Runs of plans with prefix caches: the same bytes however much is kept, and the clock."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from finetune.data.tokens import Batch
from finetune.model.prefix_store import PrefixStore, scratch_folder
from finetune.model.replica import Replica
from finetune.monitor.metrics import read_metrics
from finetune.run import Stopped
from solver.plan import read_plan
from tests.finetune.conftest import MakeInputs
from tests.finetune.playing import OPTIONS, caching, files_of_run

STATES = torch.arange(24.0).reshape(2, 3, 4)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many prefixes were computed since the last question."""
    count = [0]
    states = Replica.prefix_states

    def counting(self: Replica, batch: Batch) -> torch.Tensor:
        count[0] += 1
        return states(self, batch)

    def so_far() -> int:
        seen, count[0] = count[0], 0
        return seen

    monkeypatch.setattr(Replica, "prefix_states", counting)
    return so_far


@pytest.mark.parametrize("kind", ["round", "always"])
def test_however_much_is_kept_the_run_writes_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path, computed: Callable[[], int], kind: str
) -> None:
    given = inputs(caching(kind))
    nothing = replace(OPTIONS, cache_memory_mb=0, cache_disk_mb=0)
    plain = files_of_run(given, tmp_path / "nothing", nothing)
    steps = computed()
    assert steps == 3 * 3 * 12
    assert files_of_run(given, tmp_path / "memory") == plain
    in_memory = computed()
    assert in_memory < steps / (1.5 if kind == "round" else 2)
    assert files_of_run(given, tmp_path / "disk", replace(OPTIONS, cache_memory_mb=0)) == plain
    assert computed() == in_memory
    assert not (tmp_path / "disk/prefix-cache").exists()


def test_a_run_with_caches_resumes_to_the_same_bytes(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs(caching("always", "round", "off", build_s=7.0))
    disk = replace(OPTIONS, cache_memory_mb=0)
    whole = files_of_run(given, tmp_path / "whole", disk)
    with pytest.raises(Stopped):
        files_of_run(given, tmp_path / "parts", disk, stop_after=7)
    assert not (tmp_path / "parts/prefix-cache").exists()
    assert files_of_run(given, tmp_path / "parts", OPTIONS) == whole


def test_without_frozen_dropout_a_plan_without_cache_equals_one_with(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    bare = inputs(caching("off"))
    frozen = files_of_run(bare, tmp_path / "frozen", replace(OPTIONS, frozen_dropout=False))
    plain = files_of_run(bare, tmp_path / "plain")
    cached = files_of_run(inputs(caching("round")), tmp_path / "cached")
    assert cached == frozen
    assert cached[0] != plain[0]


def test_the_clock_charges_the_filling_of_a_cache_once(
    inputs: MakeInputs, tmp_path: Path
) -> None:
    given = inputs(caching("always", build_s=100.0))
    files_of_run(given, tmp_path / "run", replace(OPTIONS, rounds=4))
    times = {d.name: d.predicted.time_s for d in read_plan(given.plan).devices if d.predicted}
    frame = read_metrics(tmp_path / "run")
    seen: set[str] = set()
    columns = frame["devices"], frame["round_time_s"], frame["mean_wait_s"]
    for names, round_time_s, mean_wait_s in zip(*columns, strict=True):
        own = [times[name] + (0.0 if name in seen else 100.0) for name in names]
        assert round_time_s == max(own)
        assert mean_wait_s == pytest.approx(max(own) - sum(own) / 3)
        seen |= set(names)
    assert len(seen) == 4


def test_a_store_makes_room_by_whole_devices_and_keeps_its_budgets(tmp_path: Path) -> None:
    size = STATES.nbytes
    store = PrefixStore(3 * size, 2 * size, tmp_path / "cache")
    for key in range(2):
        store.put((0, 1), (key,), STATES + key)
    store.put((1, 1), (0,), STATES)
    assert store.get((0, 1), (0,)) is not None  # so device 1 was asked longest ago
    store.put((2, 1), (0,), STATES)
    assert (store.memory_bytes, store.disk_bytes) == (3 * size, size)
    for key in range(3):
        store.put((3, 1), (key,), STATES - key)
    assert (store.memory_bytes, store.disk_bytes) == (3 * size, 2 * size)
    kept = {
        (device, key): store.get((device, 1), (key,)) for device in range(4) for key in range(3)
    }
    assert {place for place, states in kept.items() if states is not None} == {
        (0, 0), (1, 0), (3, 0), (3, 1), (3, 2),
    }  # fmt: skip
    on_disk, in_memory = kept[1, 0], kept[3, 2]
    assert on_disk is not None
    assert torch.equal(on_disk, STATES)
    assert in_memory is not None
    assert torch.equal(in_memory, STATES - 2)
    store.drop((3, 1))
    assert (store.memory_bytes, store.disk_bytes) == (0, 2 * size)
    for device in range(3):
        store.drop((device, 1))
    assert (store.memory_bytes, store.disk_bytes) == (0, 0)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_store_that_cannot_write_keeps_nothing_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = PrefixStore(0, 10**6, tmp_path / "file")
    store.put((0, 1), (0,), STATES)
    assert store.get((0, 1), (0,)) is None
    assert store.disk_bytes == 0


def test_states_whose_file_is_gone_or_cut_short_are_not_kept(tmp_path: Path) -> None:
    """As where a system clears old files: the states are computed again."""
    store = PrefixStore(0, 10**6, tmp_path)
    for key in ((0,), (1,), (2,)):
        store.put((0, 1), key, STATES)
    gone, cut, whole = sorted(tmp_path.glob("*.safetensors"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    for _ in range(2):
        kept = [store.get((0, 1), key) for key in ((0,), (1,), (2,))]
        assert [states is not None for states in kept] == [False, False, True]
        assert store.disk_bytes == STATES.nbytes
    store.drop((0, 1))
    assert (store.disk_bytes, whole.exists()) == (0, False)


def test_what_a_killed_run_left_in_the_scratch_folder_goes(tmp_path: Path) -> None:
    left = tmp_path / "prefix-cache/old.safetensors"
    left.parent.mkdir()
    left.touch()
    with scratch_folder(tmp_path / "prefix-cache") as folder:
        assert not left.exists()
        PrefixStore(0, 10**6, folder).put((0, 1), (0,), STATES)
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()
