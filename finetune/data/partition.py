"""Who holds which training examples. Every split covers all examples exactly once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from finetune.data.dataset import Dataset, Examples
from finetune.devices import devices_of
from finetune.options import RunOptions
from finetune.seeds import Stream, generator
from solver.plan import InputError, Plan

__all__ = ["dirichlet", "iid", "natural", "partition", "shares"]

Indices = npt.NDArray[np.int64]


def shares(plan: Plan, dataset: Dataset, options: RunOptions) -> list[Indices]:
    """Indices of the training examples of each device of a plan, by its position."""
    sizes = [examples for _, examples in devices_of(plan)]
    minimum = options.batch_size or plan.training.batch_size
    return partition(dataset.train, sizes, options, minimum=minimum)


def partition(
    examples: Examples, sizes: Sequence[int], options: RunOptions, minimum: int
) -> list[Indices]:
    """Split the training examples over the devices.

    Parameters
    ----------
    examples : Examples
        Training examples.
    sizes : sequence of int, shape (N,)
        Examples each device holds according to the plan; only their proportions count.
    options : RunOptions
        Kind of partition, alpha, seed.
    minimum : int
        Fewest examples of a device; lowered where there are not enough for all.

    Returns
    -------
    list of arrays, length N
        Indices into `examples`, sorted.

    Raises
    ------
    InputError
        If there are fewer examples, or owners, than devices.
    """
    count, devices = len(examples.texts), len(sizes)
    if count < devices:
        raise InputError(
            f"{count} training examples for {devices} devices; give at least one for each"
        )
    if options.natural_column:
        return natural(examples.owners, devices)
    rng = generator(options.seed, Stream.PARTITION)
    fractions = np.asarray(sizes, dtype=float) / sum(sizes)
    if options.partition == "iid":
        parts = iid(count, fractions, rng)
    else:
        parts = dirichlet(examples.labels, fractions, options.alpha, rng)
    return _fill_up(parts, min(minimum, count // devices), rng)


def iid(
    count: int, fractions: npt.NDArray[np.float64], rng: np.random.Generator
) -> list[Indices]:
    """Split at random, in proportion to `fractions`."""
    return _cut(rng.permutation(count), fractions)


def dirichlet(
    labels: Indices,
    fractions: npt.NDArray[np.float64],
    alpha: float,
    rng: np.random.Generator,
) -> list[Indices]:
    """Split each class by its own draw from a Dirichlet distribution.

    The draw has concentration ``alpha * N * fractions``: ``alpha`` for every device where the
    plan gives all the same number of examples, and proportional to that number otherwise.
    Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", arXiv 1909.06335, is the idea; drawing by class over the devices
    also makes their sizes differ.
    """
    parts: list[list[Indices]] = [[] for _ in fractions]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        drawn = rng.dirichlet(alpha * len(fractions) * fractions)
        for part, piece in zip(parts, _cut(members, drawn), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def natural(owners: Sequence[str], devices: int) -> list[Indices]:
    """Give each owner's examples to one device: the largest first, to the emptiest device."""
    names, counts = np.unique(np.asarray(owners), return_counts=True)
    if len(names) < devices:
        raise InputError(
            f"the natural partition finds {len(names)} owners for {devices} devices; "
            "expected at least one for each. Choose another column, or --partition dirichlet"
        )
    held = np.zeros(devices, dtype=np.int64)
    home: dict[str, int] = {}
    for index in np.argsort(-counts, kind="stable"):
        device = int(np.argmin(held))
        home[str(names[index])] = device
        held[device] += counts[index]
    placed = np.asarray([home[owner] for owner in owners])
    return [np.flatnonzero(placed == device) for device in range(devices)]


def _cut(members: Indices, fractions: npt.NDArray[np.float64]) -> list[Indices]:
    edges = np.rint(np.cumsum(fractions)[:-1] * len(members)).astype(np.int64)
    return list(np.split(members, edges))


def _fill_up(parts: list[Indices], minimum: int, rng: np.random.Generator) -> list[Indices]:
    """Move random examples from the largest device to those below the minimum."""
    sizes = np.asarray([len(part) for part in parts])
    for poor in np.flatnonzero(sizes < minimum):
        while sizes[poor] < minimum:
            rich = int(np.argmax(sizes))
            taken = rng.integers(sizes[rich])
            parts[poor] = np.append(parts[poor], parts[rich][taken])
            parts[rich] = np.delete(parts[rich], taken)
            sizes[poor] += 1
            sizes[rich] -= 1
    return [np.sort(part) for part in parts]
