"""The checker against figures worked out by hand, and against every tampered field."""

import math
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from solver.check import check
from solver.check.costs import recompute
from solver.check.verdict import FIGURES, ROUND_FIGURES
from solver.plan import Plan
from tests.solver.fleets import LAYERS, hand_plan, planned_fleet

Path = tuple[str | int, ...]


def tampered(path: Path, value: object) -> Plan:
    """Put `value` at `path` of the hand-made plan, through JSON as a forger would."""
    raw: Any = msgspec.to_builtins(hand_plan())
    spot = raw
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    return msgspec.convert(raw, type=Plan)


def failures(plan: Plan) -> set[str]:
    return {c.name for c in check(plan, planned_fleet()).failed}


def test_figures_worked_out_by_hand_pass() -> None:
    verdict = check(hand_plan(), planned_fleet())
    assert verdict.ok, verdict.failed
    assert len({c.name for c in verdict.checks}) == len(verdict.checks) > 30


@pytest.mark.parametrize("field", FIGURES)
@pytest.mark.parametrize("factor", [1 + 1e-6, 0.5])
def test_a_wrong_device_figure_is_caught(field: str, factor: float) -> None:
    truth = getattr(hand_plan().devices[1].predicted, field)
    plan = tampered(("devices", 1, "predicted", field), truth * factor)
    assert failures(plan) == {f"devices.predicted.{field}"}
    (found,) = check(plan, planned_fleet()).failed
    assert found.expected == pytest.approx(truth, rel=1e-12)
    assert "'b'" in found.detail


@pytest.mark.parametrize("field", ROUND_FIGURES)
def test_a_wrong_round_figure_is_caught(field: str) -> None:
    truth = getattr(hand_plan().predicted, field)
    plan = tampered(("predicted", field), truth * (1 + 1e-6))
    assert failures(plan) == {f"predicted.{field}"}


@pytest.mark.parametrize("field", FIGURES)
def test_figures_that_are_no_numbers_are_caught(field: str) -> None:
    plan = hand_plan()
    truth = plan.devices[1].predicted
    assert truth is not None
    for value in (math.nan, math.inf):
        wrong = replace(truth, **{field: value})
        device = replace(plan.devices[1], predicted=wrong)
        forged = replace(plan, devices=[plan.devices[0], device, plan.devices[2]])
        assert failures(forged) == {f"devices.predicted.{field}"}


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        (("model", "name"), "other", "model"),
        (("training", "batch_size"), 5, "training"),
        (("lora", "scaling"), 1.0, "lora"),
        (("devices", 0, "name"), "stranger", "devices"),
        (("devices", 2, "name"), "a", "devices"),
        (("devices", 0, "device_class"), "fast", "devices.device_class"),
        (("devices", 0, "count"), 3, "devices.count"),
        (("devices", 0, "examples"), 31, "devices.examples"),
        (("devices", 0, "local_steps"), 6, "devices.local_steps"),
        (("devices", 0, "configuration"), 1, "devices.predicted.compute_s"),
        (("devices", 0, "cache"), "always", "devices.storage"),
        (("devices", 1, "cache"), "round", "devices.cache"),
        (("devices", 1, "cache"), "off", "devices.cache"),
        (("devices", 2, "cache"), "round", "devices.cache"),
        (("question", "cache"), "off", "devices.cache"),
        (("question", "cache"), "round", "devices.cache"),
        (("question", "upload_codec"), "float16", "devices.predicted.upload_bytes"),
        (("question", "upload_codec"), "int8", "devices.predicted.upload_bytes"),
        (("question", "download_codec"), "float16", "devices.predicted.download_bytes"),
        (("question", "download_codec"), "int8", "devices.predicted.download_bytes"),
        (("question", "max_depth"), 2, "configurations.depth"),
        (("question", "rank_choices"), [2, 4], "configurations.ranks"),
        (("question", "rank_choices"), [], "configurations.ranks"),
        (("question", "min_depth"), 2, "configurations.depth"),
        (("question", "weights"), "equal", "predicted.utility"),
        (("question", "objective"), "time", "certificate.value"),
        (("question", "objective"), "efficiency", "certificate.value"),
        (("ranks",), [2, 3, 3], "configurations.shared"),
        (("ranks",), [2, 2, 4], "configurations.shared"),
        (("ranks",), [0, 3, 4], "configurations.shared"),
        (("configurations", 0, "ranks"), [0, 0, 3], "configurations.shared"),
        (("configurations", 1, "ranks"), [2, 3, 3], "predicted.utility"),
        (("certificate", "value"), 0.63, "certificate.value"),
        (("certificate", "bound"), 0.6, "certificate.bound"),
        (("certificate", "bound"), None, "certificate.gap_fraction"),
        (("certificate", "gap_fraction"), 0.1, "certificate.gap_fraction"),
        (("certificate", "gap_fraction"), None, "certificate.gap_fraction"),
        (("certificate", "status"), "optimal", "certificate.status"),
        (("certificate", "status"), "infeasible", "certificate.status"),
        (("certificate", "tolerance_fraction"), 0.5, "certificate.tolerance_fraction"),
    ],
)
def test_a_tampered_field_is_caught(path: Path, value: object, name: str) -> None:
    assert name in failures(tampered(path, value))


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        ("round_time_s", 6.691),
        ("mean_wait_s", 0.97),
        ("upload_bytes", 647.0),
        ("download_bytes", 647.0),
        ("energy_j", 60.0),
        ("rank_budget", 8),
    ],
)
def test_a_broken_budget_is_caught(budget: str, limit: float) -> None:
    plan = tampered(("question", "budgets", budget), limit)
    assert failures(plan) == {f"budgets.{budget}"}
    assert check(tampered(("question", "budgets", budget), None), planned_fleet()).ok


