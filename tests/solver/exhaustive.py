"""Every rank vector at every depth, in plain Python: slow, and hard to get wrong.

Ranks and layers run from the output here, as depth does.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from msgspec import UNSET

from profiler.schema import Fleet, FleetDevice
from solver.plan import Question

SLACK = 1e-10


@dataclass(frozen=True, slots=True)
class Need:
    """What one device needs of everything at one configuration."""

    time_s: float
    memory_bytes: float
    sent_bytes: float
    received_bytes: float
    energy_j: float


@dataclass(frozen=True, slots=True)
class Best:
    """The best plan for an objective; `value` is None where there is no plan.

    `utility` breaks the ties of objective 'legend'.
    """

    value: float | None
    utility: float = 0.0


def need(
    fleet: Fleet,
    device: FleetDevice,
    ranks: tuple[int, ...],
    depth: int,
    question: Question | None = None,
) -> Need:
    owner = next(c for c in fleet.classes if c.name == device.device_class)
    time, memory, lora = owner.time, owner.memory, fleet.lora
    step_s = time.embedding_s + math.fsum(time.forward_s) + time.head_s
    parameters = head = float(fleet.model.head_parameters)
    phases = [memory.forward_bytes, memory.backward_bytes, memory.optimizer_bytes]
    peaks = [phase.by_depth[depth] for phase in phases]
    for j in range(depth):
        layer = fleet.model.layers - 1 - j
        step_s += time.backward_s[layer] + time.lora_s_per_rank[layer] * ranks[j]
        parameters += lora.parameters_per_rank[layer] * ranks[j]
        for p, phase in enumerate(phases):
            peaks[p] += phase.per_rank[layer] * ranks[j]
    compute_s = device.time_scale * (
        device.local_steps * step_s - spared_s(fleet, device, depth, question)
    )
    scales = 8 * len(fleet.model.targets) * sum(ranks[:depth])
    in_codec = {
        "none": parameters * lora.bytes_per_parameter,
        "float16": 2 * parameters,
        "int8": 2 * head + (parameters - head) + scales,
    }
    sent = in_codec["none" if question is None else question.upload_codec]
    received = in_codec["none" if question is None else question.download_codec]
    machine = owner.device
    return Need(
        time_s=compute_s
        + sent / device.uplink_bytes_per_s
        + received / device.downlink_bytes_per_s
        + device.latency_s,
        memory_bytes=memory.weights_bytes + memory.framework_bytes + max(peaks),
        sent_bytes=sent,
        received_bytes=received,
        energy_j=machine.power_w * compute_s + machine.radio_j_per_byte * (sent + received),
    )


def spared_s(fleet: Fleet, device: FleetDevice, depth: int, question: Question | None) -> float:
    """Seconds of a round that the best cache spares, before the device's scale."""
    asked = "off" if question is None else question.cache
    if depth == 0 or asked == "off":
        return 0.0
    time = next(c.time for c in fleet.classes if c.name == device.device_class)
    prefix = time.embedding_s + math.fsum(time.forward_s[: fleet.model.layers - depth])
    training = fleet.training
    one = training.sequence_length * fleet.model.hidden_size
    one *= 4 if training.dtype == "float32" else 2
    met = device.local_steps * training.batch_size
    fresh = min(device.examples, met)
    steps = {
        "round": (device.local_steps - fresh / training.batch_size, fresh),
        "always": (float(device.local_steps), device.examples),
    }
    rounds = None if question is None else question.cache_rounds
    if asked == "auto" and rounds is not None:
        keeps, anew = steps["always"][0], steps["round"]
        filling = device.examples / training.batch_size
        other = anew[0] if anew[1] * one <= device.storage_bytes else 0.0
        if rounds * keeps - filling <= rounds * other:
            del steps["always"]
    spared = [
        saved
        for kind, (saved, stored) in steps.items()
        if asked in (kind, "auto") and stored * one <= device.storage_bytes
    ]
    return prefix * max(spared, default=0.0)


def fits(fleet: Fleet, device: FleetDevice, question: Question, needs: Need) -> bool:
    budgets = question.budgets
    pairs = [
        (needs.time_s, budgets.round_time_s),
        (needs.sent_bytes, budgets.upload_bytes),
        (needs.received_bytes, budgets.download_bytes),
        (needs.energy_j, budgets.energy_j),
        (needs.memory_bytes, device.memory_bytes or None),
        *own_pairs(fleet, device, needs),
    ]
    return all(limit is None or value <= limit * (1 + SLACK) for value, limit in pairs)


def own_pairs(
    fleet: Fleet, device: FleetDevice, needs: Need
) -> list[tuple[float, float | None]]:
    """What a device needs of everything that it, or else its class, has a limit on."""
    owner = next(c for c in fleet.classes if c.name == device.device_class)
    figures = {
        "upload_limit_bytes": needs.sent_bytes,
        "download_limit_bytes": needs.received_bytes,
        "energy_limit_j": needs.energy_j,
        "time_limit_s": needs.time_s,
    }
    pairs = []
    for field, figure in figures.items():
        own, common = getattr(device, field), getattr(owner, field)
        limit = common if own is UNSET else own
        pairs.append((figure, None if limit is UNSET else limit))
    return pairs


def layer_gain(fleet: Fleet, j: int, rank: int) -> float:
    row = fleet.gain.by_layer[fleet.model.layers - 1 - j]
    points = [(0, 0.0), *zip(fleet.gain.ranks, row, strict=True)]
    for (r0, g0), (r1, g1) in pairwise(points):
        if rank <= r1:
            return g0 + (g1 - g0) * (rank - r0) / (r1 - r0)
    return points[-1][1]


