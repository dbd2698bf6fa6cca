"""What was predicted and what was seen, device by device and round by round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.result import Figure, figure
from benchmarks.testbed.counters import busy_s, moved_bytes, within
from benchmarks.testbed.devices import Spec
from benchmarks.testbed.network import CABLE
from benchmarks.testbed.play import Played
from profiler.units import BYTES_PER_S_PER_MBIT
from solver.plan import Plan, PredictedDevice

__all__ = ["Seen", "plan_figures", "seen_rounds", "speedup_figures"]

TARGET_ERROR_PERCENT = 10.0
TARGET_SPEEDUP = 2.0
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A round of a device.

    Parameters
    ----------
    train_s : float
        By the device's clock.
    transfer_s : float
        Seconds in which its link was in use, either way, by the kernel's counters.
    round_trip_s : float
        By the server's clock, Flower's polling and processes included.
    wire_bytes : int
        Both ways, by the kernel's counters, everything counted.
    """

    train_s: float
    transfer_s: float
    round_trip_s: float
    wire_bytes: int

    @property
    def own_s(self) -> float:
        """Training and transfer: what the plan predicts."""
        return self.train_s + self.transfer_s


def seen_rounds(played: Played, devices: Sequence[Spec]) -> list[dict[str, Seen]]:
    """What a round took each device; not the first, which loads models and is uncaged."""
    rounds = []
    for number, (begin_s, end_s) in enumerate(played.spans, start=1):
        samples = within(played.samples, begin_s, end_s)
        reports = {r.device: r for r in played.reports if r.round == number}
        seen = {}
        for index, device in enumerate(devices):
            if device.name not in reports:
                continue
            cable, report = CABLE.format(index=index), reports[device.name]
            speed = device.mbit_per_s * BYTES_PER_S_PER_MBIT
            seen[device.name] = Seen(
                train_s=report.train_s,
                transfer_s=sum(busy_s(samples, cable, speed)),
                round_trip_s=report.round_trip_s,
                wire_bytes=sum(moved_bytes(samples, cable)),
            )
        rounds.append(seen)
    return rounds[1:]


def _round_s(seen: Mapping[str, Seen], *, with_flower: bool = False) -> float:
    return max(s.round_trip_s if with_flower else s.own_s for s in seen.values())


def _wait_s(seen: Mapping[str, Seen]) -> float:
    return sum(_round_s(seen) - s.own_s for s in seen.values()) / len(seen)


def _error_percent(seen: float, predicted: float) -> float:
    return 100 * abs(seen / predicted - 1)


def plan_figures(name: str, plan: Plan, rounds: Sequence[Mapping[str, Seen]]) -> list[Figure]:
    """Prediction against what was seen; a value a round."""
    predicted = plan.predicted
    costs = {d.name: d.predicted for d in plan.devices if d.predicted is not None}
    payload = predicted.upload_bytes + predicted.download_bytes
    round_s = [_round_s(seen) for seen in rounds]
    errors = [_error_percent(s, predicted.round_time_s) for s in round_s]
    worst = [
        max(_error_percent(s.own_s, costs[d].time_s) for d, s in seen.items())
        for seen in rounds
    ]
    overhead = [s.round_trip_s - s.own_s for seen in rounds for s in seen.values()]
    wire = [sum(s.wire_bytes for s in seen.values()) for seen in rounds]
    trips = [_round_s(seen, with_flower=True) for seen in rounds]
    ratios = [w / payload for w in wire]
    return [
        figure("round time, predicted", [predicted.round_time_s], "s", setting=name),
        figure("round time, training and transfer", round_s, "s", setting=name),
        figure("error of the predicted round time", errors, "%", setting=name,
               target=TARGET_ERROR_PERCENT),
        figure("error of the worst device's time", worst, "%", setting=name),
        *_rescaled(name, costs, rounds),
        figure("round time, with Flower", trips, "s", setting=name),
        figure("Flower's polling and processes, a device", overhead, "s", setting=name),
        figure("mean wait, predicted", [predicted.mean_wait_s], "s", setting=name),
        figure("mean wait", [_wait_s(seen) for seen in rounds], "s", setting=name),
        figure("bytes a round, predicted", [payload / MB], "MB", setting=name),
        figure("bytes a round on the wire", [w / MB for w in wire], "MB", setting=name),
        figure("bytes on the wire over predicted", ratios, "1", setting=name),
        *_device_figures(name, costs, rounds),
    ]  # fmt: skip


def _device_figures(
    name: str, costs: Mapping[str, PredictedDevice], rounds: Sequence[Mapping[str, Seen]]
) -> list[Figure]:
    """Seen over predicted by device: training and transfer apart."""
    found = []
    for device, cost in costs.items():
        rows = [seen[device] for seen in rounds if device in seen]
        if not rows:
            continue
        network_s = cost.upload_s + cost.download_s
        setting = f"{name}, {device}"
        train = [row.train_s / cost.compute_s for row in rows]
        transfer = [row.transfer_s / network_s for row in rows]
        found += [
            figure("training, seen over predicted", train, "1", setting=setting),
            figure("transfer, seen over predicted", transfer, "1", setting=setting),
        ]
    return found


def _rescaled(
    name: str, costs: Mapping[str, PredictedDevice], rounds: Sequence[Mapping[str, Seen]]
) -> list[Figure]:
    """Error once every device's training is scaled by its first round counted."""
    if len(rounds) < 2:
        return []
    first, *others = rounds
    expected = max(
        seen.train_s + costs[device].time_s - costs[device].compute_s
        for device, seen in first.items()
    )
    errors = [_error_percent(_round_s(seen), expected) for seen in others]
    title = "error of the round time, scaled by one observed round"
    return [figure(title, errors, "%", setting=name)]


def speedup_figures(
    ours: Sequence[Mapping[str, Seen]], fedlora: Sequence[Mapping[str, Seen]]
) -> list[Figure]:
    """Wall clock of FedLoRA's rounds over ours, in pairs as they came."""
    pairs = list(zip(ours, fedlora, strict=False))
    return [
        figure(
            f"speedup over uniform FedLoRA, {title}",
            [_round_s(b, with_flower=f) / _round_s(a, with_flower=f) for a, b in pairs],
            "1",
            setting="wall clock of a round",
            target=TARGET_SPEEDUP,
            better="high",
        )
        for title, f in (("training and transfer", False), ("with Flower", True))
    ]
