"""Profiles as the options of `legend profile` ask for them."""

from typing import Any

from msgspec.structs import replace

from profiler.schema import InputError, Origin, Profile, Training, read_profile

__all__ = ["costs", "drawing", "measured"]


def costs(
    model: str, options: dict[str, Any], given: dict[str, Any], *, derive: bool
) -> Profile:
    """Profile with the analytic gain, or the one whose costs to keep."""
    if options["into"]:
        return read_profile(options["into"])
    return _derived(model, options, given) if derive else measured(model, options)


def measured(model: str, options: dict[str, Any]) -> Profile:
    """Measure a profile on this machine; raises `InputError`."""
    if options["hardware"] or options["mode"]:
        raise InputError("--hardware and --mode describe another device; add --derive")
    from profiler.measure import FULL, QUICK, measure_profile
    from profiler.progress import ProgressBar

    with ProgressBar() as listener:
        made = measure_profile(
            model,
            _training(options),
            targets=_targets(options),
            processor=options["processor"],
            threads=options["threads"],
            effort=QUICK if options["quick"] else FULL,
            seed=options["seed"],
            listener=listener,
        )
    return drawing(made, options["power_w"])


def drawing(profile: Profile, power_w: float | None) -> Profile:
    """Profile of a device that draws so many watts under load; None: as it says.

    Nothing here can measure it, and budgets on energy need it.
    """
    if power_w is None:
        return profile
    # Not measured here: a person read it off a data sheet or a meter.
    origin = Origin(kind="catalogue", source="given with --power-w")
    record = profile.provenance
    return replace(
        profile,
        device=replace(profile.device, power_w=power_w),
        provenance=replace(record, origins={**record.origins, "device.power_w": origin}),
    )


def _derived(model: str, options: dict[str, Any], given: dict[str, Any]) -> Profile:
    if not options["hardware"]:
        raise InputError("--derive needs --hardware, a device of the catalogue")
    from profiler.derive import derive_profile

    return derive_profile(
        model,
        options["hardware"],
        options["mode"],
        _training(options),
        targets=_targets(options),
        options={name: str(value) for name, value in given.items() if name in options},
    )


def _training(options: dict[str, Any]) -> Training:
    decoder = options["task"] == "causal-lm"
    return Training(
        batch_size=options["batch_size"],
        sequence_length=options["sequence_length"],
        dtype=options["dtype"],
        base_dtype=options["base_dtype"] or "same",
        optimizer=options["optimizer"],
        attention=options["attention"],
        dropout=options["dropout"],
        gradient_checkpointing=options["gradient_checkpointing"],
        task=options["task"],
        labels=0 if decoder else options["labels"],
    )


def _targets(options: dict[str, Any]) -> tuple[str, ...]:
    return tuple(filter(None, options["targets"].split(",")))
