"""What travels beside the adapters: an order to a device, and its report.

Both are JSON with closed schemas, decoded before anything in them is used. An order carries a
plan of its one device only: nothing of other devices reaches it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from finetune.devices import devices_of
from finetune.options import RunOptions
from solver.plan import InputError, Plan

__all__ = ["Card", "Order", "Report", "decode", "encode", "node_setting", "plan_of_one"]

MAX_ORDER_BYTES = 1 << 20
Text = Annotated[str, Meta(max_length=1000)]


class _Base(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, closed to unknown fields."""


class Card(_Base, frozen=True, kw_only=True):
    """How a node answers who it is.

    Parameters
    ----------
    device : str
        Name in the plan, from the node's own configuration.
    version : str
        Of this package there.
    """

    device: Text
    version: Text


class Order(_Base, frozen=True, kw_only=True):
    """What a device is asked to do in a round, beside the adapters that it starts from.

    Parameters
    ----------
    schema : {"legend/order/1"}
    device : str
        Whom it is for.
    position : int
        Its position in the fleet, which its random streams are drawn by.
    round_index : int
        From 0.
    task : str
        Names round and device; the report repeats it.
    learning_rate : float
        Of this round.
    local_steps : int
        Training steps.
    labels : list of str
        Names of the classes in the order of their index; empty for causal-lm.
    options : RunOptions
        Of the run.
    plan : Plan
        Of this device alone.
    """

    schema: Literal["legend/order/1"] = "legend/order/1"
    device: Text
    position: Annotated[int, Meta(ge=0)]
    round_index: Annotated[int, Meta(ge=0)]
    task: Text
    learning_rate: Annotated[float, Meta(ge=0)]
    local_steps: Annotated[int, Meta(ge=1)]
    labels: list[Text]
    options: RunOptions
    plan: Plan


class Report(_Base, frozen=True, kw_only=True):
    """What a device says beside the adapters that it trained.

    Parameters
    ----------
    device : str
        Who it is.
    round_index : int
        The round it trained for.
    task : str
        The task it answers.
    examples : int
        Training examples it holds.
    train_loss : float
        Mean loss of its steps.
    train_s : float
        Seconds of local training.
    load_s : float
        Seconds of loading model and data; 0 where they were in memory.
    """

    schema: Literal["legend/report/1"] = "legend/report/1"
    device: Text
    round_index: Annotated[int, Meta(ge=0)]
    task: Text
    examples: Annotated[int, Meta(ge=1)]
    train_loss: float
    train_s: Annotated[float, Meta(ge=0)]
    load_s: Annotated[float, Meta(ge=0)]


T = TypeVar("T", bound=_Base)


def encode(value: _Base) -> str:
    """Write as JSON."""
    return msgspec.json.encode(value).decode()


def decode(text: object, kind: type[T]) -> T:
    """Read JSON from the network; raises `InputError` for anything but a `kind`."""
    name = kind.__name__.lower()
    if not isinstance(text, str) or len(text) > MAX_ORDER_BYTES:
        raise InputError(f"the {name} is no text of at most {MAX_ORDER_BYTES} bytes")
    try:
        return msgspec.json.decode(text.encode(), type=kind)
    except (msgspec.DecodeError, InputError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"the {name} cannot be read ({reason}); server and devices must run the same "
            "version of legend-planner"
        ) from None


def plan_of_one(plan: Plan, position: int) -> Plan:
    """Plan of the device at a position of the fleet, alone: its own layers and ranks."""
    sources = [device for device in plan.devices for _ in range(device.count)]
    name, _ = devices_of(plan)[position]
    device = msgspec.structs.replace(sources[position], name=name, count=1, configuration=0)
    configuration = plan.configuration_of(sources[position])
    own = device.predicted
    if configuration is None or own is None:
        raise InputError(f"device '{name}' takes no part in the plan")
    return msgspec.structs.replace(
        plan,
        ranks=configuration.ranks,
        configurations=[configuration],
        devices=[device],
        links=[],
        predicted=msgspec.structs.replace(
            plan.predicted,
            round_time_s=own.time_s,
            mean_wait_s=own.wait_s,
            upload_bytes=own.upload_bytes,
            download_bytes=own.download_bytes,
            energy_j=own.energy_j,
        ),
    )


def node_setting(config: Mapping[str, object], name: str) -> str:
    """Setting of a SuperNode; raises `InputError` where it is missing."""
    value = config.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(
            f"this SuperNode's --node-config lacks {name}; start it with --node-config "
            '\'device="NAME" model="FOLDER" data="FILE"\''
        )
    return value
