"""What the kernel counted on the server's ends of the cables, many times a second.

``python -m benchmarks.testbed.counters FILE INTERFACE...`` samples until it is killed; it runs
in the server's namespace. What a device sent has come out of its bucket before it is counted
here, and what it is sent is counted as it leaves the server's bucket: both as the link lets
it through. The namespace's own counters are read from /proc/net/dev, which (unlike
/sys/class/net) is that of the reader.
"""

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

__all__ = ["Sample", "busy_s", "moved_bytes", "parse", "read_samples", "within"]

EVERY_S = 0.02
# A link that passes less than this part of what it could is not in use: polls, heartbeats.
IDLE_FRACTION = 0.25


class Sample(NamedTuple):
    """Bytes so far by interface: (received from the device, sent to it)."""

    at_s: float
    bytes_of: dict[str, tuple[int, int]]


def parse(text: str) -> dict[str, tuple[int, int]]:
    """Read /proc/net/dev: bytes received and sent, by interface."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        columns = numbers.split()
        found[name.strip()] = (int(columns[0]), int(columns[8]))
    return found


def read_samples(path: Path) -> list[Sample]:
    """Read the samples of a file."""
    samples = []
    # The last line may be half written.
    for line in path.read_text("ascii").rpartition("\n")[0].splitlines():
        words = line.split()
        pairs = [
            (words[i], (int(words[i + 1]), int(words[i + 2])))
            for i in range(1, len(words) - 2, 3)
        ]
        samples.append(Sample(float(words[0]), dict(pairs)))
    return samples


def within(samples: Sequence[Sample], begin_s: float, end_s: float) -> list[Sample]:
    """Samples of a stretch of the monotonic clock, with the last one before it."""
    first = max((i for i, s in enumerate(samples) if s.at_s <= begin_s), default=0)
    return [s for s in samples[first:] if s.at_s <= end_s]


def moved_bytes(samples: Sequence[Sample], interface: str) -> tuple[int, int]:
    """Bytes (up, down) between the first and the last sample."""
    first, last = samples[0].bytes_of[interface], samples[-1].bytes_of[interface]
    return last[0] - first[0], last[1] - first[1]


def busy_s(
    samples: Sequence[Sample], interface: str, bytes_per_s: float
) -> tuple[float, float]:
    """Seconds (up, down) in which the link passed at least a quarter of what it can."""
    busy = [0.0, 0.0]
    for before, after in pairwise(samples):
        seconds = after.at_s - before.at_s
        for way in (0, 1):
            moved = after.bytes_of[interface][way] - before.bytes_of[interface][way]
            if moved >= IDLE_FRACTION * bytes_per_s * seconds:
                busy[way] += seconds
    return busy[0], busy[1]


def main(path: Path, interfaces: Sequence[str]) -> None:
    """Sample until killed."""
    with path.open("w", encoding="ascii", buffering=1) as file:
        while True:
            seen = parse(Path("/proc/net/dev").read_text("ascii"))
            words = [f"{name} {seen[name][0]} {seen[name][1]}" for name in interfaces]
            file.write(f"{time.monotonic():.4f} {' '.join(words)}\n")
            time.sleep(EVERY_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
