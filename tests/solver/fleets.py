"""A small fleet and a plan for it, both built by hand."""

from profiler.schema import (
    DepthCost,
    Device,
    DeviceClass,
    Fleet,
    FleetDevice,
    Gain,
    Lora,
    Memory,
    Model,
    Provenance,
    StepTime,
    Target,
    Training,
)
from solver.plan import (
    Budgets,
    Certificate,
    Configuration,
    Plan,
    PlannedDevice,
    PredictedDevice,
    PredictedRound,
    Question,
)

LAYERS = 3
PROVENANCE = Provenance(version="0.1.0", created="2026-01-01", host="test")
MODEL = Model(
    name="tiny",
    config_sha256="0" * 64,
    family="bert",
    layers=LAYERS,
    hidden_size=8,
    parameters=1000,
    head_parameters=18,
    head_modules=["classifier"],
    layers_path="encoder.layer",
    targets=[Target(name="attention.self.query", in_features=8, out_features=8)],
)
TRAINING = Training(batch_size=4, sequence_length=16)
LORA = Lora(parameters_per_rank=[16, 16, 16])
GAIN = Gain(method="by hand", ranks=[2, 4], by_layer=[[0.1, 0.2], [0.2, 0.3], [0.5, 0.6]])


def device_class(name: str, speed: float) -> DeviceClass:
    phase = DepthCost(by_depth=[10.0, 20.0, 30.0, 40.0], per_rank=[1.0, 1.0, 1.0])
    late = DepthCost(by_depth=[5.0, 25.0, 28.0, 33.0], per_rank=[3.0, 3.0, 3.0])
    return DeviceClass(
        name=name,
        device=Device(name=name, power_w=10.0, radio_j_per_byte=1e-3),
        time=StepTime(
            embedding_s=0.1 / speed,
            forward_s=[0.2 / speed] * LAYERS,
            head_s=0.05 / speed,
            backward_s=[0.4 / speed] * LAYERS,
            lora_s_per_rank=[0.01 / speed] * LAYERS,
            error_fraction=0.02,
        ),
        memory=Memory(
            weights_bytes=1000.0,
            framework_bytes=500.0,
            activation_bytes=[10.0] * LAYERS,
            forward_bytes=phase,
            backward_bytes=late,
            optimizer_bytes=phase,
        ),
    )


def planned_fleet() -> Fleet:
    def device(
        name: str, owner: str, count: int, examples: int, storage_bytes: int = 0
    ) -> FleetDevice:
        return FleetDevice(
            name=name,
            device_class=owner,
            count=count,
            uplink_bytes_per_s=1000.0,
            downlink_bytes_per_s=2000.0,
            latency_s=0.25,
            examples=examples,
            local_steps=5,
            memory_bytes=1700,
            storage_bytes=storage_bytes,
        )

    return Fleet(
        provenance=PROVENANCE,
        model=MODEL,
        training=TRAINING,
        lora=LORA,
        gain=GAIN,
        classes=[device_class("slow", 1.0), device_class("fast", 4.0)],
        devices=[
            device("a", "slow", 2, 30),
            device("b", "fast", 1, 60, 40_000),
            device("c", "fast", 3, 10),
        ],
    )


def slow_device() -> PlannedDevice:
    """One step: 0.75 forward, embedding and head, 0.4 + 4 * 0.01 for the last layer."""
    return PlannedDevice(
        name="a",
        device_class="slow",
        count=2,
        configuration=0,
        examples=30,
        local_steps=5,
        predicted=PredictedDevice(
            time_s=6.692,
            compute_s=5.95,
            upload_s=0.328,
            download_s=0.164,
            wait_s=0.0,
            memory_bytes=1537.0,
            upload_bytes=328.0,
            download_bytes=328.0,
            energy_j=60.156,
        ),
    )


def fast_device() -> PlannedDevice:
    """One step: (0.75 + 3 * 0.4 + 9 * 0.01 - 0.1) / 4 seconds.

    Its cache spares the embedding, 0.1 / 4, of which 60 / 4 fill it with 60 outputs of 16
    tokens, 8 wide, in 4 bytes.
    """
    return PlannedDevice(
        name="b",
        device_class="fast",
        count=1,
        configuration=1,
        examples=60,
        local_steps=5,
        cache="always",
        predicted=PredictedDevice(
            time_s=3.647,
            compute_s=2.425,
            upload_s=0.648,
            download_s=0.324,
            wait_s=3.045,
            memory_bytes=1560.0,
            upload_bytes=648.0,
            download_bytes=648.0,
            energy_j=25.546,
            storage_bytes=30_720.0,
            cache_build_s=0.375,
        ),
    )


def absent_device() -> PlannedDevice:
    return PlannedDevice(
        name="c",
        device_class="fast",
        count=3,
        configuration=None,
        examples=10,
        local_steps=5,
        predicted=None,
    )


def hand_plan() -> Plan:
    """Slow devices adapt one layer, a fast one three, the others stay out."""
    return Plan(
        provenance=PROVENANCE,
        model=MODEL,
        training=TRAINING,
        lora=LORA,
        question=Question(
            policy="exact",
            leave_out="unable",
            rank_choices=[2, 3, 4],
            cache="auto",
            budgets=Budgets(
                round_time_s=8.0,
                mean_wait_s=2.0,
                upload_bytes=1000.0,
                download_bytes=1000.0,
                energy_j=100.0,
                rank_budget=9,
            ),
        ),
        ranks=[2, 3, 4],
        configurations=[
            Configuration(depth=1, ranks=[0, 0, 4]),
            Configuration(depth=3, ranks=[2, 3, 4]),
        ],
        devices=[slow_device(), fast_device(), absent_device()],
        predicted=PredictedRound(
            utility=0.62,
            round_time_s=6.692,
            mean_wait_s=3.045 / 3,
            upload_bytes=1304.0,
            download_bytes=1304.0,
            energy_j=145.858,
            time_error_fraction=0.02,
        ),
        certificate=Certificate(
            status="gap_reached",
            method="by hand",
            value=0.62,
            bound=0.775,
            gap_fraction=0.2,
        ),
    )
