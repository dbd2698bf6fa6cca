"""``legend profile``: what adapting a model costs, measured or worked out."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource
from msgspec.structs import asdict

from profiler.cli.device import device_options, device_task
from profiler.cli.finite import FiniteRange
from profiler.cli.gain import add_gain, check_gain, gain_options
from profiler.cli.given import refuse_given
from profiler.cli.making import costs, measured
from profiler.cli.training import BASE_DTYPE
from profiler.schema import InputError, Profile, check_writable, read_profile, write

__all__ = ["profile"]


@click.command()
@click.argument("model", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Profile to write.")
@click.option("--batch-size", type=click.IntRange(1, 2**16), default=16, show_default=True)
@click.option(
    "--sequence-length", type=click.IntRange(1, 2**20), default=128, show_default=True
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
)
@BASE_DTYPE
@click.option(
    "--optimizer", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True
)
@click.option(
    "--attention", type=click.Choice(["sdpa", "eager"]), default="sdpa", show_default=True
)
@click.option("--dropout/--no-dropout", default=True, help="Dropout while training.")
@click.option("--gradient-checkpointing", is_flag=True, help="Recompute activations.")
@click.option(
    "--task",
    type=click.Choice(["classification", "causal-lm"]),
    default="classification",
    show_default=True,
)
@click.option("--labels", type=click.IntRange(1, 2**20), default=2, show_default=True)
@click.option(
    "--targets",
    default="",
    help="Modules to adapt, by name or role, such as q,v or all-linear.  [default: as PEFT]",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--quick", is_flag=True, help="Fewer probes and rounds.")
@click.option(
    "--device",
    "processor",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
)
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="CPU threads.  [default: as torch]"
)
@click.option(
    "--power-w",
    type=FiniteRange(0),
    metavar="W",
    help="What this device draws under load, watts, for budgets on energy.  [unknown]",
)
@click.option("--derive", is_flag=True, help="Work the costs out instead of measuring them.")
@click.option("--hardware", help="With --derive: device of the catalogue.")
@click.option("--mode", help="With --derive: its power mode.")
@click.option(
    "--check",
    "checked",
    is_flag=False,
    flag_value="",
    metavar="[PROFILE]",
    help="Run configurations that no fit has seen and compare; measures first without PROFILE.",
)
@click.option(
    "--picture", type=click.Path(path_type=Path), help="With --check: draw it, .svg or .png."
)
@gain_options
@device_options
@click.option("--json", "as_json", is_flag=True, help="Key figures as JSON on stdout.")
@click.pass_context
def profile(
    ctx: click.Context,
    /,
    model: str | None,
    output: Path | None,
    derive: bool,
    checked: str | None,
    picture: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Measure what adapting MODEL costs on this machine, by depth and rank.

    MODEL is a local Hugging Face folder (or a hub id in the local cache). With --derive the
    costs on a device of the hardware catalogue are worked out from its config.json, or from
    a preset's name, without running anything. With --check a profile is held against
    configurations that were not used for it.

    \b
    legend profile MODEL -o p.json
    legend profile MODEL --check p.json --picture check.svg
    legend profile roberta-base --derive --hardware jetson-tx2 -o p.json
    legend profile MODEL --into p.json --gain fisher --data reviews.csv -o q.json
    """
    given = _given(ctx)
    check_gain(given)
    read = [options[name] for name in ("into", "data", "transfer", "here", "there")]
    for path in filter(None, (output, picture)):
        check_writable(path, *read, Path(checked) if checked else None)
    _refuse_idle(ctx, options)
    if device_task(model, output, options, as_json=as_json):
        return
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.")
    if checked is not None:
        made = _to_check(model, checked, output, options, given, derive=derive)
        _check(made, model, picture, options, as_json=as_json)
        return
    if picture is not None:
        raise InputError("--picture draws a check; add --check")
    if output is None:
        raise InputError("no file to write the profile to; name one with -o")
    made = add_gain(costs(model, options, given, derive=derive), model, options)
    write(output, made)
    _report(made, output, as_json=as_json)


# What the tasks that look at a device heed; nothing else is of use to them.
HEEDED = {
    "benchmark": {"processor", "threads", "seed"},
    "transfer": {"here", "there", "power_w"},
    "network": set[str](),
    "serve": set[str](),
}
ALWAYS = {"model", "output", "as_json"}
# What a measurement heeds and closed forms do not.
MEASURED = ("quick", "power_w", "processor", "threads", "seed")


def _refuse_idle(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse what would have no effect on the one thing that is to be done."""
    asked = [name for name in HEEDED if options[name]]
    if len(asked) == 1:
        heeded = HEEDED[asked[0]] | ALWAYS | {asked[0]}
        refuse_given(ctx, ctx.params.keys() - heeded, f"--{asked[0]} is all that is done")
    if not asked and ctx.params["derive"]:
        gained = options["gain"] != "default"
        idle = MEASURED[:2] if gained else MEASURED
        refuse_given(ctx, idle, "--derive measures nothing")


def _given(ctx: click.Context) -> dict[str, Any]:
    """Options that the person gave, as opposed to defaults."""
    named = ctx.get_parameter_source
    return {
        name: value
        for name, value in ctx.params.items()
        if named(name) is ParameterSource.COMMANDLINE
    }


def _to_check(
    model: str,
    path: str,
    output: Path | None,
    options: dict[str, Any],
    given: dict[str, Any],
    *,
    derive: bool,
) -> Profile:
    """Read the profile to check, or measure it first."""
    if derive or options["hardware"] or options["mode"]:
        raise InputError("--check runs the model here; leave out --derive and its options")
    if not path:
        made = measured(model, options)
        if output is not None:
            write(output, made)
        return made
    if output is not None:
        raise InputError(f"--check {path} writes no profile; leave out -o")
    made = read_profile(Path(path))
    _refuse_other(made, path, given)
    return made


def _refuse_other(made: Profile, path: str, given: dict[str, Any]) -> None:
    """Refuse options that say another training step than the profile."""
    said = {**asdict(made.training), **asdict(made.device)}
    for name in sorted(given.keys() & (said.keys() | {"targets"})):
        seen, expected = given[name], said.get(name, "in the profile")
        if seen != expected:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{path}: {name} is {expected} there, {flag} says {seen}; leave {flag} out, or "
                "measure another profile"
            )


def _check(
    made: Profile,
    model: str,
    picture: Path | None,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise InputError(f"{picture}: ends in '{picture.suffix}'; expected .svg or .png")
    from profiler.check.run import FULL_CHECK, QUICK_CHECK, check_profile
    from profiler.progress import ProgressBar

    effort = QUICK_CHECK if options["quick"] else FULL_CHECK
    with ProgressBar() as listener:
        report = check_profile(
            made, model, effort=effort, seed=options["seed"], listener=listener
        )
    if picture is not None:
        from profiler.check.picture import draw_check

        draw_check(report, picture)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report.record()), indent=2))
        return
    from profiler.check.show import show_check

    show_check(report)
    if picture is not None:
        click.echo(f"wrote {picture}")


def _report(made: Profile, output: Path, *, as_json: bool) -> None:
    from profiler.show import key_figures, show_profile

    if as_json:
        click.echo(json.dumps(key_figures(made, str(output)), indent=2))
        return
    show_profile(made)
    click.echo(f"wrote {output}")
