"""Someone's PEFT adapter read as ranks by layer, as far as a plan can express it.

Only JSON is read: ``adapter_config.json``, and where ``adapter_model.safetensors`` lies beside
it, the header of that file, which lists every adapted module with its rank. Then names are
exact. From the configuration alone, ``target_modules`` (a list, or a regular expression),
``layers_to_transform``, ``exclude_modules`` and the patterns are matched against the modules
that the fleet's model names, by PEFT's rules; a module that the fleet does not name cannot
be seen.

A plan has one rank a layer, adapts the last layers without a gap, all targets of a layer, and
one LoRA scale. Whatever differs is refused, in one line.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from profiler.schema import Fleet, InputError, Model, read_bytes, refuse_repeated_keys
from solver.peft_rules import CONFIG, Config, listed, matches, rank_of, scale_of
from solver.plan import MAX_RANK

__all__ = ["CONFIG", "Adapter", "read_adapter"]

WEIGHTS = "adapter_model.safetensors"
# What may stand before the base model's modules in a task model, besides its family's name.
PREFIXES = ("", "model.", "transformer.", "base_model.", "model.model.")
ENDING = ".lora_A.weight"
LONGEST_HEADER = 100_000_000
# PEFT adds these heads itself for this task.
OWN_HEADS = {"SEQ_CLS": ["classifier", "score"], "TOKEN_CLS": ["classifier", "score"]}
UNFIT = (
    "use_dora",
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "megatron_config",
    "use_qalora",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """Ranks of an adapter, and what a person should know.

    Attributes
    ----------
    ranks : list of int, shape (L,)
        Rank by layer, input first; 0 below the depth.
    notes : list of str
        What was converted, or could not be seen; one line each.
    """

    ranks: list[int]
    notes: list[str]


def read_adapter(folder: Path, fleet: Fleet, *, convert: bool = False) -> Adapter:
    """Read an adapter as ranks by layer of the fleet's model.

    Parameters
    ----------
    folder : Path
        With ``adapter_config.json`` and, if it was trained, ``adapter_model.safetensors``.
    fleet : Fleet
        Names the modules.
    convert : bool
        Take the ranks of an adapter whose LoRA scale is another than the fleet's, or differs
        between layers (rsLoRA); the plan then has the fleet's scale.

    Raises
    ------
    InputError
        If it is no LoRA adapter, or a plan cannot express it; says what and where.
    """
    path = folder / CONFIG
    config = _read_config(path)
    _check_head(path, config, fleet.model)
    weights = _weights(folder / WEIGHTS)
    found = _by_weights(folder / WEIGHTS, weights, fleet.model, config)
    notes = []
    if found is None:
        found = _by_names(path, config, fleet.model)
        notes.append(
            f"{WEIGHTS} is not there, so modules were matched by the names that the fleet "
            "knows; any other that the configuration matches was not seen"
        )
    ranks = _by_layer(path, fleet.model, {key: rank for key, (rank, _) in found.items()})
    scales = sorted({scale for _, scale in found.values()})
    planned = fleet.lora.scaling
    if not all(math.isclose(scale, planned, rel_tol=1e-9) for scale in scales):
        seen = f"{scales[0]:.4g}" + (f" to {scales[-1]:.4g}" if len(scales) > 1 else "")
        if not convert:
            why = " (rsLoRA divides by the root of the rank)" if config.use_rslora else ""
            raise InputError(
                f"{path}: its LoRA scale is {seen}{why}; the fleet plans alpha / rank = "
                f"{planned:g}. Add --convert to plan these ranks at that scale"
            )
        notes.append(f"LoRA scale {seen} became the fleet's {planned:g}")
    return Adapter(ranks=ranks, notes=notes)


def _read_config(path: Path) -> Config:
    data = read_bytes(path)
    try:
        whole = msgspec.json.decode(data, type=dict[str, object])
        config = msgspec.json.decode(data, type=Config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path}: is not the configuration of a PEFT adapter ({error})"
        ) from None
    refuse_repeated_keys(data, str(path))
    if config.peft_type.upper() != "LORA":
        raise InputError(f"{path}: peft_type is '{config.peft_type}'; expected 'LORA'")
    unfit = [name for name in UNFIT if whole.get(name)]
    if config.bias != "none":
        unfit.append(f"bias '{config.bias}'")
    if unfit:
        raise InputError(
            f"{path}: {', '.join(unfit)} cannot be expressed by a plan; expected plain LoRA"
        )
    return config


def _check_head(path: Path, config: Config, model: Model) -> None:
    """The head that trains must be the one whose cost the fleet counts."""
    extra = [m for m in config.modules_to_save or [] if m not in _heads(model)]
    if extra:
        raise InputError(
            f"{path}: it trains module '{extra[0]}' whole, whose cost the fleet does not "
            f"count; expected {', '.join(model.head_modules) or 'none'}"
        )
    trained = (config.modules_to_save or []) + OWN_HEADS.get(config.task_type or "", [])
    if model.head_parameters and model.head_modules and not set(trained) & _heads(model):
        raise InputError(
            f"{path}: it trains no head, and the fleet's model counts one "
            f"({', '.join(model.head_modules)}); expected it in modules_to_save"
        )


def _heads(model: Model) -> set[str]:
    return {part for name in model.head_modules for part in (name, name.rpartition(".")[2])} | {
        *OWN_HEADS["SEQ_CLS"]
    }


Key = tuple[int, str]
Found = dict[Key, tuple[int, float]]


def _weights(path: Path) -> dict[str, int] | None:
    """Rank by module name from a safetensors header; None without the file."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= LONGEST_HEADER:
                raise ValueError("its header has an impossible length")
            header = msgspec.json.decode(file.read(size), type=dict[str, dict[str, object]])
        shapes = {n: entry["shape"] for n, entry in header.items() if n.endswith(ENDING)}
        return {
            name.removeprefix("base_model.model.").removesuffix(ENDING): int(shape[0])  # type: ignore[index]
            for name, shape in shapes.items()
        }
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        msgspec.DecodeError,
        RecursionError,
    ) as error:
        raise InputError(f"{path}: is not a safetensors file of LoRA ({error})") from None


