"""Command `demo`."""

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command()
@click.option("-o", "--output", type=FOLDER, default=Path("demo"), help="Folder to write.")
@click.option("--model", type=FOLDER, help="Local Hugging Face folder instead of the BERT.")
@click.option(
    "--data", type=FOLDER, help="Table (text, label; two classes) instead of the reviews."
)
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--sample", type=click.IntRange(1, 80), default=5, show_default=True)
@click.option("--local-steps", type=click.IntRange(1), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON on stdout.")
def demo(
    output: Path,
    model: Path | None,
    data: Path | None,
    rounds: int,
    sample: int,
    local_steps: int,
    seed: int,
    as_json: bool,
) -> None:
    r"""Go the whole way on this machine, on a real model and real text.

    Profiles a 6-layer BERT here, plans for 80 Jetsons, verifies the plan, fine-tunes under it
    and under uniform FedLoRA, and writes a report. Two or three minutes on two cores.

    \b
    legend demo -o demo
    legend demo --model FOLDER --data reviews.csv -o demo
    """
    from benchmarks.demo import Demo, main

    main(
        Demo(
            folder=output,
            model=model,
            data=data,
            rounds=rounds,
            sample=sample,
            local_steps=local_steps,
            seed=seed,
        ),
        as_json=as_json,
    )
