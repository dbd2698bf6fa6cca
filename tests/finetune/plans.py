"""Plans that are shown or exported, not run: any model, any number of devices."""

from profiler.schema import Provenance, Target, Training
from solver.plan import (
    Budgets,
    Certificate,
    Configuration,
    Lora,
    Model,
    Plan,
    PlannedDevice,
    PredictedDevice,
    PredictedRound,
    Question,
)

CLASSES = ("jetson-tx2", "xavier-nx", "agx-xavier")
ROUND_S = 30.0


def make_model(
    family: str = "bert",
    layers: int = 12,
    layers_path: str = "encoder.layer",
    targets: tuple[tuple[str, int, int], ...] = (("attention.self.query", 8, 8),),
    head_modules: tuple[str, ...] = ("classifier",),
    name: str = "tiny",
) -> Model:
    return Model(
        name=name,
        config_sha256="0" * 64,
        family=family,
        layers=layers,
        hidden_size=8,
        parameters=1000,
        head_parameters=18,
        head_modules=list(head_modules),
        layers_path=layers_path,
        targets=[Target(name=n, in_features=i, out_features=o) for n, i, o in targets],
    )


def rising(layers: int, depth: int) -> Configuration:
    """Ranks 2, 3, 4 ... towards the output."""
    return Configuration(
        depth=depth, ranks=[2 + i if i >= layers - depth else 0 for i in range(layers)]
    )


def predicted(time_s: float) -> PredictedDevice:
    return PredictedDevice(
        time_s=time_s,
        compute_s=0.7 * time_s,
        upload_s=0.2 * time_s,
        download_s=0.1 * time_s,
        wait_s=ROUND_S - time_s,
        memory_bytes=1.5e9,
        upload_bytes=2e6,
        download_bytes=2e6,
        energy_j=100.0,
    )


def plan_to_show(
    model: Model | None = None,
    depths: tuple[int, ...] = (3, 6, 12),
    devices: int = 9,
    task: str = "classification",
) -> Plan:
    """Devices in turn of three classes, deeper the quicker; the last does not take part."""
    model = model or make_model()
    shapes = [rising(model.layers, min(d, model.layers)) for d in depths]
    planned = [
        PlannedDevice(
            name=f"{CLASSES[i % 3]}-{i:02}",
            device_class=CLASSES[i % 3],
            configuration=None if i == devices - 1 else i % len(shapes),
            examples=10 + i,
            local_steps=5,
            predicted=None if i == devices - 1 else predicted(ROUND_S - i % 7),
            binding=("round time", "memory", "all layers")[i % 3],
        )
        for i in range(devices)
    ]
    return Plan(
        provenance=Provenance(version="0.1.0", created="2026-01-01", host="test", seed=7),
        model=model,
        training=Training(
            batch_size=4,
            sequence_length=16,
            task="causal-lm" if task == "causal-lm" else "classification",
        ),
        lora=Lora(parameters_per_rank=[16] * model.layers),
        question=Question(
            policy="exact",
            rank_choices=list(range(1, 17)),
            budgets=Budgets(round_time_s=31.0, mean_wait_s=8.0),
        ),
        ranks=rising(model.layers, model.layers).ranks,
        configurations=shapes,
        devices=planned,
        predicted=PredictedRound(
            utility=0.62,
            round_time_s=ROUND_S,
            mean_wait_s=3.0,
            upload_bytes=2e6 * (devices - 1),
            download_bytes=2e6 * (devices - 1),
            energy_j=100.0 * (devices - 1),
        ),
        certificate=Certificate(
            status="optimal", method="dynamic program", value=0.62, bound=0.62, gap_fraction=0.0
        ),
    )
