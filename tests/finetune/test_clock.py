"""The clock: the solver's own predictions where nothing changes, and what changes else."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune.clock.bill import Bill
from finetune.clock.charge import Tariff
from finetune.clock.conditions import Conditions, Moment
from finetune.clock.real import RealClock
from finetune.clock.virtual import VirtualClock
from finetune.devices import Participant, participants
from profiler.schema import DeviceTrace, Fleet, Link
from solver import Problem, solve
from solver.plan import Configuration, InputError, Plan
from tests.finetune.fleets import FACTORS, make_fleet, make_trace, plan_for
from tests.solver.instances import random_fleet

START = Moment(0)


def charged(fleet: Fleet, plan: Plan, index: int = 0, **changes: Any) -> Any:
    """Charge a device whose plan and state are changed."""
    device = participants(plan)[index]
    own = {k: v for k, v in changes.items() if k in Participant._fields}
    state = {k: v for k, v in changes.items() if k not in own}
    return Tariff(fleet, plan).charge(
        device._replace(**own), replace(fleet.devices[index], **state)
    )


@pytest.mark.parametrize("policy", ["exact", "legend", "flora", "hetlora", "fedra"])
def test_an_unchanged_fleet_costs_what_the_solver_predicts(policy: str) -> None:
    for seed in range(4):
        fleet = random_fleet(seed, layers=4, devices=6, slope_noise=0.2)
        fleet = replace(fleet, devices=[replace(d, time_scale=1.7) for d in fleet.devices])
        problem = Problem.of(fleet, ranks=[1, 2, 3, 4], policy=policy, round_time_s=25)
        plan = solve(problem)
        devices = participants(plan)
        for device in devices:
            state = next(d for d in fleet.devices if d.name == device.owner)
            charge, told = Tariff(fleet, plan).charge(device, state), device.predicted
            for name in ("time_s", "compute_s", "upload_s", "download_s"):
                assert getattr(charge, name) == pytest.approx(getattr(told, name), rel=1e-12)
            assert charge.upload_bytes == told.upload_bytes
            assert charge.download_bytes == told.download_bytes
        by_fleet = VirtualClock(plan, fleet).bill(devices, START).cost
        by_plan = VirtualClock(plan).bill(devices, START).cost
        assert by_fleet == pytest.approx(by_plan, rel=1e-12)
        assert by_plan.time_s == pytest.approx(plan.predicted.round_time_s, rel=1e-12)
        assert by_plan.mean_wait_s == pytest.approx(plan.predicted.mean_wait_s, abs=1e-9)


def test_caches_leave_out_the_prefix_and_charge_for_filling_it() -> None:
    fleet = make_fleet()
    plan = plan_for(fleet)
    shape = Configuration(depth=1, ranks=[0, 0, 4])
    plan = replace(plan, configurations=[shape, *plan.configurations[1:]])
    only: dict[str, Any] = {"configuration": 0, "local_steps": 8}
    time = fleet.classes[0].time
    prefix_s = time.embedding_s + sum(time.forward_s[:2])
    rest_s = time.forward_s[2] + time.head_s + time.backward_s[2] + 4 * time.lora_s_per_rank[2]
    plain = charged(fleet, plan, **only)
    assert plain.compute_s == pytest.approx(8 * (prefix_s + rest_s))
    # 8 steps of 4 examples see each of 20 once or more: 5 batches are enough to fill.
    by_round = charged(fleet, plan, **only, cache="round")
    assert by_round.compute_s == pytest.approx(8 * rest_s + 5 * prefix_s)
    few = charged(fleet, plan, **{**only, "local_steps": 3}, cache="round")
    assert few.compute_s == pytest.approx(3 * (prefix_s + rest_s))
    kept = charged(fleet, plan, **only, cache="always", time_scale=2.0)
    assert kept.compute_s == pytest.approx(2 * 8 * rest_s)
    assert (kept.build_s, by_round.build_s) == (pytest.approx(2 * 5 * prefix_s), 0.0)


def test_a_kept_cache_is_filled_once_and_again_at_another_depth() -> None:
    fleet = make_fleet(devices=1)
    plan = plan_for(fleet)
    device = participants(plan)[0]._replace(cache="always")
    caches: dict[str, int] = {}
    clock = VirtualClock(plan, fleet, caches=caches)
    first, second = (clock.bill([device], Moment(i)).cost.time_s for i in range(2))
    build_s = charged(fleet, plan, cache="always").build_s
    assert first - second == pytest.approx(build_s)
    assert VirtualClock(plan, fleet, caches=dict(caches)).bill([device], START).cost.time_s == (
        pytest.approx(second)
    )
    shape = replace(plan.configurations[0], depth=2, ranks=[0, 2, 2])
    other = VirtualClock(replace(plan, configurations=[shape]), fleet, caches=caches)
    first, second = (other.bill([device], Moment(i)).cost.time_s for i in range(2))
    assert first - second > 0


def traced(fleet: Fleet, seconds: bool) -> VirtualClock:
    """From 2 to 4, device 0 is slow, device 1 has half its bandwidth, device 2 is gone."""
    up = fleet.devices[1].uplink_bytes_per_s
    trace = make_trace(
        [0, 2, 4],
        DeviceTrace(name="d0", device_class=["fast", "slow"]),
        DeviceTrace(name="d1", uplink_bytes_per_s=[up, up / 2]),
        DeviceTrace(name="d2", available=[True, False]),
        seconds=seconds,
    )
    return VirtualClock(plan_for(fleet), fleet, trace)


@pytest.mark.parametrize("seconds", [False, True])
def test_a_trace_changes_class_bandwidth_and_presence(seconds: bool) -> None:
    fleet = make_fleet()
    clock, devices = traced(fleet, seconds), participants(plan_for(fleet))

    def at(moment: int) -> tuple[Bill, set[str]]:
        when = Moment(0, float(moment)) if seconds else Moment(moment, 999.0)
        there = set(clock.present(when) or {})
        return clock.bill([d for d in devices if d.owner in there], when), there

    (before, all_of_them), (later, fewer), (again, _) = at(1), at(2), at(5)
    assert all_of_them - fewer == {"d2"}
    was, now = before.charges, later.charges
    assert now["d0"].compute_s == pytest.approx(FACTORS["slow"] * was["d0"].compute_s)
    assert now["d0"].upload_s == was["d0"].upload_s
    assert now["d1"].upload_s == pytest.approx(2 * was["d1"].upload_s)
    assert now["d1"].compute_s == was["d1"].compute_s
    assert now["d3"] == was["d3"] == again.charges["d3"]
    assert again == before  # the trace begins again at its end


def test_the_deadline_leaves_out_who_the_plan_did_not_expect_to_be_late() -> None:
    fleet = make_fleet()
    plan = plan_for(fleet)
    deadline_s = plan.predicted.round_time_s
    slow = make_trace([0, 1, 9], DeviceTrace(name="d0", device_class=["fast", "slow"]))
    clock = VirtualClock(plan, fleet, slow, deadline_s=deadline_s)
    devices = participants(plan)
    on_time, late = clock.bill(devices, START), clock.bill(devices, Moment(1))
    assert not on_time.late
    assert on_time.cost.time_s == deadline_s
    assert list(late.late) == ["d0"]
    assert late.late["d0"].startswith("late: needs ")
    assert late.cost.time_s == deadline_s
    lost = on_time.charges["d0"].upload_bytes
    assert late.cost.upload_bytes == on_time.cost.upload_bytes - lost
    assert late.cost.download_bytes == on_time.cost.download_bytes


def test_a_shared_link_makes_a_round_longer() -> None:
    links = [
        Link(name="street", parent="town", uplink_bytes_per_s=200, downlink_bytes_per_s=800),
        Link(name="town", uplink_bytes_per_s=1e4, downlink_bytes_per_s=4e2),
    ]
    fleet = make_fleet(links=links)
    where = ["street", "street", "town", "", "", ""]
    placed = [replace(d, link=w) for d, w in zip(fleet.devices, where, strict=True)]
    fleet = replace(fleet, devices=placed)
    plan = plan_for(make_fleet())
    devices = participants(plan)
    bill = VirtualClock(plan, fleet).bill(devices[:4], START)
    sent = [bill.charges[d.name].upload_bytes for d in devices[:4]]
    got = [bill.charges[d.name].download_bytes for d in devices[:4]]
    street_s = sum(sent[:2]) / 200 + sum(got[:2]) / 800
    town_s = sum(sent[:3]) / 1e4 + sum(got[:3]) / 4e2
    slowest_s = max(c.time_s for c in bill.charges.values())
    assert bill.cost.time_s == pytest.approx(max(street_s, town_s, slowest_s))
    assert bill.cost.time_s > slowest_s
    # Who is behind the link is late together; the others are not.
    late = VirtualClock(plan, fleet, None, slowest_s).bill(devices[:4], START).late
    assert set(late) == ({"d0", "d1", "d2"} if town_s > slowest_s else {"d0", "d1"})


def test_nobody_there_is_a_pause() -> None:
    fleet = make_fleet(devices=1)
    plan = plan_for(fleet)
    gone = DeviceTrace(name="d0", available=[False, True])
    by_time = make_trace([0, 5, 9], gone, seconds=True)
    assert VirtualClock(plan, fleet, by_time).bill([], Moment(0, 3.0)).cost.time_s == 2.0
    by_round = make_trace([0, 5, 9], gone)
    assert VirtualClock(plan, fleet, by_round).bill([], START).cost.time_s == 0.0
    assert VirtualClock(plan, fleet, by_round, 7.0).bill([], START).cost.time_s == 7.0


@pytest.mark.parametrize("interval_s", [0.1, 7.215142350047551, 25.34821336059894])
def test_a_wait_for_an_edge_ends_there(interval_s: float) -> None:
    fleet = make_fleet(devices=1)
    away = DeviceTrace(name=fleet.devices[0].name, available=[True, False, True, False])
    edges = [row * interval_s for row in range(5)]
    trace = replace(make_trace([0, 1], seconds=True), edge_s=edges, devices=[away])
    conditions, now_s = Conditions(fleet, trace), 0.0
    for index in range(300):
        when = Moment(index, now_s)
        if not conditions.at(when):
            now_s += conditions.next_s(when)
            assert conditions.at(Moment(index, now_s)), now_s
        now_s += 0.37 * interval_s


def test_the_real_clock_charges_what_was_measured() -> None:
    fleet = make_fleet()
    plan = plan_for(fleet)
    devices = participants(plan)[:3]
    clock = RealClock(VirtualClock(plan, fleet), deadline_s=2.5)
    bill = clock.bill(devices, START)
    assert not bill.late
    settled = clock.settle(bill, {"d0": 1.0, "d1": 3.0})
    assert settled.cost.time_s == 2.5
    assert set(settled.late) == {"d1"}
    assert settled.cost.mean_wait_s == pytest.approx((1.5 + 0 + 2.5) / 3)
    assert settled.charges["d0"].compute_s == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": make_fleet(devices=5).devices}, "has no device where the plan has 1 dev"),
        ({"lora": replace(make_fleet().lora, scaling=1.0)}, "with other sizes than the plan's"),
    ],
)
def test_another_fleet_than_planned_is_refused(change: dict[str, Any], message: str) -> None:
    plan = plan_for(make_fleet())
    with pytest.raises(InputError, match=message):
        VirtualClock(plan, replace(make_fleet(), **change))


def test_a_trace_of_another_fleet_is_refused() -> None:
    fleet = make_fleet()
    for trace, message in (
        (make_trace([0, 1], DeviceTrace(name="x")), "'x', which is not in the fleet"),
        (make_trace([0, 1], DeviceTrace(name="d0", device_class=["y"])), "to class 'y'"),
    ):
        with pytest.raises(InputError, match=message):
            VirtualClock(plan_for(fleet), fleet, trace)
