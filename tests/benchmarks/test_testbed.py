"""The testbed's arithmetic, and, where it can be built, that nothing of it stays behind."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.testbed.bench import ENVIRONMENT, legend_command
from benchmarks.testbed.cage import Cage, groups_fit
from benchmarks.testbed.compare import Seen, seen_rounds, speedup_figures
from benchmarks.testbed.counters import Sample, busy_s, moved_bytes, parse, read_samples, within
from benchmarks.testbed.devices import DEVICES
from benchmarks.testbed.made import Made, left_over, own_name
from benchmarks.testbed.memory import deeper
from benchmarks.testbed.network import NAMES, Network, can_shape
from benchmarks.testbed.play import Played, Reported, joined
from solver.plan import Configuration

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:     100       1    0    0    0     0          0         0      100       1    0
    d0: 1234567     900    0    0    0     0          0         0    98765     800    0
"""


def test_counters_are_read_by_interface() -> None:
    assert parse(NET_DEV)["d0"] == (1_234_567, 98_765)


def test_a_file_of_the_folder_one_is_in_stands_in_for_no_module(tmp_path: Path) -> None:
    (tmp_path / "legend.py").write_text("raise SystemExit('not ours')")
    done = subprocess.run(
        legend_command("--version"),
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_samples_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "counters.txt"
    path.write_text("1.5 d0 10 20 d1 30 40\n1.6 d0 11")  # killed in the middle of a line
    assert read_samples(path) == [Sample(1.5, {"d0": (10, 20), "d1": (30, 40)})]


def _steady(speed: float) -> list[Sample]:
    """Half a second of upload at `speed` bytes a second, then half a second of polling."""
    found, up = [], 0.0
    for index in range(101):
        found.append(Sample(index / 100, {"d0": (round(up), index)}))
        up += speed / 100 if index < 50 else 10
    return found


def test_a_link_is_busy_while_it_moves_what_it_can() -> None:
    samples = _steady(1e6)
    assert busy_s(samples, "d0", 1e6) == pytest.approx((0.5, 0.0))
    assert moved_bytes(samples, "d0")[0] == pytest.approx(5e5, rel=0.01)
    assert within(samples, 0.255, 0.5)[0].at_s == 0.25


def test_joined_texts_are_long_and_keep_their_label() -> None:
    rows = [(f"word {i} of label {i % 2}", str(i % 2)) for i in range(40)]
    texts = joined(rows, words=12, seed=0)
    assert texts == joined(rows, words=12, seed=0)
    assert all(len(text.split()) >= 12 for text, _ in texts)
    assert all(f"label {1 - int(label)}" not in text for text, label in texts)


def test_one_layer_more_is_below_the_others() -> None:
    assert deeper(Configuration(depth=1, ranks=[0, 0, 8])) == Configuration(
        depth=2, ranks=[0, 8, 8]
    )
    assert deeper(Configuration(depth=3, ranks=[4, 8, 8])) is None


def test_the_slowest_device_makes_the_round_and_the_first_is_not_counted() -> None:
    reports = [
        Reported(round=r, device=d.name, train_s=s, load_s=0.0, round_trip_s=s + 4)
        for r in (1, 2)
        for d, s in zip(DEVICES, (1.0, 2.0, 3.0, 4.0), strict=True)
    ]
    idle = {f"d{i}": (0, 0) for i in range(4)}
    played = Played(
        reports=reports,
        spans=[(0.0, 1.0), (1.0, 2.0)],
        samples=[Sample(t / 10, idle) for t in range(21)],
        accuracy_fraction=0.5,
        refused=[],
    )
    rounds = seen_rounds(played, DEVICES)
    assert len(rounds) == 1
    assert rounds[0]["slowest"].own_s == 4.0
    halved = [{n: _halved(s) for n, s in rounds[0].items()}]
    without, with_flower = speedup_figures(halved, rounds)
    assert without.median == 2.0
    assert with_flower.median == pytest.approx(8 / 6)


def _halved(seen: Seen) -> Seen:
    return replace(seen, train_s=seen.train_s / 2, round_trip_s=seen.train_s / 2 + 4)


class Half(Made):
    """Made in two steps, of which the second fails if told to."""

    def __init__(self, folder: Path, *, fails: bool) -> None:
        self._path = folder / own_name("half", "end")
        self._fails = fails

    def make(self) -> None:
        self._path.mkdir()
        if self._fails:
            raise KeyboardInterrupt

    def remove(self) -> None:
        self._path.rmdir()


def test_what_is_half_made_is_removed(tmp_path: Path) -> None:
    with Half(tmp_path, fails=False):
        assert [path.name for path in tmp_path.iterdir()] == [f"half-{os.getpid()}-end"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), Half(tmp_path, fails=True):
        pass
    assert not list(tmp_path.iterdir())


def test_only_what_dead_processes_made_is_left_over(tmp_path: Path) -> None:
    (tmp_path / own_name("half", "alive")).mkdir()
    # Beyond the largest number that Linux gives a process.
    for name in ("half-4194305-server", "other-4194305-server", "half-x-server"):
        (tmp_path / name).mkdir()
    assert [path.name for path in left_over(tmp_path, "half")] == ["half-4194305-server"]
    assert not list(left_over(tmp_path / "nowhere", "half"))


@pytest.fixture
def root() -> None:
    missing = can_shape()
    if missing or not groups_fit():
        pytest.skip(f"the testbed needs {missing or 'control groups'}")


@pytest.mark.usefixtures("root")
def test_a_cage_gives_its_process_the_quota_and_is_removed() -> None:
    ask = "from profiler.quota import quota_cores; print(quota_cores())"
    with Cage("legend-0-test", quota_cores=0.2) as cage:
        done = subprocess.run(
            cage.command([sys.executable, "-c", ask]), capture_output=True, check=True
        )
    assert float(done.stdout) == 0.2
    assert not list(Path("/sys/fs/cgroup").glob("**/legend-0-test"))


@pytest.mark.usefixtures("root")
def test_more_than_the_limit_is_killed() -> None:
    with Cage("legend-0-limit") as cage:
        cage.limit_memory(64 << 20)
        done = subprocess.run(
            cage.command([sys.executable, "-c", "bytearray(128 << 20)"]), check=False
        )
        assert done.returncode == -9
        assert cage.kills() == 1


@pytest.mark.usefixtures("root")
def test_namespaces_are_removed_when_something_fails() -> None:
    network = Network(DEVICES[:2])
    with pytest.raises(ZeroDivisionError), network:
        _ = 1 / (not (NAMES / network.server).exists())
    assert not (NAMES / network.server).exists()
