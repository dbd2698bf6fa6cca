"""Frozen weights in 4 bits (QLoRA), as bitsandbytes stores and multiplies them.

A weight is nf4 in blocks of 64, each with a constant that is quantised in turn to a byte, in
blocks of 256 (Dettmers et al., "QLoRA", arXiv 2305.14314, section 3). Sizes and kernels follow
bitsandbytes 0.50 (`functional.quantize_4bit`, `autograd.MatMul4Bit`): both passes restore the
whole weight in the compute type before they multiply. Its fused kernels for few tokens need
less and are not counted on.
"""

from collections.abc import Iterable, Mapping

from profiler.closed_form.architectures import Linear
from profiler.closed_form.tape import FP32_BYTES, Cost
from profiler.configs import Config, ConfigError

__all__ = ["check_quantisation", "constants_bytes", "restoring", "stored_bytes"]

BLOCK = 64
CONSTANTS_BLOCK = 256
# Tables of the 16 values of a weight and the 256 of a constant, and the constants' mean.
TABLE_BYTES = FP32_BYTES * (16 + 256 + 1)


# What a config has to say of a model that is stored as counted here.
STORED = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}


def check_quantisation(config: Config, base_dtype: str) -> None:
    """Refuse the config of a model that is quantised in another way than asked for.

    Raises
    ------
    ConfigError
        Says how it is quantised.
    """
    said = config.get("quantization_config")
    if said is None:
        return
    known = isinstance(said, Mapping) and all(said.get(k) == v for k, v in STORED.items())
    if isinstance(said, Mapping) and set(said.get("llm_int8_skip_modules") or ()) - {"lm_head"}:
        known = False
    if known and base_dtype == "nf4":
        return
    method = said.get("quant_method") if isinstance(said, Mapping) else said
    remedy = (
        "add --base-dtype nf4" if known else "leave out quantization_config to plan without it"
    )
    raise ConfigError(
        f"config: the model is quantised ({method!r}); closed forms know bitsandbytes' nf4 "
        f"with constants quantised again, everywhere but in lm_head; {remedy}"
    )


def stored_bytes(modules: Iterable[Linear]) -> int:
    """Bytes of the weights of linear modules, their constants and tables; no biases."""
    return sum(_stored_bytes(m.in_features * m.out_features) for m in modules)


def _stored_bytes(weights: int) -> int:
    blocks = _up(weights, BLOCK)
    return _up(weights, 2) + blocks + FP32_BYTES * _up(blocks, CONSTANTS_BLOCK) + TABLE_BYTES


def constants_bytes(module: Linear) -> int:
    """Bytes of a module's constants once they are restored, in 32 bits."""
    return FP32_BYTES * _up(module.in_features * module.out_features, BLOCK)


def restoring(module: Linear, itemsize: int) -> tuple[Cost, ...]:
    """Kernels that restore a weight: its constants, their mean added, and the weight."""
    weights = module.in_features * module.out_features
    constants = constants_bytes(module)
    return (
        Cost(0.0, constants / FP32_BYTES + constants),
        Cost(0.0, 2.0 * constants),
        Cost(0.0, weights / 2 + constants + weights * itemsize),
    )


def _up(whole: int, part: int) -> int:
    return -(-whole // part)
