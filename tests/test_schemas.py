"""The published schemas are current, say everything, and the examples keep to them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from finetune.schemas import KINDS, json_schema, properties
from profiler.schema import read_fleet, read_profile, read_trace
from solver.check import check
from solver.plan import read_plan

DOCS = Path(__file__).parents[1] / "docs"
READERS: dict[str, Any] = {
    "profile": read_profile,
    "fleet": read_fleet,
    "plan": read_plan,
    "trace": read_trace,
}


def example(kind: str) -> Any:
    return json.loads((DOCS / "examples" / f"{kind}.json").read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_current(kind: str) -> None:
    published = json.loads((DOCS / "schemas" / f"{kind}.json").read_bytes())
    assert published == json_schema(kind), f"legend schema {kind} -o docs/schemas/{kind}.json"


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described_and_every_number_has_a_unit(kind: str) -> None:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    for owner, field, said in properties(schema):
        assert said.get("description"), f"{owner}.{field}"
        numeric = {'"number"', '"integer"'} & set(re.findall(r'"\w+"', json.dumps(said)))
        assert bool(said.get("x-unit")) >= bool(numeric), f"{owner}.{field}"
        if field.endswith("_bytes"):
            assert said["x-unit"] == "bytes", f"{owner}.{field}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_keeps_to_its_schema(kind: str) -> None:
    validator, content = Draft202012Validator(json_schema(kind)), example(kind)
    assert [e.message for e in validator.iter_errors(content)] == []
    assert list(validator.iter_errors({**content, "schema": "legend/other/1"}))
    without = {k: v for k, v in content.items() if k != "provenance"}
    assert list(validator.iter_errors(without))
    if kind in READERS:
        READERS[kind](DOCS / "examples" / f"{kind}.json")
        assert list(validator.iter_errors({**content, "surprise": 1}))


def test_the_example_plan_holds_for_the_example_fleet() -> None:
    plan = read_plan(DOCS / "examples" / "plan.json")
    assert check(plan, read_fleet(DOCS / "examples" / "fleet.json")).ok


def test_the_reader_in_the_docs_prints_what_the_page_says() -> None:
    page = (DOCS / "plan-format.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL)
    code, printed = dict(blocks)["python"], dict(blocks)["text"]
    # -I -S: neither this repository nor any installed package can be imported.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(DOCS / "examples" / "plan.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == printed
