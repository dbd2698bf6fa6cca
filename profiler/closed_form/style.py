"""How a family of decoders, or ModernBERT, differs from Llama."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["LLAMA", "DecoderStyle", "Norm"]

Norm = Literal["layer", "rms", "rms-shifted", "rms-wide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderStyle:
    """Choices of a family; the defaults are Llama's.

    Attributes
    ----------
    norm : Norm
        ``rms-shifted`` multiplies by 1 + weight (Gemma), ``rms-wide`` by the weight before
        rounding (OLMo 2).
    norm_before, norm_after : bool
        Whether attention and MLP have a norm on their input, on their output.
    bare_first : bool
        Whether attention of the first layer has none on its input, all the same.
    query_key_norm : str
        Norm of query and key: per head, over all heads, or none.
    scaled_query : bool
        Whether the query is multiplied by a number before attention.
    rotated : int
        Numbers of a head that are rotated; 0 where the code takes no part of the head.
    split : bool
        Whether a joint projection is split at once, or else cut part by part.
    gated : bool
        Whether the MLP multiplies by a gate.
    inline_mlp : bool
        Whether the MLP is no module of its own.
    joint_gate : bool
        Whether one linear module gives both factors of a gated MLP.
    parallel : bool
        Whether attention and MLP read the same input.
    holds_attention : bool
        Whether the output of attention stays until the layer ends.
    scaled : bool
        Whether outputs of attention and MLP are multiplied by a number.
    scaled_embeddings, dropped_embeddings : bool
        Whether the embeddings are; whether they go through dropout.
    capped_scores : bool
        Whether attention scores go through a scaled tanh.
    capped_logits, scaled_logits : bool
        Whether the logits of a language model do; whether they are divided by a number.
    kinds : tuple of str
        Kind of every layer, where they have masks of several kinds; else empty.
    own_tables, wide_tables : bool
        Whether the kinds have rotary tables of their own, too; whether tables have 32 bits.
    wide_rotation : bool
        Whether query and key are turned to 32 bits before they are rotated.
    unrotated : frozenset of int
        Layers that rotate nothing.
    """

    norm: Norm = "rms"
    norm_before: bool = True
    norm_after: bool = False
    bare_first: bool = False
    query_key_norm: Literal["", "head", "whole"] = ""
    scaled_query: bool = False
    rotated: int = 0
    split: bool = False
    gated: bool = True
    inline_mlp: bool = False
    joint_gate: bool = False
    parallel: bool = False
    holds_attention: bool = False
    scaled: bool = False
    scaled_embeddings: bool = False
    dropped_embeddings: bool = False
    capped_scores: bool = False
    capped_logits: bool = False
    scaled_logits: bool = False
    kinds: tuple[str, ...] = ()
    own_tables: bool = False
    wide_tables: bool = False
    wide_rotation: bool = False
    unrotated: frozenset[int] = frozenset()

    @property
    def norms(self) -> int:
        """Norms of the hidden size in a layer."""
        return 2 * (self.norm_before + self.norm_after)


LLAMA = DecoderStyle()
