"""Devices of a plan, one by one."""

import pytest
from msgspec.structs import replace

from finetune.devices import participants
from solver.plan import InputError
from tests.finetune.plans import plan_to_show


def test_no_two_devices_have_the_same_name() -> None:
    """One that the fleet counts twice is numbered, and may come to the name of another."""
    plan = plan_to_show()
    twins, other, *rest = plan.devices
    twins, other = replace(twins, name="van", count=2), replace(other, name="van#1")
    with pytest.raises(InputError, match="two devices are called 'van#1'; rename"):
        participants(replace(plan, devices=[twins, other, *rest]))
    assert participants(replace(plan, devices=[twins, *rest]))[1].name == "van#1"
