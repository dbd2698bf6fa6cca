"""What a person chooses about a run; the plan says everything else."""

import math
from typing import Literal

from msgspec import Struct, structs

from solver.plan import InputError

__all__ = ["RunOptions"]

FLAGS = {"deadline_s": "deadline"}

# Options that are 1 or more, 0 or more, above 0, and below an end, with what that is for.
COUNTS = (
    "rounds", "sample", "workers", "eval_every", "batch_size", "local_epochs", "max_test",
    "replan_every",
)  # fmt: skip
NOT_NEGATIVE = (
    "seed", "clip_norm", "logit_adjustment", "cache_memory_mb", "cache_disk_mb",
    "clip_update_norm", "aggregation_trim", "server_momentum",
)  # fmt: skip
POSITIVE = (
    "alpha", "learning_rate", "server_learning_rate", "time_limit_s", "deadline_s",
    "replan_on_drift",
)  # fmt: skip
BELOW = {
    "server_momentum": (1, "forget rounds long past"),
    "aggregation_trim": (0.5, "leave something to average"),
    "test_fraction": (1, "leave training data"),
}


class RunOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    r"""Options of a run, checked where they are built.

    Parameters
    ----------
    rounds : int
        Rounds to play.
    sample : int
        Devices asked in a round; all if there are fewer.
    seed : int
        Seed of every random choice.
    partition : str
        ``dirichlet``, ``iid`` or ``natural:COLUMN``.
    alpha : float
        Concentration of the Dirichlet partition: the smaller, the less alike the devices.
    learning_rate : float
        Of the first round.
    schedule : {"constant", "inverse-sqrt", "linear", "cosine"}
        The last two fall to 0 where the run ends; `finetune.server.schedule`.
    warmup_rounds : int
        Rounds over which the learning rate rises to its full height.
    clip_norm : float
        Largest norm of a step's gradient; 0 does not clip.
    logit_adjustment : float
        How far devices make up for classes that they hold more of than of others, 1 in full;
        `finetune.local.logit_adjustment`.
    batch_size : int, optional
        Examples a step; the plan's by default.
    compute_dtype : {"float32", "bfloat16"}, optional
        Type that models compute in where they are simulated; the plan's by default. Adapters
        train in float32 either way, and clock and bytes stay those of the plan.
    local_epochs : int, optional
        Passes over a device's examples in a round, in place of the plan's local steps;
        `finetune.local.epochs` says what the clock charges.
    frozen_dropout : bool
        Whether dropout is also on in the layers that a device does not adapt. With a prefix
        cache it never is.
    cache_memory_mb, cache_disk_mb : int
        Most that cached states of all simulated devices take, in megabytes; what does not fit
        is computed anew, to the same bits.
    workers : int
        Devices that are simulated at once, each by a process with one thread
        (`finetune.local.forked`). States cached for the run are then kept for a round only.
    aggregation : str, optional
        Name in `finetune.aggregate`; by default the one that fits the plan's structure.
    clip_update_norm : float
        Largest norm of what a device changes in a round, cut by the server; 0 does not cut.
    aggregation_trim : float
        Share of the largest and of the smallest values that a mean drops, below 0.5.
    server_optimizer : {"fedavg", "fedavgm", "fedadam", "fedyogi"}
        How the server goes along what a round's updates come to; `finetune.server.optimizer`.
    server_learning_rate : float, optional
        Of the server; by default 1, and 0.01 for the adaptive ones.
    server_momentum : float
        Share of the last rounds' direction that it keeps; `fedavg` has none.
    eval_every : int
        Rounds between two evaluations; the last round is always evaluated.
    target_accuracy : float, optional
        Stop once the test accuracy reaches this fraction.
    time_limit_s : float, optional
        Stop once the virtual clock reaches this.
    test_fraction : float
        Share of the data held out for testing, unless test data are given.
    max_test : int, optional
        Most test examples.
    tensorboard : bool
        Write the metrics for TensorBoard as well.
    text_column, label_column : str
        Columns of the data.
    clock : {"virtual", "real"}
        Charge what is predicted, or the wall seconds of each device's turn on this machine.
    deadline_s : float, optional
        Longest round; who needs longer is left out of it.
    replan_every : int, optional
        Rounds between two plans.
    replan_on_drift : float, optional
        Plan anew once devices take another time than planned: mean over the devices of
        \|observed / planned - 1\|.
    """

    rounds: int = 20
    sample: int = 10
    seed: int = 0
    partition: str = "dirichlet"
    alpha: float = 10.0
    learning_rate: float = 2e-3
    schedule: Literal["constant", "inverse-sqrt", "linear", "cosine"] = "constant"
    warmup_rounds: int = 0
    clip_norm: float = 0.0
    logit_adjustment: float = 0.0
    batch_size: int | None = None
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    local_epochs: int | None = None
    frozen_dropout: bool = True
    cache_memory_mb: int = 1024
    cache_disk_mb: int = 4096
    workers: int = 1
    aggregation: str | None = None
    clip_update_norm: float = 0.0
    aggregation_trim: float = 0.0
    server_optimizer: Literal["fedavg", "fedavgm", "fedadam", "fedyogi"] = "fedavg"
    server_learning_rate: float | None = None
    server_momentum: float = 0.9
    eval_every: int = 1
    target_accuracy: float | None = None
    time_limit_s: float | None = None
    test_fraction: float = 0.2
    max_test: int | None = None
    tensorboard: bool = False
    text_column: str = "text"
    label_column: str = "label"
    clock: Literal["virtual", "real"] = "virtual"
    deadline_s: float | None = None
    replan_every: int | None = None
    replan_on_drift: float | None = None

    def __post_init__(self) -> None:
        for name in COUNTS:
            self._check(name, low=1)
        for name in NOT_NEGATIVE:
            self._check(name, low=0)
        self._check("warmup_rounds", low=0, high=self.rounds - 1)
        for name in POSITIVE:
            self._check(name, low=0, open_low=True)
        for name in ("test_fraction", "target_accuracy"):
            self._check(name, low=0, high=1, open_low=True)
        for name, (end, why) in BELOW.items():
            if (value := getattr(self, name)) >= end:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag} is {value}; expected below {end:g}, to {why}")
        if self.partition not in ("dirichlet", "iid") and not self.natural_column:
            raise InputError(
                f"--partition is '{self.partition}'; expected dirichlet, iid or natural:COLUMN"
            )

    @property
    def natural_column(self) -> str:
        """Column that says whose an example is; empty unless the partition is natural."""
        kind, _, column = self.partition.partition(":")
        return column if kind == "natural" else ""

    def as_text(self) -> dict[str, str]:
        """Options by name, for provenance."""
        return {name: str(value) for name, value in structs.asdict(self).items()}

    def fixed(self) -> dict[str, object]:
        """Options that a resumed run may not change, as the rounds played depend on them."""
        free = {"target_accuracy", "eval_every", "tensorboard"}
        free |= {"cache_memory_mb", "cache_disk_mb", "workers"}
        if self.schedule in ("constant", "inverse-sqrt"):
            free |= {"rounds", "time_limit_s"}
        return {k: v for k, v in structs.asdict(self).items() if k not in free}

    def _check(
        self, name: str, low: float, high: float = math.inf, *, open_low: bool = False
    ) -> None:
        value = getattr(self, name)
        if value is None:
            return
        above = value > low if open_low else value >= low
        if not (above and value <= high and math.isfinite(value)):
            floor = f"above {low}" if open_low else f"{low} or more"
            ceiling = f" and at most {high}" if math.isfinite(high) else ""
            flag = FLAGS.get(name, name.replace("_", "-"))
            raise InputError(f"--{flag} is {value}; expected {floor}{ceiling}")
