"""What is trained: the model, the training step, the adapters' size and what they are worth."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta

from profiler.schema.base import Base, Count, NonNegative, Positive, finite, length


class Target(Base, frozen=True, kw_only=True):
    """A linear module of every layer that LoRA adapts."""

    name: Annotated[str, Meta(description="module name below the layer", min_length=1)]
    in_features: Annotated[Count, Meta(description="input width")]
    out_features: Annotated[Count, Meta(description="output width")]


class Model(Base, frozen=True, kw_only=True):
    """The language model, as far as planning and export need it."""

    name: Annotated[str, Meta(description="hub id or folder name")]
    config_sha256: Annotated[str, Meta(description="SHA-256 of the canonical model config")]
    family: Annotated[str, Meta(description="Hugging Face model_type, such as 'roberta'")]
    layers: Annotated[Count, Meta(description="number of transformer layers, L")]
    hidden_size: Annotated[Count, Meta(description="width of the residual stream")]
    parameters: Annotated[Count, Meta(description="parameters of the frozen base")]
    head_parameters: Annotated[
        int, Meta(ge=0, description="parameters of the trained task head")
    ]
    head_modules: Annotated[
        list[str], Meta(description="modules of the trained task head, outside the base model")
    ] = []
    layers_path: Annotated[
        str, Meta(description="module path of the layer list below the base model")
    ]
    targets: Annotated[list[Target], Meta(min_length=1, description="adapted modules")]

    def module_name(self, layer: int, target: str) -> str:
        """Full name of a target below the base model; `layer` counts from 0 at the input."""
        return f"{self.layers_path}.{layer}.{target}"


class Training(Base, frozen=True, kw_only=True):
    """The training step that the costs are for."""

    batch_size: Annotated[Count, Meta(description="examples a step")]
    sequence_length: Annotated[Count, Meta(description="tokens an example, padded")]
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], Meta(description="compute type")
    ] = "float32"
    base_dtype: Annotated[
        Literal["same", "nf4"],
        Meta(
            description="frozen linear weights of the layers: as dtype, or in 4 bits as QLoRA "
            "has them (bitsandbytes' nf4, blocks of 64, constants quantised again)"
        ),
    ] = "same"
    optimizer: Annotated[Literal["adamw", "sgd"], Meta(description="optimizer")] = "adamw"
    attention: Annotated[
        Literal["sdpa", "eager"], Meta(description="attention implementation")
    ] = "sdpa"
    dropout: Annotated[bool, Meta(description="dropout active while training")] = True
    gradient_checkpointing: Annotated[
        bool, Meta(description="activations recomputed in the backward pass")
    ] = False
    task: Annotated[
        Literal["classification", "causal-lm"], Meta(description="what the head does")
    ] = "classification"
    labels: Annotated[int, Meta(ge=0, description="classes; 0 for causal-lm")] = 2


class Lora(Base, frozen=True, kw_only=True):
    """What adapters of this model weigh.

    ``alpha = scaling * rank`` on every layer, so that the LoRA scale alpha / rank stays the
    same however ranks differ.
    """

    parameters_per_rank: Annotated[
        list[Count], Meta(description="LoRA parameters one rank adds, by layer")
    ]
    bytes_per_parameter: Annotated[
        Positive, Meta(description="bytes a parameter takes on the wire")
    ] = 4.0
    scaling: Annotated[Positive, Meta(description="alpha / rank")] = 2.0

    def peft_fields(self, model: Model, ranks: Sequence[int]) -> dict[str, object]:
        """Fields of a ``peft.LoraConfig`` that builds adapters of just these ranks.

        PEFT takes the first pattern that ends a module's name, gives a module it targets but
        finds in no pattern the default rank, and scales by alpha / rank: so every adapted
        module is named in full, in all three fields, and ``r`` is the largest rank.

        Parameters
        ----------
        model : Model
            Names the modules.
        ranks : sequence of int, shape (L,)
            Rank by layer, input first; a layer of rank 0 is not targeted.

        Returns
        -------
        dict
            ``r``, ``lora_alpha``, ``target_modules``, ``rank_pattern`` and ``alpha_pattern``.
        """
        rank_of = {
            model.module_name(layer, target.name): rank
            for layer, rank in enumerate(ranks)
            for target in model.targets
            if rank > 0
        }
        return {
            "r": max(ranks),
            "lora_alpha": self.scaling * max(ranks),
            "target_modules": list(rank_of),
            "rank_pattern": rank_of,
            "alpha_pattern": {name: self.scaling * rank for name, rank in rank_of.items()},
        }


class Gain(Base, frozen=True, kw_only=True):
    """What adapting a layer at a rank is worth.

    ``by_layer[l][m]`` is the gain of adding layer l at rank ``ranks[m]`` when every layer
    above it is adapted already: marginal along the nested chain of depths, because gains
    of single layers do not add up. Nondecreasing in the rank; linear between the listed
    ranks, 0 at rank 0 and flat above the last.
    """

    method: Annotated[str, Meta(description="how it was found", min_length=1)]
    ranks: Annotated[list[Count], Meta(min_length=1, description="ranks of the columns")]
    by_layer: Annotated[
        list[list[NonNegative]],
        Meta(description="gain by layer (input first) and rank, arbitrary unit"),
    ]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.ranks)):
            raise ValueError(f"gain: ranks {self.ranks} must rise strictly")
        for index, row in enumerate(self.by_layer):
            length("gain", len(self.ranks), **{f"by_layer[{index}]": row})
            finite("gain", **{f"by_layer[{index}]": row})
            if any(a > b for a, b in pairwise(row)):
                raise ValueError(f"gain: by_layer[{index}] falls with the rank")


def check_model(owner: str, model: Model, lora: Lora, gain: Gain) -> None:
    """Refuse adapters and gains of another number of layers than the model's."""
    length(
        owner,
        model.layers,
        parameters_per_rank=lora.parameters_per_rank,
        by_layer=gain.by_layer,
    )
