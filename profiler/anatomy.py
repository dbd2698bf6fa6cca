"""What a model is made of: its layers, the modules LoRA adapts, the head that is trained.

Nothing here is written for one model. The transformer blocks are the largest list of
modules in the base model, the targets are found by name, and the head is whatever
the task model adds outside its base.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT_DEFAULTS
from torch import nn
from transformers import PretrainedConfig
from transformers.pytorch_utils import Conv1D

from profiler.checkpoint import Checkpoint, build
from profiler.schema import InputError, Lora, Model, Target, Training

# What model families call the projections of attention, for those PEFT has no default for.
ROLES = {
    "q": ("q_proj", "query_proj", "query", "q_lin", "q"),
    "k": ("k_proj", "key_proj", "key", "k_lin", "k"),
    "v": ("v_proj", "value_proj", "value", "v_lin", "v"),
    "o": ("o_proj", "out_proj", "out_lin", "o"),
}
FUSED = ("c_attn", "query_key_value", "qkv_proj", "in_proj", "Wqkv", "qkv")
ALL_LINEAR = "all-linear"
_TABLES_OF_POSITIONS = ("position_embeddings", "wpe", "embed_positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """How a task model is put together.

    Attributes
    ----------
    model : Model
        The part that goes into files.
    lora : Lora
        What its adapters weigh.
    kinds : tuple of int, shape (L,)
        Kind of each block; blocks of one kind cost the same.
    """

    model: Model
    lora: Lora
    kinds: tuple[int, ...]

    @property
    def uniform(self) -> bool:
        """Whether all blocks are alike."""
        return len(set(self.kinds)) == 1


def examine(checkpoint: Checkpoint, training: Training, targets: Iterable[str] = ()) -> Anatomy:
    """Find layers, targets and head of the model, without memory for its weights.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model.
    training : Training
        A setup that `settle` has passed.
    targets : iterable of str
        Modules to adapt, by name or role (``q``, ``v`` ...); by default those that PEFT
        adapts in this family, or the query and value projections.

    Raises
    ------
    InputError
        If there are no blocks, a target is not in every block, or examples are too long.
    """
    model = build(checkpoint, training, meta=True)
    base = model.base_model
    path, layers = _layer_list(base, checkpoint)
    _check_length(base, training)
    chosen = _choose_targets(layers, tuple(targets), checkpoint)
    per_rank = [sum(sum(_widths(layer.get_submodule(t))) for t in chosen) for layer in layers]
    head = _head_modules(model, base) if training.task == "classification" else []
    head_parameters = sum(_count(model.get_submodule(name)) for name in head)
    widths = {t: _widths(layers[-1].get_submodule(t)) for t in chosen}
    record = Model(
        name=checkpoint.name,
        config_sha256=checkpoint.digest(),
        family=checkpoint.config.model_type,
        layers=len(layers),
        hidden_size=checkpoint.config.hidden_size,
        parameters=_count(model) - head_parameters,
        head_parameters=head_parameters,
        head_modules=head,
        layers_path=path,
        targets=[
            Target(name=t, in_features=wide, out_features=out)
            for t, (wide, out) in widths.items()
        ],
    )
    return Anatomy(
        model=record,
        lora=Lora(parameters_per_rank=per_rank),
        kinds=_kinds(layers, checkpoint.config),
    )


def _layer_list(base: nn.Module, checkpoint: Checkpoint) -> tuple[str, nn.ModuleList]:
    """Find the blocks: the list of modules that holds the most parameters."""
    lists = [(n, m) for n, m in base.named_modules() if isinstance(m, nn.ModuleList) and m]
    if not lists:
        raise InputError(f"{checkpoint.name}: no list of transformer layers in this model")
    # The outermost comes first, so a list inside a block (experts) never wins a tie.
    path, layers = max(lists, key=lambda item: _count(item[1]))
    stated = getattr(checkpoint.config, "num_hidden_layers", len(layers))
    if stated != len(layers):
        raise InputError(
            f"{checkpoint.name}: {stated} layers stated but {len(layers)} found; expected a "
            "model whose layers each have weights of their own"
        )
    return path, layers


def _check_length(base: nn.Module, training: Training) -> None:
    for name, module in base.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(_TABLES_OF_POSITIONS):
            # RoBERTa and MPNet count positions from behind the padding index, OPT from 2.
            start = 0 if module.padding_idx is None else module.padding_idx + 1
            start = getattr(module, "offset", start)
            limit = module.num_embeddings - start
            if training.sequence_length > limit:
                raise InputError(
                    f"sequence length {training.sequence_length} is past the {limit} positions "
                    "of this model; choose a shorter --sequence-length"
                )


def _linear_names(layer: nn.Module) -> list[str]:
    return [name for name, module in layer.named_modules() if _is_linear(module)]


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _widths(module: nn.Module) -> tuple[int, int]:
    """Input and output width of a linear module (GPT-2's Conv1D stores them transposed)."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return int(module.nx), int(module.nf)  # type: ignore[arg-type]  # Conv1D


def _choose_targets(
    layers: nn.ModuleList, wanted: tuple[str, ...], checkpoint: Checkpoint
) -> list[str]:
    family = checkpoint.config.model_type
    linear = _linear_names(layers[-1])
    default = PEFT_DEFAULTS.get(family)
    if ALL_LINEAR in wanted:
        chosen = linear
    elif not wanted and isinstance(default, list):
        chosen = list(_named(linear, default))
    else:
        chosen = list(_by_role(linear, wanted or ("q", "v"), checkpoint.name))
    if not chosen:
        raise InputError(
            f"{checkpoint.name}: no query and value projections found among "
            f"{', '.join(linear)}; name modules with --targets"
        )
    for index, layer in enumerate(layers):
        missing = set(chosen) - set(_linear_names(layer))
        if missing:
            raise InputError(
                f"{checkpoint.name}: layer {index} has no {min(missing)}; expected targets "
                "that every layer has; name them with --targets"
            )
    return chosen


def _named(linear: list[str], names: Iterable[str]) -> Iterator[str]:
    wanted = tuple(names)
    for path in linear:
        if any(path == name or path.endswith(f".{name}") for name in wanted):
            yield path


def _by_role(linear: list[str], wanted: Iterable[str], owner: str) -> Iterator[str]:
    seen = set[str]()
    for word in wanted:
        names = (word, *ROLES.get(word, ()))
        paths = list(_named(linear, names)) or (
            list(_named(linear, FUSED)) if word in ("q", "k", "v") else []
        )
        if not paths:
            raise InputError(
                f"{owner}: no module '{word}' in a layer; expected one of {', '.join(linear)}"
            )
        yield from (path for path in paths if path not in seen)
        seen.update(paths)


def _head_modules(model: nn.Module, base: nn.Module) -> list[str]:
    return [
        name for name, child in model.named_children() if child is not base and _count(child)
    ]


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _kinds(layers: nn.ModuleList, config: PretrainedConfig) -> tuple[int, ...]:
    types = getattr(config, "layer_types", None) or [""] * len(layers)
    signatures = [
        (kind, type(layer), tuple((n, tuple(p.shape)) for n, p in layer.named_parameters()))
        for kind, layer in zip(types, layers, strict=True)
    ]
    order = list(dict.fromkeys(signatures))
    return tuple(order.index(signature) for signature in signatures)
