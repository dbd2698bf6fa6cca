"""Command-line options that several commands share, and what they mean to a problem."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from profiler.schema import InputError
from solver.errors import FleetError
from solver.question import (
    MAX_RANK,
    CacheChoice,
    Codec,
    LeaveOut,
    RankShape,
    Structure,
    Weights,
)

F = TypeVar("F", bound=Callable[..., Any])

FLEET = click.argument("fleet_path", metavar="FLEET", type=click.Path(path_type=Path))
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on stdout, nothing else."
)

CHANGES = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="CHANGE",
    help="What if: 'device=tx2-03,uplink_mbit_per_s=5', 'class=NAME,time_scale=2', "
    "'all,memory_gb=4' or 'link=ap-1,uplink_mbit_per_s=50'; may be given again. Fields: "
    "uplink_mbit_per_s, downlink_mbit_per_s, latency_s, memory_gb, storage_gb, time_scale, "
    "examples, local_steps, count; limits of a device's own a round, or none: upload_mb, "
    "download_mb, energy_j, time_s; of a class or all: power_w.",
)
LEAVE_OUT = click.option(
    "--leave-out",
    type=click.Choice(get_args(LeaveOut)),
    default="nobody",
    show_default=True,
    help="Leave out devices that cannot train even the least configuration.",
)
NEXT_LAYER = click.option(
    "--next-layer",
    "want_next",
    is_flag=True,
    help="Say what each device lacks for one layer more.",
)
STRUCTURES: tuple[Structure, ...] = get_args(Structure)
STRUCTURE = click.option(
    "--structure",
    type=click.Choice(STRUCTURES),
    default="shared",
    show_default=True,
    help="One rank per layer for all devices, the same up to a cap per device, or ranks of its "
    "own for every device.",
)
FILL_WAIT = click.option(
    "--fill-wait",
    type=float,
    default=1.0,
    show_default=True,
    metavar="C",
    help="Devices that would wait train more local steps instead, up to C times their own; "
    "--mean-wait then counts what is left of waits.",
)

_BUDGETS = (
    click.option(
        "--round-time", "round_time_s", type=float, metavar="S", help="Longest round, seconds."
    ),
    click.option(
        "--mean-wait",
        "mean_wait_s",
        type=float,
        metavar="S",
        help="Longest mean wait, seconds.",
    ),
    click.option(
        "--rank-budget", type=int, metavar="N", help="Largest sum of the shared ranks."
    ),
    click.option(
        "--upload-mb", type=float, metavar="MB", help="Largest upload of a device a round."
    ),
    click.option(
        "--download-mb", type=float, metavar="MB", help="Largest download of a device."
    ),
    click.option(
        "--energy-j", type=float, metavar="J", help="Most energy of a device a round."
    ),
    click.option(
        "--ranks",
        default="1-64",
        show_default=True,
        metavar="LIST",
        help="Ranks a layer may have: '1-64' or '4,8,16'.",
    ),
    click.option(
        "--min-depth",
        type=int,
        default=1,
        show_default=True,
        metavar="K",
        help="Fewest layers a device adapts.",
    ),
    click.option(
        "--max-depth", type=int, metavar="K", help="Most layers a device adapts.  [all]"
    ),
    click.option(
        "--rank-shape",
        type=click.Choice(get_args(RankShape)),
        default="free",
        show_default=True,
        help="How shared ranks run over the layers: freely, never falling towards the output, "
        "or rising towards it by a constant step.",
    ),
    click.option(
        "--cache",
        type=click.Choice(get_args(CacheChoice)),
        default="off",
        show_default=True,
        help="Outputs of layers that a device does not adapt: not kept, kept for a round, for "
        "the whole run, or whichever is fastest, as far as its storage goes.",
    ),
    click.option(
        "--cache-rounds",
        type=int,
        metavar="N",
        help="Rounds a device will take part in; 'auto' fills a cache for the whole run only "
        "where that pays off within them.  [no end]",
    ),
    click.option(
        "--upload-codec",
        type=click.Choice(get_args(Codec)),
        default="none",
        show_default=True,
        help="How uploads are compressed.",
    ),
    click.option(
        "--download-codec",
        type=click.Choice(get_args(Codec)),
        default="none",
        show_default=True,
        help="How downloads are compressed.",
    ),
    click.option(
        "--weights",
        type=click.Choice(get_args(Weights)),
        default="examples",
        show_default=True,
        help="What a device counts for.",
    ),
)


def budgets(command: F) -> F:
    """Add the options of every budget to a command."""
    for option in reversed(_BUDGETS):
        command = option(command)
    return command


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the fleet's file before what is wrong with one of its figures."""
    try:
        yield
    except FleetError as error:
        raise InputError(f"{path}: {error}") from None


def problem_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Translate the options here to keyword arguments of `Problem.of`.

    All of `budgets` must be there; of the others, those that the command has.
    """
    _refuse_limits(options)
    optional = ("structure", "leave_out", "fill_wait")
    fields = {
        name: options[name]
        for name in (
            *(name for name in optional if name in options),
            "round_time_s",
            "mean_wait_s",
            "rank_budget",
            "energy_j",
            "min_depth",
            "max_depth",
            "rank_shape",
            "cache",
            "cache_rounds",
            "upload_codec",
            "download_codec",
            "weights",
        )
    }
    fields["ranks"] = parse_ranks(options["ranks"])
    for name in ("upload", "download"):
        megabytes = options[f"{name}_mb"]
        fields[f"{name}_bytes"] = None if megabytes is None else megabytes * 1e6
    return fields


def _refuse_limits(options: dict[str, Any]) -> None:
    """Refuse what is no limit by its flag, in the unit that was typed."""
    for flag in ("--round-time", "--mean-wait", "--upload-mb", "--download-mb", "--energy-j"):
        name = flag[2:].replace("-", "_")
        value = options.get(name, options.get(f"{name}_s"))
        if value is not None and not 0 <= value < float("inf"):
            raise InputError(f"{flag} is {value:g}; expected 0 or more, and finite")


def parse_ranks(text: str) -> list[int]:
    """Read '4,8,16' or '1-64' or a mix; raises `InputError`."""
    try:
        ranks: list[int] = []
        for part in text.split(","):
            # Python also reads 1_0 and other alphabets' digits.
            if set(part) - set("0123456789- "):
                raise ValueError
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            if not 1 <= low <= high <= MAX_RANK:
                raise ValueError
            ranks.extend(range(low, high + 1))
    except ValueError:
        raise InputError(
            f"--ranks is '{text}'; expected whole numbers from 1 to {MAX_RANK}, "
            "as in 4,8,16 or 1-64"
        ) from None
    return ranks


def given(options: dict[str, Any]) -> dict[str, str]:
    """Options as text, without those left out, for a plan's provenance."""
    return {
        name: str(value)
        for name, value in sorted(options.items())
        if value is not None and not isinstance(value, Path) and name != "as_json"
    }
