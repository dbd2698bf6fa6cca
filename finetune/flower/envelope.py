"""Flower records that hold JSON and adapter bytes. Knows Flower, not torch."""

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from solver.plan import InputError

__all__ = ["pack", "unpack"]

SLIP = "legend"
ADAPTERS = "adapters"
STYPE = "safetensors"


def pack(text: str, data: bytes | None = None) -> RecordDict:
    """Put a JSON text, and adapters where there are any, into a message's content."""
    records = RecordDict({SLIP: ConfigRecord({"json": text})})
    if data is not None:
        array = Array(dtype="uint8", shape=(len(data),), stype=STYPE, data=data)
        records[ADAPTERS] = ArrayRecord({ADAPTERS: array})
    return records


def unpack(message: Message) -> tuple[object, bytes]:
    """Take both out again; no adapters are ``b""``. Raises `InputError`."""
    content = message.content
    slips, arrays = content.config_records, content.array_records
    if set(slips) != {SLIP} or not set(arrays) <= {ADAPTERS}:
        raise InputError("a message of another application")
    if ADAPTERS not in arrays:
        return slips[SLIP].get("json"), b""
    array = arrays[ADAPTERS].get(ADAPTERS)
    if array is None or array.stype != STYPE or len(arrays[ADAPTERS]) != 1:
        raise InputError("the adapters do not travel as safetensors")
    return slips[SLIP].get("json"), bytes(array.data)
