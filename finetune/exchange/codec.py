r"""Adapters as bytes: how they are compressed, written and read back without trust.

With a codec a device sends the *change* of its adapters, not their values: a change is
small, so that few bits say it well, and the server knows what it was added to. The server
sends *values*, as it cannot know which of its adapters a device still has; what rounding
loses of them is lost to that round's training only, as the server adds the device's change
to what it holds itself (`finetune.server.intake`).

- ``none``: the values themselves, in the wire's own type.
- ``float16``: every tensor as float16.
- ``int8``: adapters as int8 with one float32 scale per rank (a row of ``lora_A``, a column of
  ``lora_B``), :math:`q = \mathrm{round}(x / s), s = \max |x| / 127`; the head as float16.
  What rounding loses of an upload is kept on the device and added to its next (error feedback:
  Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al.,
  "Error Feedback Fixes SignSGD", ICML 2019, arXiv 1901.09847).

A simulation remembers for its devices: one float32 copy of the adapter of each device that
was ever asked, in memory and in every checkpoint. With 24 modules of 768 x 768 at rank 16
that is 2.4 MB a device.

Bytes charged are those of the tensors: 2 a parameter, or ``in + out + 8`` a rank of an int8
module. The names around them (the safetensors header) are not charged, with or without codec.

::

    Exception
    └── PayloadError    bytes that are no answer to what was asked; the only error of decoding
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, deserialize
from safetensors.torch import save
from torch import Tensor

from finetune.model.state import A, B, Shapes, State, cast, wire_dtype
from solver.plan import Codec, Plan

__all__ = [
    "Download",
    "PayloadError",
    "Upload",
    "Wire",
    "decode_state",
    "download",
    "encode_state",
    "pack",
    "payload_bytes",
    "size_limit",
    "unpack",
]

SCALE = ".scale"
NUMPY = {torch.float32: "<f4", torch.float16: "<f2", torch.int8: "|i1"}
SAFETENSORS = {torch.float32: "F32", torch.float16: "F16", torch.int8: "I8"}
# Allowed for each tensor's entry in the header, beside its name.
ENTRY_BYTES = 256


class Wire(NamedTuple):
    """How adapters travel: a number's type without a codec, and the codec of either way."""

    dtype: torch.dtype
    upload: Codec = "none"
    download: Codec = "none"

    @classmethod
    def of(cls, plan: Plan) -> "Wire":
        """As a plan says; raises `InputError` if it counts bytes of no such type."""
        asked = plan.question
        return cls(wire_dtype(plan.lora), asked.upload_codec, asked.download_codec)


class PayloadError(Exception):
    """Bytes that cannot be used; `kind` is a short word to count by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Upload(NamedTuple):
    """What a device sends, and what it keeps for its next upload."""

    data: bytes
    residual: State


class Download(NamedTuple):
    """What a device is sent, and what it reads in it."""

    data: bytes
    state: State


def encode_state(state: Mapping[str, Tensor], codec: Codec) -> bytes:
    """Write a state as safetensors bytes; sending what it is decoded from is the caller's."""
    return _written(_packed(state, codec))


def download(state: Mapping[str, Tensor], codec: Codec, dtype: torch.dtype) -> Download:
    """Encode what the server hands out; a device starts from what it reads, as `dtype`.

    Without a codec there are no bytes: whoever sends it makes them, and most runs send none.
    """
    if codec == "none":
        return Download(b"", cast(state, dtype))
    packed = _packed(state, codec)
    read = {name: _restored(name, packed, codec) for name in state}
    return Download(_written(packed), cast(read, dtype))


def decode_state(
    data: bytes, shapes: Shapes, codec: Codec, dtype: torch.dtype, limit_bytes: int
) -> State:
    """Read a state back, believing nothing that the bytes say of themselves.

    Parameters
    ----------
    data : bytes
        As received.
    shapes : Shapes
        Shape of every tensor that was asked for, and of no other.
    codec : {"none", "float16", "int8"}
        How it was to be compressed.
    dtype : torch.dtype
        Type on the wire without a codec.
    limit_bytes : int
        Most bytes; checked before anything is read. See `size_limit`.

    Returns
    -------
    State
        Of type `dtype` without a codec, of float32 with one.

    Raises
    ------
    PayloadError
        If it is too large, no safetensors file, has a tensor too many or too few, of another
        shape or type, or holds NaN or infinity. No other error comes out.
    """
    if len(data) > limit_bytes:
        raise PayloadError("size", f"has {len(data)} bytes; expected at most {limit_bytes}")
    try:
        found: dict[str, dict[str, object]] = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        reason = " ".join(str(error).split())[:100]
        raise PayloadError("unreadable", f"is no safetensors file ({reason})") from None
    expected = _layout(shapes, codec, dtype)
    if missing := sorted(expected.keys() - found.keys()):
        raise PayloadError("missing", f"{missing[0]} is missing")
    if extra := sorted(found.keys() - expected.keys()):
        raise PayloadError("extra", f"{extra[0][:100]!r} was not asked for")
    tensors = {name: _tensor(name, found[name], *expected[name]) for name in expected}
    state = {name: _restored(name, tensors, codec) for name in shapes}
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise PayloadError("not finite", f"{name} holds NaN or infinity")
    return state


