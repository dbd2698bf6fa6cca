"""Whether every device has the cache that the question gives it, and room to store it."""

from profiler.schema import Fleet, FleetDevice
from solver.check.costs import distinct, example_bytes, prefix_s
from solver.check.finding import Check, verdict
from solver.plan import Cache, Plan

__all__ = ["cache_checks", "expected_cache"]


def cache_checks(plan: Plan, fleet: Fleet) -> list[Check]:
    """Check the kind of every cache and its storage, from the fleet alone."""
    known = {d.name: d for d in fleet.devices}
    times = {c.name: c.time for c in fleet.classes}
    wrong, over = [], []
    for planned in plan.devices:
        device = known.get(planned.name)
        if device is None:
            continue  # another check
        shape = plan.configuration_of(planned)
        expected: Cache = "off"
        if shape is not None and prefix_s(times[device.device_class], shape.depth) > 0:
            expected = expected_cache(plan, fleet, device)
        if planned.cache != expected:
            wrong.append((planned.name, planned.cache, expected))
        needed = example_bytes(fleet) * _kept(fleet, device, planned.cache)
        if needed > device.storage_bytes:
            over.append((planned.name, needed, device.storage_bytes))
    return [verdict("devices.cache", wrong), verdict("devices.storage", over)]


def expected_cache(plan: Plan, fleet: Fleet, device: FleetDevice) -> Cache:
    """Fastest cache that is asked for, of use, and within the device's storage."""
    asked = plan.question.cache
    kinds: list[Cache] = ["always", "round"]
    for kind in kinds:
        useful = kind == "always" or (
            distinct(fleet, device) < device.local_steps * fleet.training.batch_size
        )
        fits = example_bytes(fleet) * _kept(fleet, device, kind) <= device.storage_bytes
        if asked == "auto" and kind == "always":
            useful = _pays_off(plan, fleet, device)
        if asked in (kind, "auto") and useful and fits:
            return kind
    return "off"


def _pays_off(plan: Plan, fleet: Fleet, device: FleetDevice) -> bool:
    """Whether keeping a cache spares more than filling it, and than one for each round."""
    rounds = plan.question.cache_rounds
    if rounds is None:
        return True
    met = device.local_steps * fleet.training.batch_size
    each = example_bytes(fleet) * distinct(fleet, device)
    anew = met - distinct(fleet, device) if each <= device.storage_bytes else 0
    return rounds * met - device.examples > rounds * anew


def _kept(fleet: Fleet, device: FleetDevice, cache: Cache) -> int:
    """Examples in a cache."""
    return {"off": 0, "round": distinct(fleet, device), "always": device.examples}[cache]
