"""Where prefix states are kept: in memory, then on disk, each up to a budget.

What is kept changes only how long a run takes: states that were let go are computed again,
to the same bits. So whoever was asked longest ago makes room first, as a whole device: of a
device that trains in passes, the batch used longest ago is the one needed next.

States are kept by device. Sharing them among devices of one depth would share nothing, as
every example is held by one device alone.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["Key", "Owner", "PrefixStore", "scratch_folder"]

Owner = tuple[int, int]  # position of the device, first adapted layer
Key = tuple[int, ...]  # examples of the batch
STATES = "states"


class _Entry(NamedTuple):
    """States in memory or, without a tensor, in a file."""

    size: int
    tensor: Tensor | None
    path: Path | None = None


class PrefixStore:
    """States of batches, by device.

    Parameters
    ----------
    memory_bytes, disk_bytes : int
        Most that is kept; 0 keeps nothing there.
    folder : Path, optional
        Where files go; without one there are none.
    """

    def __init__(self, memory_bytes: int, disk_bytes: int = 0, folder: Path | None = None):
        self._limit = {"memory": memory_bytes, "disk": disk_bytes if folder else 0}
        self._used = {"memory": 0, "disk": 0}
        self._folder = folder
        self._files = 0
        # In the order in which devices were last asked.
        self._owners: dict[Owner, dict[Key, _Entry]] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of states in memory."""
        return self._used["memory"]

    @property
    def disk_bytes(self) -> int:
        """Bytes of states on disk."""
        return self._used["disk"]

    def get(self, owner: Owner, key: Key) -> Tensor | None:
        """States of a batch, or None if they are not kept."""
        entries = self._owners.pop(owner, {})
        self._owners[owner] = entries
        entry = entries.get(key)
        if entry is None or entry.path is None:
            return entry.tensor if entry else None
        try:
            states: Tensor = load_file(entry.path)[STATES]
        except (OSError, SafetensorError):  # such as a file that somebody cleared away
            del entries[key]
            self._used["disk"] -= entry.size
            return None
        return states

    def put(self, owner: Owner, key: Key, states: Tensor) -> None:
        """Keep states if there is room, or room can be made of other devices' states."""
        self._make_room(owner, states.nbytes)
        entry = _Entry(states.nbytes, states)
        if self._fits("memory", entry.size):
            self._used["memory"] += entry.size
        else:
            entry = self._to_disk(entry)
        if entry.tensor is not None or entry.path is not None:
            self._owners.setdefault(owner, {})[key] = entry

    def drop(self, owner: Owner) -> None:
        """Let go of a device's states."""
        for entry in self._owners.pop(owner, {}).values():
            if entry.path is not None:
                entry.path.unlink(missing_ok=True)
            self._used["disk" if entry.path else "memory"] -= entry.size

    def _fits(self, place: str, size: int) -> bool:
        return self._used[place] + size <= self._limit[place]

    def _make_room(self, owner: Owner, size: int) -> None:
        """Move other devices' states out of memory, whoever was asked longest ago first."""
        for other in list(self._owners):
            if self._fits("memory", size):
                return
            if other != owner:
                self._evict(other)

    def _evict(self, owner: Owner) -> None:
        moved = {}
        for key, entry in self._owners[owner].items():
            if entry.tensor is not None:
                self._used["memory"] -= entry.size
                entry = self._to_disk(entry)
            if entry.path is not None:
                moved[key] = entry
        self._owners[owner] = moved

    def _to_disk(self, entry: _Entry) -> _Entry:
        """Write states to a file, or let go of them where that cannot be."""
        gone = _Entry(entry.size, None)
        if self._folder is None or entry.tensor is None or not self._fits("disk", entry.size):
            return gone
        path = self._folder / f"{self._files:08d}.safetensors"
        self._files += 1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file({STATES: entry.tensor.contiguous()}, path)
        except (OSError, SafetensorError):  # such as a full disk
            with contextlib.suppress(OSError):
                path.unlink()
            return gone
        self._used["disk"] += entry.size
        return _Entry(entry.size, None, path)


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Folder for a store's files, gone afterwards; what a killed run left there goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
