"""Derived profiles: model config and hardware catalogue in, costs out; nothing is run."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.closed_form.architectures import (
    config_digest,
    describe_lora,
    describe_model,
    read_architecture,
)
from profiler.closed_form.families import READERS
from profiler.closed_form.footprint import memory_by_closed_form
from profiler.closed_form.quantised import check_quantisation
from profiler.closed_form.roofline import step_time
from profiler.closed_form.simulate import Setting
from profiler.configs import (
    DEFAULT_MODEL,
    Config,
    config_path,
    load_config,
    naming,
    preset_names,
)
from profiler.gain.default import default_gain
from profiler.hardware import Hardware, find_hardware
from profiler.schema import (
    InputError,
    Memory,
    Origin,
    Profile,
    StepTime,
    Training,
    provenance,
)

__all__ = [
    "DEFAULT_TRAINING",
    "derive_costs",
    "derive_profile",
    "profiled_config",
    "setting_for",
]

HEAD_SIZE = 64
DEFAULT_TRAINING = Training(batch_size=16, sequence_length=128)


def derive_profile(
    model: str = DEFAULT_MODEL,
    hardware: str = "jetson-tx2",
    mode: str | None = None,
    training: Training = DEFAULT_TRAINING,
    *,
    targets: Sequence[str] = (),
    options: dict[str, str] | None = None,
) -> Profile:
    """Derive the profile of a model on a device of the catalogue.

    Parameters
    ----------
    model : str
        Preset name or folder with ``config.json``; weights are not needed.
    hardware : str
        Catalogue id, or ``id/mode``.
    mode : str, optional
        Power mode; by default the first one of the device.
    training : Training
        The training step.
    targets : sequence of str, optional
        Adapted modules by name or role; by default PEFT's for the family.
    options : dict of str to str, optional
        Options the person gave, for the record.

    Raises
    ------
    InputError
        If the model or device is unknown, or does not fit the training step.
    """
    name, config = load_config(model)
    device = find_hardware(hardware, mode)
    with naming(model):
        setting = setting_for(config, training, device, targets)
        training = setting.training
        description = describe_model(name, config, training, targets)
    time, memory = derive_costs(setting, device)
    return Profile(
        provenance=provenance(
            options=options or {}, inputs=_inputs(model), origins=_origins(device, training)
        ),
        model=description,
        training=training,
        lora=describe_lora(description),
        gain=default_gain(description.layers),
        device=device.device(),
        time=time,
        memory=memory,
    )


def _inputs(model: str) -> list[Path]:
    path = config_path(model)
    return [path] if path.is_file() else []


def _origins(device: Hardware, training: Training) -> dict[str, Origin]:
    """Where the figures of a derived profile come from."""
    stored = ""
    if training.base_dtype != "same":
        stored = (
            f"; frozen layers in {training.base_dtype} (QLoRA, arXiv 2305.14314) as "
            "bitsandbytes 0.50 stores and restores them, whether or not it runs on this device"
        )
    return {
        "model": Origin(kind="derived", source="closed forms from config.json"),
        "time": Origin(
            kind="derived",
            source=f"roofline of recorded kernels; {device.label}; {device.efficiency_source}"
            f"{stored}",
        ),
        "memory": Origin(
            kind="derived",
            source=f"symbolic training step; framework_bytes from the catalogue{stored}",
        ),
        "gain": Origin(kind="derived", source="analytic default"),
        "device": Origin(kind="catalogue", source=device.sources),
    }


def setting_for(
    config: Config, training: Training, device: Hardware, targets: Sequence[str] = ()
) -> Setting:
    """Model, training and kind of processor of a derivation.

    Families without fused attention in transformers train with the eager one.

    Raises
    ------
    InputError
        If the model does not fit the training step.
    """
    architecture = read_architecture(config)
    check_quantisation(config, training.base_dtype)
    if training.sequence_length > architecture.positions:
        raise InputError(
            f"sequence length {training.sequence_length} is past the "
            f"{architecture.positions} positions of this model; choose a shorter one"
        )
    if training.gradient_checkpointing and architecture.family == "mpnet":
        raise InputError("mpnet: transformers offers no gradient checkpointing for it")
    if training.base_dtype not in ("same", "nf4"):
        raise InputError(f"base_dtype is '{training.base_dtype}'; expected one of same, nf4")
    if training.base_dtype != "same" and not architecture.decoder:
        raise InputError(
            f"base type {training.base_dtype} is derived for decoders; {architecture.family} "
            "is an encoder"
        )
    if not architecture.has_sdpa:
        training = msgspec.structs.replace(training, attention="eager")
    return Setting(
        architecture=architecture,
        training=training,
        adapted=architecture.resolve_targets(targets),
        fused=device.processor == "cuda",
    )


def derive_costs(setting: Setting, device: Hardware) -> tuple[StepTime, Memory]:
    """Time and memory of a setting on a device of the catalogue."""
    return (
        step_time(setting, device),
        memory_by_closed_form(setting, device.framework_bytes),
    )


def profiled_config(profile: Profile, given: str = "") -> tuple[Config, str]:
    """Config by which closed forms compare devices for a measured profile.

    The model's own where there is one and closed forms know its family; else one of its width
    and depth in common proportions, which is enough to compare devices.

    Parameters
    ----------
    profile : Profile
    given : str
        Folder or preset that the config is in; empty if nobody says.

    Returns
    -------
    tuple of (Config, str)
        The config, and what to say of where it comes from.

    Raises
    ------
    InputError
        If what is given is not the profile's model.
    """
    model = profile.model
    if given:
        _, config = load_config(given)
        if config_digest(config) != model.config_sha256:
            raise InputError(
                f"model '{given}': its config is not the one that the profile of "
                f"'{model.name}' was made from; give that model's folder, or none"
            )
        if config.get("model_type") in READERS:
            return config, "the model's config"
        return _assumed(profile), f"common proportions (no closed form of '{model.family}')"
    for name in preset_names():
        _, config = load_config(name)
        if config_digest(config) == model.config_sha256:
            return config, "the preset's config"
    return _assumed(profile), f"common proportions (the config of '{model.name}' was not given)"


def _assumed(profile: Profile) -> Config:
    """A config of this family and width in common proportions: 64 a head, MLP of 4 H."""
    model = profile.model
    hidden, layers = model.hidden_size, model.layers
    heads = hidden // HEAD_SIZE if hidden % HEAD_SIZE == 0 else 1
    like = "gpt2" if profile.training.task == "causal-lm" else "bert"
    family = model.family if model.family in READERS else like
    sizes = {
        ("hidden_size", "dim", "n_embd"): hidden,
        ("intermediate_size", "hidden_dim", "n_inner"): 4 * hidden,
        ("num_hidden_layers", "n_layers", "n_layer"): layers,
        ("num_attention_heads", "n_heads", "n_head"): heads,
        ("vocab_size",): 30_000,
        ("max_position_embeddings", "n_positions"): 2**20,
    }
    config: dict[str, object] = {key: n for keys, n in sizes.items() for key in keys}
    return {**config, "model_type": family, "head_dim": hidden // heads}
