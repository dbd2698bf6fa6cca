"""What the checker works out again, by hand where the small plan does not reach."""

from typing import Any

import pytest
from msgspec.structs import replace

from profiler.schema import DepthCost, Fleet, Link
from solver.check.caches import expected_cache
from solver.check.costs import Recomputed, layer_gain, recompute
from solver.check.links import LinkTraffic, link_checks
from solver.plan import Plan, PredictedLink
from tests.solver.fleets import GAIN, hand_plan, planned_fleet


def with_fast(plan: Plan, fleet: Fleet, **fields: Any) -> Recomputed:
    """Figures of the plan where device b of the fleet has other fields."""
    devices = [replace(d, **fields) if d.name == "b" else d for d in fleet.devices]
    return recompute(plan, replace(fleet, devices=devices))


def test_a_cache_for_each_round_worked_out_by_hand() -> None:
    """Five steps of 4 meet 12 examples, so 3 of them compute the embedding, 0.025 s each."""
    plan = hand_plan()
    devices = [replace(d, cache="round") if d.name == "b" else d for d in plan.devices]
    found = with_fast(replace(plan, devices=devices), planned_fleet(), examples=12).devices["b"]
    assert found.compute_s == pytest.approx(2.425 + 3 * 0.025)
    assert (found.storage_bytes, found.cache_build_s) == (12 * 16 * 8 * 4, 0.0)


@pytest.mark.parametrize(
    ("rounds", "kept"),
    # A round meets 20 examples, of which a cache for the round fits none; filling takes 60.
    [(None, "always"), (4, "always"), (3, "off")],
)
def test_a_cache_for_good_has_to_pay_for_its_filling(rounds: int | None, kept: str) -> None:
    plan, fleet = hand_plan(), planned_fleet()
    asked = replace(plan, question=replace(plan.question, cache_rounds=rounds))
    (device,) = [d for d in fleet.devices if d.name == "b"]
    assert expected_cache(asked, fleet, device) == kept


def test_a_cache_for_each_round_is_of_use_where_steps_meet_examples_twice() -> None:
    plan, fleet = hand_plan(), planned_fleet()
    asked = replace(plan, question=replace(plan.question, cache="round"))
    (device,) = [d for d in fleet.devices if d.name == "b"]
    found = [expected_cache(asked, fleet, replace(device, examples=n)) for n in (19, 20)]
    assert found == ["round", "off"]


def test_a_slower_device_fills_its_cache_more_slowly() -> None:
    found = with_fast(hand_plan(), planned_fleet(), time_scale=2.0).devices["b"]
    assert (found.compute_s, found.cache_build_s) == (2 * 2.425, 2 * 0.375)


@pytest.mark.parametrize("phase", ["forward_bytes", "backward_bytes", "optimizer_bytes"])
def test_the_phase_that_needs_most_is_the_memory(phase: str) -> None:
    fleet, large = (
        planned_fleet(),
        DepthCost(by_depth=[0.0, 0.0, 0.0, 140.0], per_rank=[1.0] * 3),
    )
    slow, fast = fleet.classes
    fast = replace(fast, memory=replace(fast.memory, **{phase: large}))
    found = recompute(hand_plan(), replace(fleet, classes=[slow, fast]))
    assert found.devices["b"].memory_bytes == 1500 + 140 + 9


@pytest.mark.parametrize("errors", [(0.02, 0.3), (0.3, 0.02)])
def test_times_are_as_sure_as_the_least_sure_class(errors: tuple[float, float]) -> None:
    fleet = planned_fleet()
    classes = [
        replace(c, time=replace(c.time, error_fraction=error))
        for c, error in zip(fleet.classes, errors, strict=True)
    ]
    found = recompute(hand_plan(), replace(fleet, classes=classes))
    assert found.round.time_error_fraction == 0.3


def test_gains_are_linear_between_ranks_and_flat_above() -> None:
    found = [layer_gain(GAIN, 0, rank) for rank in (0, 1, 2, 3, 4, 5, 64)]
    assert found == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2])


def behind_links(uplink_bytes_per_s: float = 500.0) -> dict[str, LinkTraffic]:
    """Traffic of the small plan where a is behind an access point, and that and b a site.

    Of device a there are two, with 328 bytes each way; b has 648.
    """
    fleet, at = planned_fleet(), {"a": "ap", "b": "site", "c": "ap"}
    site = Link(name="site", uplink_bytes_per_s=2000.0, downlink_bytes_per_s=4000.0)
    point = Link(
        name="ap",
        parent="site",
        uplink_bytes_per_s=uplink_bytes_per_s,
        downlink_bytes_per_s=1000.0,
    )
    devices = [replace(d, link=at[d.name]) for d in fleet.devices]
    found = recompute(hand_plan(), replace(fleet, devices=devices, links=[point, site]))
    busiest_s = max(link.busy_s for link in found.links.values())
    assert found.round.round_time_s == pytest.approx(max(6.692, busiest_s))
    assert found.devices["a"].wait_s == pytest.approx(max(0.0, busiest_s - 6.692))
    return found.links


def test_bytes_pass_every_link_on_their_way() -> None:
    found = behind_links()
    assert {name: (link.upload_bytes, link.download_bytes) for name, link in found.items()} == {
        "ap": (656.0, 656.0),
        "site": (1304.0, 1304.0),
    }
    assert found["ap"].busy_s == pytest.approx(656 / 500 + 656 / 1000)
    assert found["site"].busy_s == pytest.approx(1304 / 2000 + 1304 / 4000)


def test_links_are_in_the_plan_once_and_the_busiest_keeps_the_budget() -> None:
    truth = behind_links(uplink_bytes_per_s=50.0)
    listed = [
        PredictedLink(
            name=name,
            busy_s=link.busy_s,
            upload_bytes=link.upload_bytes,
            download_bytes=link.download_bytes,
        )
        for name, link in truth.items()
    ]
    for links, wrong in ((listed, set()), ([*listed, listed[0]], {"links"}), ([], {"links"})):
        failed = [c for c in link_checks(replace(hand_plan(), links=links), truth) if not c.ok]
        assert {c.name for c in failed} == wrong | {"links.budget"}
    assert failed[-1].seen == pytest.approx(13.776)
    assert "'ap'" in failed[-1].detail
