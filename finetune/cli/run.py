"""``legend run``: fine-tune federated, as planned."""

from pathlib import Path

import click
import msgspec

from finetune.cli.idle import refuse_idle
from finetune.cli.round_options import changing
from finetune.options import RunOptions

__all__ = ["run"]

PATH = click.Path(path_type=Path)
DEFAULT = RunOptions()


@click.command()
@click.argument("plan", type=PATH)
@click.option("--model", type=PATH, required=True, help="Folder of the model planned for.")
@click.option(
    "--data",
    type=PATH,
    required=True,
    help="Examples: CSV, TSV, JSON, Parquet or a datasets folder.",
)
@click.option("-o", "--out", type=PATH, required=True, help="Folder of the run.")
@click.option("--rounds", type=int, default=DEFAULT.rounds, show_default=True)
@click.option(
    "--sample", type=int, default=DEFAULT.sample, show_default=True, help="Devices a round."
)
@click.option("--seed", type=int, default=DEFAULT.seed, show_default=True)
@click.option(
    "--partition",
    default=DEFAULT.partition,
    show_default=True,
    help="How devices share the examples: dirichlet, iid or natural:COLUMN.",
)
@click.option(
    "--alpha",
    type=float,
    default=DEFAULT.alpha,
    show_default=True,
    help="Dirichlet concentration; the smaller, the less alike the devices.",
)
@click.option("--learning-rate", type=float, default=DEFAULT.learning_rate, show_default=True)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "inverse-sqrt", "linear", "cosine"]),
    default=DEFAULT.schedule,
    show_default=True,
    help="Learning rate over the rounds: the last two reach 0 as the run ends.",
)
@click.option(
    "--clip-norm",
    type=float,
    default=DEFAULT.clip_norm,
    show_default=True,
    help="Largest gradient norm; 0 does not clip.",
)
@click.option(
    "--logit-adjustment",
    type=float,
    default=DEFAULT.logit_adjustment,
    show_default=True,
    help="How far devices make up for unequal shares of the classes they hold; 1 in full.",
)
@click.option(
    "--warmup-rounds",
    type=int,
    default=DEFAULT.warmup_rounds,
    show_default=True,
    help="Rounds over which the learning rate rises.",
)
@click.option("--batch-size", type=int, help="Examples a step.  [default: the plan's]")
@click.option(
    "--compute-dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="What the simulation computes in; the clock stays the plan's.  [default: the plan's]",
)
@click.option(
    "--local-epochs",
    type=int,
    help="Passes a round over a device's data, instead of the plan's local steps; the clock "
    "charges compute in proportion.",
)
@click.option(
    "--frozen-dropout/--no-frozen-dropout",
    default=DEFAULT.frozen_dropout,
    show_default=True,
    help="Dropout in the layers a device does not adapt; never with a prefix cache.",
)
@click.option(
    "--cache-memory-mb",
    type=int,
    default=DEFAULT.cache_memory_mb,
    show_default=True,
    help="Memory for the prefix caches of all simulated devices.",
)
@click.option(
    "--cache-disk-mb",
    type=int,
    default=DEFAULT.cache_disk_mb,
    show_default=True,
    help="Disk in the run's folder for what does not fit into memory.",
)
@click.option(
    "--workers",
    type=int,
    default=DEFAULT.workers,
    show_default=True,
    help="Devices simulated at once, each by a process with one thread.",
)
@click.option(
    "--aggregation",
    help="layerwise, hetlora, flexlora, hlora, flora, rbla, ffa or fedex.  [default: what "
    "fits the plan]",
)
@click.option(
    "--clip-update-norm",
    type=float,
    default=DEFAULT.clip_update_norm,
    show_default=True,
    help="Largest norm of a device's change in a round, cut by the server; 0 does not cut.",
)
@click.option(
    "--aggregation-trim",
    type=float,
    default=DEFAULT.aggregation_trim,
    show_default=True,
    help="Trimmed mean: share of the largest and of the smallest values to drop.",
)
@click.option(
    "--server-optimizer",
    type=click.Choice(["fedavg", "fedavgm", "fedadam", "fedyogi"]),
    default=DEFAULT.server_optimizer,
    show_default=True,
    help="How the server goes along what a round comes to: as it is, or with memory.",
)
@click.option(
    "--server-learning-rate",
    type=float,
    help="Step of the server.  [default: 1; 0.01 for fedadam and fedyogi]",
)
@click.option(
    "--server-momentum",
    type=float,
    default=DEFAULT.server_momentum,
    show_default=True,
    help="Share of the last rounds' direction that the server keeps.",
)
@click.option(
    "--eval-every",
    type=int,
    default=DEFAULT.eval_every,
    show_default=True,
    help="Rounds between evaluations.",
)
@click.option("--target-accuracy", type=float, help="Stop at this test accuracy, 0 to 1.")
@click.option("--time-limit-s", type=float, help="Stop at this time of the virtual clock.")
@click.option(
    "--test-fraction",
    type=float,
    default=DEFAULT.test_fraction,
    show_default=True,
    help="Share of the data held out for testing.",
)
@click.option("--test-data", type=PATH, help="Test examples, instead of holding some out.")
@click.option("--max-test", type=int, help="Most test examples.  [default: all]")
@click.option("--tensorboard", is_flag=True, help="Write OUT/tensorboard as well.")
@click.option("--text-column", default=DEFAULT.text_column, show_default=True)
@click.option("--label-column", default=DEFAULT.label_column, show_default=True)
@click.option("--fleet", type=PATH, help="Charge what this fleet's cost tables say.")
@changing
@click.option(
    "--clock",
    type=click.Choice(["virtual", "real"]),
    default=DEFAULT.clock,
    show_default=True,
    help="Charge predictions, or the seconds each device's turn takes on this machine.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "flower"]),
    default="local",
    show_default=True,
    help="Simulate the devices in this process, or train on Flower's SuperNodes.",
)
@click.option(
    "--superlink",
    metavar="HOST:PORT",
    default="",
    help="Wait there for devices that are started elsewhere and have their own data; DATA are "
    "then the test examples.  [default: start every device here, with its share of DATA]",
)
@click.option("--tls", type=PATH, help="Folder of ca.crt, server.crt and server.key.")
@click.option("--node-keys", type=PATH, help="Folder of the public keys (*.pub) let in.")
@click.option(
    "--wait-s", type=float, default=300.0, show_default=True, help="Longest wait for devices."
)
@click.option(
    "--deadline-slack",
    type=float,
    help="A round ends after so many times the plan's round time, without who is late; 0 "
    "waits.  [default: 1.5; 0 for devices started here]",
)
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def run(
    plan: Path,
    model: Path,
    data: Path,
    out: Path,
    test_data: Path | None,
    fleet: Path | None,
    trace: Path | None,
    resume: bool,
    as_json: bool,
    engine: str,
    superlink: str,
    tls: Path | None,
    node_keys: Path | None,
    wait_s: float,
    deadline_slack: float | None,
    **choices: object,
) -> None:
    r"""Fine-tune a model federated, as planned, on simulated devices under a virtual clock.

    Writes OUT/adapter (PEFT), OUT/metrics.jsonl, OUT/summary.json and OUT/checkpoint.

    \b
    legend run plan.json --model FOLDER --data reviews.csv -o run
    legend run plan.json --model FOLDER --data reviews.csv -o run --fleet fleet.json \
        --trace trace.json --replan-every 10
    """
    options = msgspec.convert(choices, RunOptions)
    refuse_idle(options, engine, test_data)
    from finetune.cli.summary import show
    from finetune.monitor.progress import ConsoleProgress
    from finetune.run import Sources
    from finetune.run import run as execute

    sources, progress = Sources(model, data, test_data, fleet, trace), ConsoleProgress()
    if engine == "flower":
        from finetune.flower.launch import SuperLink, launch

        where = SuperLink(superlink, tls, node_keys, wait_s, deadline_slack)
        summary = launch(plan, sources, out, options, where, resume=resume, progress=progress)
    else:
        summary = execute(plan, sources, out, options, resume=resume, progress=progress)
    if as_json:
        click.echo(msgspec.json.encode(summary).decode())
    else:
        show(summary, out)