def _by_weights(
    path: Path, weights: Mapping[str, int] | None, model: Model, config: Config
) -> Found | None:
    """Rank and scale of each module that has weights."""
    if weights is None:
        return None
    modules = {name: key for key, name in _modules(model).items()}
    found: Found = {}
    for full, rank in weights.items():
        parts = full.split(".")
        tails = (".".join(parts[i:]) for i in range(len(parts)))
        key = next((modules[tail] for tail in tails if tail in modules), None)
        if key is None:
            raise InputError(f"{path}: adapts '{full}', {_expected(model)}")
        said = rank_of(config.rank_pattern, [full], config.r)
        if said != rank:
            raise InputError(
                f"{path}: '{full}' has rank {rank}, and {CONFIG} says {said}; expected the same"
            )
        found[key] = (rank, scale_of(config, [full], rank))
    return found


def _by_names(path: Path, config: Config, model: Model) -> Found:
    """Rank and scale of each module of the fleet's model that the configuration matches."""
    targets = config.target_modules
    if not targets or targets == "all-linear":
        raise InputError(
            f"{path}: target_modules is {targets!r}, which only PEFT resolves, on the model; "
            f"give a folder with {WEIGHTS}, or name the modules"
        )
    names = {key: _full_names(model, name) for key, name in _modules(model).items()}
    if isinstance(targets, list):
        for target in targets:
            if not any(listed([target], full) for full in names.values()):
                raise InputError(f"{path}: targets '{target}', {_expected(model)}")
    layers = config.layers_to_transform
    wanted = [layers] if isinstance(layers, int) else layers
    found: Found = {}
    for key, full in names.items():
        excluded = config.exclude_modules and matches(path, config.exclude_modules, full)
        if excluded or (wanted and key[0] not in wanted):
            continue
        if matches(path, targets, full):
            rank = rank_of(config.rank_pattern, full, config.r)
            found[key] = (rank, scale_of(config, full, rank))
    return found


def _modules(model: Model) -> dict[Key, str]:
    """Modules that the fleet may adapt, below the base model."""
    return {
        (layer, target.name): model.module_name(layer, target.name)
        for layer in range(model.layers)
        for target in model.targets
    }


def _full_names(model: Model, name: str) -> list[str]:
    return [prefix + name for prefix in dict.fromkeys((*PREFIXES, f"{model.family}."))]


def _expected(model: Model) -> str:
    return (
        "which the fleet's profile does not count; expected "
        f"{', '.join(t.name for t in model.targets)} of the layers. Profile with those "
        "--targets"
    )


def _by_layer(path: Path, model: Model, found: Mapping[Key, int]) -> list[int]:
    """One rank a layer; refuses what a plan cannot say."""
    ranks = []
    for layer in range(model.layers):
        of = {t.name: found.get((layer, t.name), 0) for t in model.targets}
        if len(set(of.values())) > 1:
            said = ", ".join(f"{name} {rank or 'none'}" for name, rank in of.items())
            raise InputError(
                f"{path}: the modules of layer {layer} differ in rank ({said}); a plan has one "
                "rank a layer. Profile with just the --targets that it adapts"
            )
        ranks.append(next(iter(of.values())))
    adapted = [layer for layer, rank in enumerate(ranks) if rank]
    if not adapted:
        raise InputError(f"{path}: matches no module of '{model.name}'; {_some(model)}")
    gap = next((i for i in range(adapted[0], model.layers) if not ranks[i]), None)
    if gap is not None:
        raise InputError(
            f"{path}: layer {gap} is not adapted and layer {adapted[0]} below it is; a plan "
            "adapts the last layers without a gap"
        )
    if max(ranks) > MAX_RANK:
        raise InputError(f"{path}: rank {max(ranks)}; expected at most {MAX_RANK}")
    return ranks


def _some(model: Model) -> str:
    return f"expected such as {model.module_name(model.layers - 1, model.targets[0].name)}"
