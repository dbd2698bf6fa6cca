"""Every number in a file says its unit in its name, or is a count by its nature."""

import inspect
import typing
from collections.abc import Iterator

import msgspec
import pytest

import profiler.schema
import solver.plan
from tests.hints import leaves

SUFFIXES = (
    "_s", "_bytes", "_bytes_per_s", "_s_per_rank", "_w", "_j", "_j_per_byte",
    "_fraction", "_scale", "_per_rank", "_bytes_per_parameter",
)  # fmt: skip
COUNTS = {
    "batch_size", "cache_rounds", "configuration", "count", "depth", "edge_rounds", "examples",
    "added", "gone", "less", "same",
    "head_parameters", "hidden_size", "in_features", "labels", "layers", "local_steps",
    "max_depth", "min_depth", "out_features", "parameters", "rank_budget", "rank_choices",
    "ranks", "seed", "sequence_length", "threads",
}  # fmt: skip
# Dimensionless, or in the unit of the field that holds the table.
OTHERS = {
    "bound", "by_depth", "by_layer", "bytes_per_parameter", "fill_wait", "min_utility",
    "per_rank", "scaling", "utility", "value",
}  # fmt: skip


def numeric_fields() -> Iterator[tuple[str, str]]:
    for module in (profiler.schema, solver.plan):
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if not issubclass(kind, msgspec.Struct):
                continue
            for field, hint in typing.get_type_hints(kind).items():
                if {int, float} & set(leaves(hint)):
                    yield f"{name}.{field}", field


@pytest.mark.parametrize(("owner", "field"), sorted(set(numeric_fields())))
def test_numeric_field_names_its_unit(owner: str, field: str) -> None:
    assert field.endswith(SUFFIXES) or field in COUNTS | OTHERS, f"{owner} has no unit"


def test_the_rule_sees_fields() -> None:
    names = {owner for owner, _ in numeric_fields()}
    assert {"StepTime.forward_s", "PredictedDevice.memory_bytes", "FleetDevice.count"} <= names