def test_a_budget_met_to_the_last_digit_holds() -> None:
    assert not failures(tampered(("question", "budgets", "round_time_s"), 6.692))


def test_memory_of_each_device_is_a_limit() -> None:
    fleet = planned_fleet()
    tight = [replace(d, memory_bytes=1559 if d.name == "b" else 0) for d in fleet.devices]
    verdict = check(hand_plan(), replace(fleet, devices=tight))
    (found,) = verdict.failed
    assert (found.name, found.seen, found.expected) == ("devices.memory", 1560.0, 1559.0)


@pytest.mark.parametrize(("storage", "ok"), [(30_720, True), (30_719, False), (0, False)])
def test_storage_of_each_device_is_a_limit(storage: int, ok: bool) -> None:
    fleet = planned_fleet()
    devices = [replace(d, storage_bytes=storage if d.name == "b" else 0) for d in fleet.devices]
    failed = {c.name for c in check(hand_plan(), replace(fleet, devices=devices)).failed}
    assert failed == (set() if ok else {"devices.storage", "devices.cache"})


@pytest.mark.parametrize(
    ("codec", "size"),
    # 16 parameters and 18 of the head; ranks 2, 3 and 4 of one module.
    [("float16", 2 * (9 * 16 + 18)), ("int8", 9 * (16 + 8) + 2 * 18)],
)
def test_compressed_bytes_worked_out_by_hand(codec: Any, size: float) -> None:
    plan = hand_plan()

    def found(**asked: Any) -> tuple[float, float]:
        changed = replace(plan, question=replace(plan.question, **asked))
        device = recompute(changed, planned_fleet()).devices["b"]
        return device.upload_bytes, device.download_bytes

    assert found(upload_codec=codec) == (size, 648.0)
    assert found(download_codec=codec) == (648.0, size)


def test_a_device_left_out_of_the_plan_is_caught() -> None:
    plan = hand_plan()
    assert failures(replace(plan, devices=plan.devices[:2])) == {"devices"}
    assert (
        "missing: c"
        in check(replace(plan, devices=plan.devices[:2]), planned_fleet()).failed[0].detail
    )


