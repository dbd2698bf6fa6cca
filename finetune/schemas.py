"""The published JSON Schemas: what every file of ours says, from the types that read it.

Each is JSON Schema (draft 2020-12) with a description on every field, and on every number its
unit under the keyword ``x-unit``, taken from the field's name. Rules between fields, such as
that lists by layer have as many entries as the model has layers, are checked on reading and
stand in the descriptions; a JSON Schema cannot say them.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from profiler.schema import Fleet, Profile, Trace
from solver.plan import Plan

__all__ = ["KINDS", "json_schema", "properties"]

KINDS = ("profile", "fleet", "plan", "trace", "run")

_UNITS = {
    "_bytes_per_s": "bytes/s",
    "_s_per_rank": "s per rank",
    "_j_per_byte": "J/byte",
    "_bytes": "bytes",
    "_fraction": "fraction, 1 is all",
    "_accuracy": "fraction, 1 is all",
    "_loss": "nats",
    "_s": "s",
    "_w": "W",
    "_j": "J",
}
_OTHERS = {
    "time_to_accuracy_s": "s, by accuracy",
    "by_depth": "that of the field which holds the table",
    "per_rank": "that of the field which holds the table, a rank",
    "by_layer": "gain, of no unit",
    "bytes_per_parameter": "bytes a parameter",
    "parameters_per_rank": "parameters a rank",
    **dict.fromkeys(["scaling", "mean_aggregation_error", "final_perplexity"], "ratio"),
    "time_scale": "ratio",
    **dict.fromkeys(["utility", "min_utility"], "gain, of no unit"),
    **dict.fromkeys(["value", "bound"], "that of the objective: gain, s, or gain/s"),
}
_SCHEMA_FIELD = "contract of this file and its version"


def json_schema(kind: str) -> dict[str, Any]:
    """JSON Schema of a file.

    Parameters
    ----------
    kind : str
        One of `KINDS`. ``run`` is a run's ``summary.json`` and needs the engine's packages.
    """
    made: dict[str, Any] = msgspec.json.schema(_type_of(kind))
    definitions = made["$defs"]
    top = made["$ref"].rpartition("/")[2]
    name = definitions[top]["properties"]["schema"]
    version = name.get("const") or name.get("default") or name["enum"][0]
    name.clear()
    name.update(description=_SCHEMA_FIELD, const=version)
    # A reader must find the contract, although our own writer may leave it to the default.
    definitions[top]["required"] = ["schema", *definitions[top].get("required", [])]
    for _, field, said in properties(made):
        _annotate(field, said, definitions)
    for definition in definitions.values():
        # Python 3.13 takes the indent out of docstrings; the file must not depend on that.
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{version.replace('/', ':')}",
        "title": version,
        **made,
    }


def _type_of(kind: str) -> type:
    if kind != "run":
        return {"profile": Profile, "fleet": Fleet, "plan": Plan, "trace": Trace}[kind]
    from finetune.session.result import Summary

    return Summary


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every field of every object in a schema, as (object, field, what is said of it)."""
    for owner, definition in schema["$defs"].items():
        for field, said in definition.get("properties", {}).items():
            yield owner, field, said


def _annotate(field: str, said: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Give a number its unit, and a part that is an object the first words on that object."""
    whole = definitions.get(said.get("$ref", "").rpartition("/")[2], {})
    text = said.get("description") or whole.get("description", "").partition("\n\n")[0]
    if text:
        said["description"] = re.sub(r"\s+", " ", text)
    if _holds_number(said) or said.get("$ref") == "#/$defs/DepthCost":
        said["x-unit"] = _unit(field)


def _unit(field: str) -> str:
    ending = (unit for suffix, unit in _UNITS.items() if field.endswith(suffix))
    return _OTHERS.get(field) or next(ending, "count")


def _holds_number(said: dict[str, Any]) -> bool:
    inner = [said.get("items"), said.get("additionalProperties"), *said.get("anyOf", [])]
    return said.get("type") in ("number", "integer") or any(
        isinstance(part, dict) and _holds_number(part) for part in inner
    )