def weights(fleet: Fleet, question: Question) -> list[float]:
    every = [
        d.count * (d.examples if question.weights == "examples" else 1) for d in fleet.devices
    ]
    return [w / sum(every) for w in every]


def rank_vectors(layers: int, question: Question) -> Iterator[tuple[int, ...]]:
    """Ranks of the last K layers, for every K and all choices within the rank budget."""
    budget = question.budgets.rank_budget
    for k in range(layers + 1):
        for ranks in product(question.rank_choices, repeat=k):
            if (budget is None or sum(ranks) <= budget) and in_shape(ranks, question):
                yield ranks


def in_shape(ranks: tuple[int, ...], question: Question) -> bool:
    """Whether ranks, from the output, keep the shape that is asked for."""
    steps = [near - far for near, far in pairwise(ranks)]
    if question.rank_shape == "free":
        return True
    constant = question.rank_shape == "rising" or len(set(steps)) <= 1
    return constant and all(step >= 0 for step in steps)


def options(
    fleet: Fleet, question: Question, device: FleetDevice, ranks: tuple[int, ...]
) -> list[tuple[float, float]]:
    """(gain, time) of every depth that a device may take under given ranks."""
    return [(gain, time_s) for gain, time_s, _ in depths(fleet, question, device, ranks)]


def depths(
    fleet: Fleet, question: Question, device: FleetDevice, ranks: tuple[int, ...]
) -> list[tuple[float, float, int]]:
    """(gain, time, depth) of every depth that a device may take under given ranks."""
    found = []
    most = len(ranks) if question.max_depth is None else min(question.max_depth, len(ranks))
    for depth in range(question.min_depth, most + 1):
        needs = need(fleet, device, ranks, depth, question)
        if fits(fleet, device, question, needs):
            gain = math.fsum(layer_gain(fleet, j, ranks[j]) for j in range(depth))
            found.append((gain, needs.time_s, depth))
    return found


def best_shared(fleet: Fleet, question: Question) -> Best:
    """Largest utility, smallest round time or largest ratio of the two, shared ranks."""
    return _best(
        question,
        (_rounds(fleet, question, r) for r in rank_vectors(fleet.model.layers, question)),
    )


def best_depths(fleet: Fleet, question: Question, ranks: tuple[int, ...]) -> Best:
    """The same for ranks that are given: only the depths are searched."""
    return _best(question, iter([_rounds(fleet, question, ranks)]))


def best_own(fleet: Fleet, question: Question) -> Best:
    """Largest utility with ranks of its own for every device, without a mean wait."""
    vectors = list(rank_vectors(fleet.model.layers, question))
    total = 0.0
    for device, weight in zip(fleet.devices, weights(fleet, question), strict=True):
        every = [gain for r in vectors for gain, _ in options(fleet, question, device, r)]
        if not every:
            return Best(None)
        total += weight * max(every)
    return Best(total)


@dataclass(frozen=True, slots=True)
class Round:
    utility: float
    depth: float
    slowest_s: float
    wait_s: float


def _rounds(fleet: Fleet, question: Question, ranks: tuple[int, ...]) -> Iterator[Round]:
    """The combinations of depths worth looking at."""
    every = [depths(fleet, question, d, ranks) for d in fleet.devices]
    simple = question.objective in ("utility", "legend")
    if simple and question.budgets.mean_wait_s is None and all(every):
        key = 2 if question.objective == "legend" else 0
        every = [[max(e, key=lambda o: o[key])] for e in every]
    share = weights(fleet, question)
    counts = [d.count for d in fleet.devices]
    for chosen in product(*every):
        slowest = max(t for _, t, _ in chosen)
        wait = sum(n * (slowest - t) for n, (_, t, _) in zip(counts, chosen, strict=True))
        yield Round(
            utility=math.fsum(w * o[0] for w, o in zip(share, chosen, strict=True)),
            depth=math.fsum(w * o[2] for w, o in zip(share, chosen, strict=True)),
            slowest_s=slowest,
            wait_s=wait / sum(counts),
        )


def _best(question: Question, rounds: Iterator[Iterator[Round]]) -> Best:
    epsilon = question.budgets.mean_wait_s
    floor = question.min_utility or 0.0
    found = [
        r
        for each in rounds
        for r in each
        if (epsilon is None or r.wait_s <= epsilon * (1 + SLACK))
        and (question.objective in ("utility", "legend") or r.utility >= floor)
    ]
    if not found:
        return Best(None)
    if question.objective == "time":
        return Best(min(r.slowest_s for r in found))
    if question.objective == "efficiency":
        return Best(max(r.utility / r.slowest_s if r.slowest_s > 0 else 0.0 for r in found))
    if question.objective == "legend":
        most = max(r.depth for r in found)
        deep = [r.utility for r in found if r.depth >= most * (1 - SLACK)]
        return Best(most, max(deep))
    return Best(max(r.utility for r in found))


def best_capped(fleet: Fleet, question: Question) -> float | None:
    """Largest utility over all shared ranks, every device at its best cap and depth."""
    found = []
    for ranks in rank_vectors(fleet.model.layers, question):
        answers = [
            [
                gain
                for cap in question.rank_choices
                for gain, _ in options(
                    fleet, question, device, tuple(min(r, cap) for r in ranks)
                )
            ]
            for device in fleet.devices
        ]
        if all(answers):
            shares = zip(weights(fleet, question), answers, strict=True)
            found.append(math.fsum(w * max(gains) for w, gains in shares))
    return max(found, default=None)