def test_a_device_twice_is_caught() -> None:
    plan = hand_plan()
    assert "devices" in failures(replace(plan, devices=[*plan.devices, plan.devices[0]]))


@pytest.mark.parametrize(("device", "caught"), [(0, False), (2, True)])
def test_nobody_fills_a_wait_but_who_takes_part(device: int, caught: bool) -> None:
    raw: Any = msgspec.to_builtins(hand_plan())
    raw["question"]["fill_wait"] = 2.0
    raw["devices"][device]["local_steps"] = 6
    found = failures(msgspec.convert(raw, type=Plan))
    assert ("devices.local_steps" in found) == caught


@pytest.mark.parametrize(
    ("shape", "ranks", "ok"),
    [
        ("rising", [2, 2, 4], True),
        ("rising", [4, 2, 4], False),
        ("progression", [2, 3, 4], True),
        ("progression", [2, 2, 4], False),
        ("progression", [4, 3, 2], False),
        ("free", [4, 2, 4], True),
    ],
)
def test_the_servers_ranks_run_as_asked(shape: str, ranks: list[int], ok: bool) -> None:
    raw: Any = msgspec.to_builtins(hand_plan())
    raw["question"]["rank_shape"], raw["ranks"] = shape, ranks
    assert ("question.rank_shape" not in failures(msgspec.convert(raw, type=Plan))) == ok


@pytest.mark.parametrize(("policy", "ok"), [("exact", False), ("fedra", True)])
def test_nobody_is_left_out_by_the_exact_policy_unasked(policy: str, ok: bool) -> None:
    raw: Any = msgspec.to_builtins(hand_plan())
    raw["question"]["policy"], raw["question"]["leave_out"] = policy, "nobody"
    assert ("question.leave_out" not in failures(msgspec.convert(raw, type=Plan))) == ok


def test_the_servers_ranks_are_among_the_choices_too() -> None:
    raw: Any = msgspec.to_builtins(hand_plan())
    raw["question"]["structure"], raw["ranks"] = "own", [2, 3, 5]
    assert "configurations.ranks" in failures(msgspec.convert(raw, type=Plan))


def test_order_of_devices_does_not_matter() -> None:
    plan = hand_plan()
    assert check(replace(plan, devices=plan.devices[::-1]), planned_fleet()).ok


def test_nobody_taking_part_is_caught() -> None:
    plan = hand_plan()
    idle = [replace(d, configuration=None, predicted=None) for d in plan.devices]
    assert "devices.configuration" in failures(replace(plan, devices=idle))


@pytest.mark.parametrize(
    ("structure", "ranks", "ok"),
    [
        ("capped", [2, 3, 3], True),
        ("capped", [2, 2, 2], True),
        ("capped", [2, 2, 3], False),
        ("own", [2, 2, 3], True),
        ("own", [3, 3, 4], False),
        ("shared", [2, 3, 3], False),
    ],
)
def test_each_structure_has_its_own_rule(structure: str, ranks: list[int], ok: bool) -> None:
    raw: Any = msgspec.to_builtins(hand_plan())
    raw["question"]["structure"] = structure
    raw["configurations"][1]["ranks"] = ranks
    found = failures(msgspec.convert(raw, type=Plan))
    assert (f"configurations.{structure}" not in found) == ok


def test_a_proven_plan_passes_for_each_objective() -> None:
    plan, fleet = hand_plan(), planned_fleet()
    for objective, value in (
        ("utility", 0.62),
        ("legend", 1.6),
        ("time", 6.692),
        ("efficiency", 0.62 / 6.692),
    ):
        proven = replace(
            plan.certificate, status="optimal", value=value, bound=value, gap_fraction=0.0
        )
        question = replace(plan.question, objective=objective)
        assert check(replace(plan, certificate=proven, question=question), fleet).ok


