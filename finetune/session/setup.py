"""Everything a run needs, built from a plan, a model folder and data."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from finetune.aggregate import Aggregation, Settings, aggregation_for
from finetune.clock import clock_for
from finetune.clock.protocol import Caches
from finetune.data.dataset import Dataset, load_dataset, load_test
from finetune.data.partition import shares
from finetune.data.tokens import Tokenised, load_tokeniser
from finetune.devices import Participant, devices_of, participants
from finetune.exchange.codec import Wire
from finetune.exchange.messages import Engine
from finetune.local.epochs import by_epochs
from finetune.local.forked import ForkedEngine, check_forks
from finetune.local.in_process import InProcessEngine
from finetune.local.logit_adjustment import check_adjustable
from finetune.local.train import LocalSettings
from finetune.model.base import Base, load_base
from finetune.model.base_delta import BaseDelta
from finetune.model.evaluate import Evaluator, Score
from finetune.model.prefix_store import PrefixStore
from finetune.model.replica import Replica
from finetune.model.state import State, deltas_of, lora_modules
from finetune.options import RunOptions
from finetune.server.optimizer import optimizer_for
from finetune.server.round import Server
from finetune.session.checks import check_bytes, check_codec, check_ranks
from profiler.labelled import data_files
from profiler.schema import Fleet, Trace, read_fleet, read_trace
from solver.plan import Plan

__all__ = ["Federation", "Loaded", "Remote", "Sources", "set_up"]


class Sources(NamedTuple):
    """Where model and data come from; without `test` the test examples are held out.

    A fleet says what a round costs the devices, and a trace how they change.
    """

    model: Path
    data: Path
    test: Path | None = None
    fleet: Path | None = None
    trace: Path | None = None

    @property
    def data_files(self) -> list[Path]:
        """Files that hold the data, then those of the test data."""
        return [file for path in (self.data, self.test) if path for file in data_files(path)]


class Remote(NamedTuple):
    """Devices on other machines, or in other processes, in place of simulated ones.

    Parameters
    ----------
    connect : callable
        Makes the engine from the names of the classes.
    test_only : bool
        Whether the server's data are its test examples, the devices having their own.
    """

    connect: Callable[[list[str]], Engine]
    test_only: bool


class Loaded(NamedTuple):
    """What stays when the plan changes; `train` is None where the devices are elsewhere."""

    dataset: Dataset
    train: Tokenised | None
    test: Tokenised
    held: list[npt.NDArray[np.int64]]
    base: Base
    delta: BaseDelta
    fleet: Fleet | None
    trace: Trace | None
    store: PrefixStore


class Federation(NamedTuple):
    """A server with its devices, ready to play rounds."""

    server: Server
    start: State
    base: Base
    dataset: Dataset
    devices: list[Participant]
    aggregation: str
    evaluate: Callable[[State], Score]
    loaded: Loaded


def set_up(
    plan: Plan,
    sources: Sources,
    options: RunOptions,
    on_answer: Callable[[], None],
    loaded: Loaded | None = None,
    *,
    caches: Caches | None = None,
    scratch: Path | None = None,
    remote: Remote | None = None,
) -> Federation:
    """Load and check everything; raises `InputError` with the first thing that does not fit.

    Parameters
    ----------
    plan, sources, options
        What to run.
    on_answer : callable
        Called after every answer.
    loaded : Loaded, optional
        Of a federation under another plan of the same devices.
    caches : Caches, optional
        Caches that devices have filled already.
    scratch : Path, optional
        Folder for cached states that do not fit into memory.
    remote : Remote, optional
        Devices elsewhere; without it they are simulated in this process.
    """
    choices = Settings(options.seed, options.aggregation_trim)
    name, aggregation = aggregation_for(plan, options.aggregation, choices)
    optimizer = optimizer_for(options, name, aggregation)
    check_adjustable(plan.training, options)
    if options.workers > 1:
        check_forks()
    wire = Wire.of(plan)
    check_codec(name, aggregation, wire)
    devices = participants(plan)
    check_ranks(plan)
    loaded = loaded or _load(plan, sources, options, scratch, remote)
    if options.local_epochs:
        batch_size = options.batch_size or plan.training.batch_size
        devices = by_epochs(devices, loaded.held, batch_size, options.local_epochs)
    clock = clock_for(plan, loaded.fleet, loaded.trace, options, caches)
    replicas = _replicas(plan, loaded, options, devices)
    shapes = {index: replica.shapes for index, replica in replicas.items()}
    check_bytes(plan, devices, shapes, wire.dtype)
    for replica in replicas.values():
        replica.freeze_except(aggregation.trains)
    whole = Replica(loaded.base, plan, plan.ranks, options.seed)
    engine = (
        remote.connect(loaded.dataset.label_names)
        if remote
        else _in_process(plan, options, loaded, replicas, aggregation)
    )
    server = Server(
        engine=engine,
        aggregation=aggregation,
        candidates=devices,
        shapes=shapes,
        wire=wire,
        options=options,
        clock=clock,
        on_answer=on_answer,
        examples={device.name: len(loaded.held[device.position]) for device in devices},
        optimizer=optimizer,
    )
    return Federation(
        server=server,
        start=whole.state(),
        base=loaded.base,
        dataset=loaded.dataset,
        devices=devices,
        aggregation=name,
        evaluate=_evaluation(whole, loaded),
        loaded=loaded,
    )


def _load(
    plan: Plan,
    sources: Sources,
    options: RunOptions,
    scratch: Path | None,
    remote: Remote | None,
) -> Loaded:
    """Read fleet, data and model; raises `InputError`."""
    fleet = read_fleet(sources.fleet) if sources.fleet else None
    trace = read_trace(sources.trace) if sources.trace else None
    clock_for(plan, fleet, trace, options)  # so that what does not fit fails at once
    if remote and remote.test_only:
        dataset = load_test(sources.data, sources.test, plan.training, options)
        # The plan says how much the devices hold; what it is, they alone know.
        held = [np.arange(examples) for _, examples in devices_of(plan)]
    else:
        dataset = load_dataset(sources.data, sources.test, plan.training, options)
        held = shares(plan, dataset, options)
    tokenise = load_tokeniser(sources.model, plan.training)
    base = load_base(plan, sources.model, options.seed, tokenise.pad_id, options.compute_dtype)
    return Loaded(
        dataset=dataset,
        train=None if remote else tokenise(dataset.train),
        test=tokenise(dataset.test),
        held=held,
        base=base,
        delta=BaseDelta(base, plan.lora.scaling),
        fleet=fleet,
        trace=trace,
        store=_store(options, scratch),
    )


def _replicas(
    plan: Plan, loaded: Loaded, options: RunOptions, devices: list[Participant]
) -> dict[int, Replica]:
    """Model of each configuration in use."""
    return {
        index: Replica(loaded.base, plan, plan.configurations[index].ranks, options.seed)
        for index in sorted({device.configuration for device in devices})
    }


def _evaluation(whole: Replica, loaded: Loaded) -> Callable[[State], Score]:
    """Score the server's states on the test examples, by a model of the server's ranks."""
    score = Evaluator(loaded.test)

    def evaluate(state: State) -> Score:
        loaded.delta.apply(deltas_of(state, lora_modules(whole.shapes)))
        whole.load(state)
        return score(whole)

    return evaluate


def _store(options: RunOptions, scratch: Path | None) -> PrefixStore:
    megabyte = 10**6
    if options.workers > 1:
        # Each forked process has its own, for a round, and none may write another's files.
        return PrefixStore(options.cache_memory_mb * megabyte // options.workers)
    return PrefixStore(
        options.cache_memory_mb * megabyte, options.cache_disk_mb * megabyte, scratch
    )


def _in_process(
    plan: Plan,
    options: RunOptions,
    loaded: Loaded,
    replicas: dict[int, Replica],
    aggregation: Aggregation,
) -> Engine:
    assert loaded.train is not None
    engine = InProcessEngine(
        replicas=replicas,
        data=loaded.train,
        held=loaded.held,
        settings=LocalSettings.of(plan.training, options),
        batch_size=options.batch_size or plan.training.batch_size,
        wire=Wire.of(plan),
        seed=options.seed,
        delta=loaded.delta,
        store=loaded.store,
        carry_over=aggregation.keeps_coordinates,
    )
    return ForkedEngine(engine, options.workers) if options.workers > 1 else engine
