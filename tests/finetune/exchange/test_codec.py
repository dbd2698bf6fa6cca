"""Uploads as bytes: sizes, rounding, what is kept, and decoding of what an attacker sends."""

import contextlib
import json
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from finetune.exchange.codec import (
    PayloadError,
    decode_state,
    download,
    encode_state,
    pack,
    payload_bytes,
    size_limit,
    unpack,
)
from finetune.model.state import A, B, State, shapes_of
from solver.plan import Codec

RANK, WIDE, OUT, HEAD = 3, 12, 10, 7
CODECS: list[Codec] = ["none", "float16", "int8"]
DTYPE = torch.float32


def made(seed: int, scale: float = 1.0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {
        "m" + A: scale * torch.randn(RANK, WIDE, generator=generator),
        "m" + B: scale * torch.randn(OUT, RANK, generator=generator),
        "head": scale * torch.randn(HEAD, generator=generator),
    }


SHAPES = shapes_of(made(0))


def test_bytes_are_those_the_plan_charges() -> None:
    adapter = RANK * (WIDE + OUT)
    assert payload_bytes(SHAPES, "none", DTYPE) == 4 * (adapter + HEAD)
    assert payload_bytes(SHAPES, "none", torch.float16) == 2 * (adapter + HEAD)
    assert payload_bytes(SHAPES, "float16", DTYPE) == 2 * (adapter + HEAD)
    assert payload_bytes(SHAPES, "int8", DTYPE) == RANK * (WIDE + OUT + 8) + 2 * HEAD
    for codec in CODECS:
        data = encode_state(made(1), codec)
        header = 8 + int.from_bytes(data[:8], "little")
        assert len(data) - header == payload_bytes(SHAPES, codec, DTYPE)
        assert len(data) <= size_limit(SHAPES, codec, DTYPE)


@pytest.mark.parametrize(
    ("codec", "error"), [("none", 0), ("float16", 2**-11), ("int8", 1 / 254)]
)
def test_what_is_unpacked_is_what_was_trained_but_for_rounding_of_the_change(
    codec: Codec, error: float
) -> None:
    received = made(1, scale=100.0)
    trained = {name: t + 0.01 * made(2)[name] for name, t in received.items()}
    found = unpack(pack(trained, received, codec, DTYPE).data, received, SHAPES, codec, DTYPE)
    for name, tensor in trained.items():
        change = tensor - received[name]
        # Of the largest change of all ranks, and what float32 loses at the value's size.
        allowed = error * float(change.abs().max()) + 2e-5 * bool(error)
        assert float((found[name] - tensor).abs().max()) <= allowed


def test_error_feedback_sends_next_time_what_rounding_lost() -> None:
    """Sums of what is sent stay within one rounding of the sums of what was trained."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in made(0).items()}
    sent, plain, wanted = (made(0, scale=0.0) for _ in range(3))
    kept: State = {}
    for step in range(20):
        change = made(step)
        upload = pack(change, zeros, "int8", DTYPE, kept)
        kept = upload.residual
        for name, tensor in decode_state(upload.data, SHAPES, "int8", DTYPE, 10**6).items():
            sent[name] += tensor
            wanted[name] += change[name]
        alone = pack(change, zeros, "int8", DTYPE).data
        for name, tensor in decode_state(alone, SHAPES, "int8", DTYPE, 10**6).items():
            plain[name] += tensor
    assert set(kept) == {"m" + A, "m" + B}
    for name in kept:
        torch.testing.assert_close(sent[name] + kept[name], wanted[name], rtol=0, atol=1e-5)
        assert (sent[name] - wanted[name]).norm() < 0.5 * (plain[name] - wanted[name]).norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("codec", "error"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_the_server_knows_what_a_device_reads(
    codec: Codec, error: float, dtype: torch.dtype
) -> None:
    state = made(1)
    sent = download(state, codec, dtype)
    read = decode_state(sent.data, SHAPES, codec, dtype, size_limit(SHAPES, codec, dtype))
    for name, tensor in state.items():
        assert sent.state[name].dtype == dtype
        assert torch.equal(sent.state[name], read[name].to(dtype))
        largest = float(tensor.abs().max())
        allowed = (error + 2**-11) * largest
        assert 0 < float((sent.state[name].float() - tensor).abs().max()) <= allowed
    plain = download(state, "none", dtype)
    assert not plain.data
    assert all(torch.equal(plain.state[name], state[name].to(dtype)) for name in state)


def test_a_residual_of_another_shape_is_forgotten_and_none_keeps_nothing() -> None:
    received, trained = made(1), made(2)
    other = {"m" + A: torch.ones(1, 1), "m" + B: torch.ones(1, 1)}
    fresh = pack(trained, received, "int8", DTYPE, {})
    assert pack(trained, received, "int8", DTYPE, other).data == fresh.data
    assert not pack(trained, received, "int8", DTYPE).residual
    assert not pack(trained, received, "float16", DTYPE, {}).residual


def test_ranks_of_zeros_and_nan_survive_encoding() -> None:
    state = made(3)
    state["m" + A][1] = 0.0
    state["m" + B][:, 2] = 0.0
    found = decode_state(encode_state(state, "int8"), SHAPES, "int8", DTYPE, 10**6)
    assert not found["m" + A][1].any()
    assert not found["m" + B][:, 2].any()
    state["m" + A][0, 0] = float("nan")
    with pytest.raises(PayloadError, match="NaN or infinity"):
        decode_state(encode_state(state, "int8"), SHAPES, "int8", DTYPE, 10**6)


def without(name: str) -> State:
    return {n: t for n, t in made(1).items() if n != name}


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (lambda: save(without("head")), "missing"),
        (lambda: save(made(1) | {"other": torch.zeros(1)}), "extra"),
        (lambda: save(made(1) | {"head": torch.zeros(HEAD + 1)}), "shape"),
        (lambda: save(made(1) | {"head": torch.zeros(1, HEAD)}), "shape"),
        (lambda: save(made(1) | {"head": torch.zeros(0)}), "shape"),
        (lambda: save(made(1) | {"head": torch.zeros(HEAD, dtype=torch.float64)}), "dtype"),
        (lambda: save(made(1) | {"head": torch.zeros(HEAD, dtype=torch.bfloat16)}), "dtype"),
        (lambda: save(made(1) | {"head": torch.full((HEAD,), torch.inf)}), "not finite"),
        (lambda: save(made(1) | {"head": torch.zeros(10**5)}), "size"),
        (lambda: b"", "unreadable"),
        (lambda: b"\xff" * 64, "unreadable"),
        (lambda: b"\x80\x04\x95pickle", "unreadable"),
        (lambda: encode_state(made(1), "int8"), "extra"),
        (lambda: encode_state(made(1), "float16"), "dtype"),
    ],
)
def test_payloads_that_are_no_answer_are_refused_by_kind(
    payload: Callable[[], bytes], kind: str
) -> None:
    limit = size_limit(SHAPES, "none", DTYPE)
    with pytest.raises(PayloadError) as refused:
        decode_state(payload(), SHAPES, "none", DTYPE, limit)
    assert refused.value.kind == kind
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def with_header(header: object, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I8", "F8_E4M3", "F4", "BOOL", "C64", "X", 3]),
        "shape": st.lists(st.integers(-2, 20) | st.integers(2**31, 2**70), max_size=3)
        | st.none(),
        "data_offsets": st.lists(st.integers(-5, 1000) | st.integers(2**40, 2**70), max_size=3),
    },
)
HEADERS = st.dictionaries(
    st.sampled_from([*SHAPES, "m" + A + ".scale", "__metadata__"]) | st.text(max_size=5),
    ENTRIES,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), codec=st.sampled_from(CODECS))
def test_nothing_but_the_documented_error_comes_out_of_decoding(
    data: st.DataObject, codec: Codec
) -> None:
    good = encode_state(made(1), codec)

    def flipped() -> bytes:
        changed = bytearray(good)
        for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=8)):
            changed[at] = data.draw(st.integers(0, 255))
        return bytes(changed)

    payload = data.draw(
        st.one_of(
            st.binary(max_size=400),
            st.builds(flipped),
            st.builds(lambda n: good[:n], st.integers(0, len(good))),
            st.builds(lambda more: good + more, st.binary(min_size=1, max_size=50)),
            st.builds(with_header, HEADERS, st.binary(max_size=300)),
        )
    )
    state = made(0)
    with contextlib.suppress(PayloadError):
        state = decode_state(payload, SHAPES, codec, DTYPE, size_limit(SHAPES, codec, DTYPE))
    assert shapes_of(state) == SHAPES
    assert all(t.dtype == DTYPE and torch.isfinite(t).all() for t in state.values())