def test_a_lower_bound_on_time_may_not_exceed_the_time() -> None:
    plan = hand_plan()
    question = replace(plan.question, objective="time")
    for bound, fails in ((6.0, False), (7.0, True)):
        claim = replace(
            plan.certificate,
            status="feasible",
            value=6.692,
            bound=bound,
            gap_fraction=abs(bound - 6.692) / bound,
        )
        found = failures(replace(plan, certificate=claim, question=question))
        assert ("certificate.bound" in found) == fails


@pytest.mark.parametrize(
    ("objective", "value"), [("legend", 1.6), ("efficiency", 0.62 / 6.692)]
)
def test_what_is_maximised_may_not_exceed_its_bound(objective: str, value: float) -> None:
    plan = tampered(("question", "objective"), objective)
    for factor, fails in ((1.1, False), (0.9, True)):
        bound = factor * value
        claim = replace(
            plan.certificate,
            status="feasible",
            value=value,
            bound=bound,
            gap_fraction=abs(bound - value) / max(bound, value),
        )
        found = failures(replace(plan, certificate=claim))
        assert found == ({"certificate.bound"} if fails else set())


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, -math.inf, math.nan, 1e308])
def test_hostile_certificates_do_not_crash(bound: float) -> None:
    plan = hand_plan()
    claim = replace(plan.certificate, bound=bound, status="optimal")
    assert "certificate.status" in failures(replace(plan, certificate=claim))


def test_another_number_of_layers_ends_the_check() -> None:
    plan, fleet = hand_plan(), planned_fleet()
    longer = replace(plan.model, layers=LAYERS + 1)
    forged = replace(
        plan,
        model=longer,
        ranks=[0, *plan.ranks],
        configurations=[replace(c, ranks=[0, *c.ranks]) for c in plan.configurations],
    )
    verdict = check(forged, fleet)
    assert not verdict.ok
    assert verdict.failed[0].name == "model"


@pytest.mark.parametrize("rank", [10**6, 10**400])
def test_enormous_ranks_do_not_crash(rank: int) -> None:
    plan = hand_plan()
    shape = replace(plan.configurations[1], ranks=[2, 3, rank])
    assert not check(
        replace(plan, configurations=[plan.configurations[0], shape]), planned_fleet()
    ).ok


def test_many_devices_are_checked_as_well() -> None:
    plan, fleet = hand_plan(), planned_fleet()
    names = [f"b{i}" for i in range(20_000)]
    devices = [fleet.devices[0], *(replace(fleet.devices[1], name=n) for n in names)]
    planned = [plan.devices[0], *(replace(plan.devices[1], name=n) for n in names)]
    verdict = check(replace(plan, devices=planned), replace(fleet, devices=devices))
    wrong = {c.name for c in verdict.failed}
    assert not {name for name in wrong if name.startswith("devices")}
    assert "predicted.upload_bytes" in wrong


def test_the_checker_loads_no_line_of_a_solver() -> None:
    code = (
        "import sys, solver.check\n"
        "print(*sorted(name for name in sys.modules if name.startswith('solver.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    names = {name.removeprefix("solver.") for name in done.stdout.split()}
    assert {n for n in names if n.partition(".")[0] != "check"} == {"plan", "question", "seal"}


def test_what_is_not_as_in_the_fleet_is_shown_by_field() -> None:
    plan = tampered(("training", "batch_size"), 5)
    (found,) = check(plan, planned_fleet()).failed
    truth = planned_fleet().training.batch_size
    assert (found.seen, found.expected) == ("5", str(truth))
    assert "'batch_size'" in found.detail


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("ranks",), [1], f"ranks: 1 entries; the model has {LAYERS} layers"),
        (("devices", 0, "configuration"), None, "configuration is null, predicted is given"),
        (("devices", 0, "predicted"), None, "configuration is given, predicted is null"),
    ],
)
def test_a_plan_that_is_none_says_what_was_seen(
    path: Path, value: object, message: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        tampered(path, value)