def pack(
    trained: Mapping[str, Tensor],
    received: Mapping[str, Tensor],
    codec: Codec,
    dtype: torch.dtype,
    residual: Mapping[str, Tensor] | None = None,
) -> Upload:
    """Encode what a device trained, and say what it must keep for its next upload.

    Parameters
    ----------
    trained, received : mapping of str to Tensor
        After and before training; only what `trained` names is sent.
    codec : {"none", "float16", "int8"}
    dtype : torch.dtype
        Type on the wire without a codec.
    residual : mapping of str to Tensor, optional
        What the device kept of its last upload; None keeps nothing, for an aggregation that
        hands out other coordinates each round. A tensor of another shape is forgotten.
    """
    if codec == "none":
        return Upload(encode_state({n: t.to(dtype) for n, t in trained.items()}, codec), {})
    change = {name: tensor.float() - received[name].float() for name, tensor in trained.items()}
    kept: State = {}
    if codec == "int8" and residual is not None:
        for name in [name for name in change if name.endswith((A, B))]:
            old = residual.get(name)
            if old is not None and old.shape == change[name].shape:
                change[name] = change[name] + old
            whole, scale = _quantise(name, change[name])
            kept[name] = change[name] - _scaled(name, whole, scale)
    return Upload(encode_state(change, codec), kept)


def unpack(
    data: bytes,
    received: Mapping[str, Tensor],
    shapes: Shapes,
    codec: Codec,
    dtype: torch.dtype,
) -> State:
    """What a device trained, of type float32; raises `PayloadError` as `decode_state`."""
    state = decode_state(data, shapes, codec, dtype, size_limit(shapes, codec, dtype))
    if codec == "none":
        return {name: tensor.float() for name, tensor in state.items()}
    return {name: received[name].float() + tensor for name, tensor in state.items()}


def payload_bytes(shapes: Shapes, codec: Codec, dtype: torch.dtype) -> int:
    """Bytes of the tensors of an upload or a download, as the plan charges them."""
    return sum(
        shape.numel() * kind.itemsize for kind, shape in _layout(shapes, codec, dtype).values()
    )


def size_limit(shapes: Shapes, codec: Codec, dtype: torch.dtype) -> int:
    """Most bytes of an honest payload: its tensors and a header that names them."""
    layout = _layout(shapes, codec, dtype)
    names = sum(len(name.encode()) + ENTRY_BYTES for name in layout)
    return payload_bytes(shapes, codec, dtype) + names + ENTRY_BYTES


def _packed(state: Mapping[str, Tensor], codec: Codec) -> State:
    """The tensors that travel."""
    packed: State = {}
    for name, tensor in state.items():
        if codec == "int8" and name.endswith((A, B)):
            packed[name], packed[name + SCALE] = _quantise(name, tensor)
        else:
            packed[name] = tensor if codec == "none" else tensor.to(torch.float16)
    return packed


def _written(packed: State) -> bytes:
    data: bytes = save({name: tensor.detach().contiguous() for name, tensor in packed.items()})
    return data


def _layout(
    shapes: Shapes, codec: Codec, dtype: torch.dtype
) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Type and shape of every tensor in the bytes."""
    layout = {}
    for name, shape in shapes.items():
        if codec == "int8" and name.endswith((A, B)):
            layout[name] = (torch.int8, shape)
            layout[name + SCALE] = (torch.float32, torch.Size([shape[_rank_axis(name)]]))
        else:
            layout[name] = (dtype if codec == "none" else torch.float16, shape)
    return layout


def _tensor(
    name: str, entry: Mapping[str, object], dtype: torch.dtype, shape: torch.Size
) -> Tensor:
    """Tensor of an entry, if it is of the type and shape expected."""
    seen = entry["shape"]
    if seen != list(shape):
        raise PayloadError("shape", f"{name} has shape {str(seen)[:100]}; expected {[*shape]}")
    if entry["dtype"] != SAFETENSORS[dtype]:
        raise PayloadError(
            "dtype", f"{name} is {entry['dtype']}; expected {SAFETENSORS[dtype]}"
        )
    data = entry["data"]
    assert isinstance(data, bytes | bytearray)
    array = np.frombuffer(data, NUMPY[dtype]).astype(NUMPY[dtype].replace("<", "="))
    return torch.from_numpy(array).reshape(shape)


def _restored(name: str, tensors: Mapping[str, Tensor], codec: Codec) -> Tensor:
    if codec == "none":
        return tensors[name]
    if name + SCALE in tensors:
        return _scaled(name, tensors[name], tensors[name + SCALE])
    return tensors[name].float()


def _quantise(name: str, tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127 and the scale of each rank."""
    values = tensor.detach().float()
    scale = values.abs().amax(dim=1 - _rank_axis(name)) / 127
    by_rank = scale.unsqueeze(1 - _rank_axis(name))
    # A rank of zeros has scale 0, and NaN stays in the scale, where the server finds it.
    whole = torch.where(by_rank > 0, values / by_rank, 0.0).round().clamp(-127, 127)
    return whole.to(torch.int8), scale


def _scaled(name: str, whole: Tensor, scale: Tensor) -> Tensor:
    return whole.float() * scale.unsqueeze(1 - _rank_axis(name))


def _rank_axis(name: str) -> int:
    """Axis of a factor that counts ranks."""
    return 0 if name.endswith(A) else 1
