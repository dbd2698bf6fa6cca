"""Random fleets to try heuristics on, small enough to search exhaustively or as large as asked.

Their costs are of no device and their gains of no model: they are there to be unlike each
other. `legend fleet paper-80 --seed S` draws fleets of real boards.
"""

from dataclasses import dataclass

import numpy as np

from profiler.schema import (
    VERSION,
    DepthCost,
    Device,
    DeviceClass,
    Fleet,
    FleetDevice,
    Gain,
    InputError,
    Lora,
    Memory,
    Model,
    Origin,
    Provenance,
    StepTime,
    Target,
    Training,
)

__all__ = ["random_fleet"]

ORIGINS = {"fleet": Origin(kind="derived", source="drawn at random: costs of no device")}


def random_fleet(
    seed: int,
    *,
    layers: int = 3,
    classes: int = 2,
    devices: int = 4,
    max_rank: int = 4,
    slope_noise: float = 0.0,
    sizes: tuple[int, ...] = (),
    concave: bool = True,
    limited: float = 0.0,
) -> Fleet:
    """Draw a fleet; the same arguments give the same fleet, byte for byte.

    Parameters
    ----------
    seed : int
    layers, classes, devices : int
        How many there are; devices are rows, which stand for one to three alike.
    max_rank : int
        Ranks that gains are listed for, from 1.
    slope_noise : float
        Relative noise on every cost of a rank. At 0 they are in proportion to the layers'
        sizes, and the dynamic program is exact.
    sizes : tuple of int
        LoRA parameters that a rank adds, by layer from the input; alike by default.
    concave : bool
        Whether a layer gains less by every further rank.
    limited : float
        Share of the devices that have limits of their own on upload, download, energy or time,
        and of the classes that have some, between what the least configuration needs and what
        the largest does. Everything else of a seed's fleet stays what it is without.

    Raises
    ------
    InputError
        If the seed is negative, there is nothing of what there must be, or a share is none.
    """
    least = {"layers": layers, "classes": classes, "devices": devices, "max_rank": max_rank}
    for name, value in least.items():
        if value < 1:
            raise InputError(f"{name} is {value}; expected 1 or more")
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    if not 0 <= limited <= 1:
        raise InputError(f"limited is {limited}; expected a share of the devices, 0 to 1")
    draw = _Draw(
        rng=np.random.default_rng(seed),
        seed=seed,
        parameters=list(sizes) or [64] * layers,
        slope_noise=slope_noise,
    )
    gain = draw.gain(max_rank, concave=concave)
    made = Fleet(
        provenance=Provenance(
            version=VERSION, created="2026-01-01", host="none", seed=seed, origins=ORIGINS
        ),
        model=_model(layers),
        training=Training(batch_size=4, sequence_length=8),
        lora=Lora(parameters_per_rank=draw.parameters),
        gain=gain,
        classes=[draw.device_class(i) for i in range(classes)],
        devices=[draw.device(i, classes) for i in range(devices)],
    )
    if limited == 0:
        return made
    # Here, not above: these need costs.
    from solver.limited_instances import with_limits

    return with_limits(made, seed, limited)


def _model(layers: int) -> Model:
    return Model(
        name="tiny",
        config_sha256="0" * 64,
        family="bert",
        layers=layers,
        hidden_size=8,
        parameters=1000,
        head_parameters=18,
        head_modules=["classifier"],
        layers_path="encoder.layer",
        targets=[Target(name="attention.self.query", in_features=8, out_features=8)],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """What all parts of a fleet are drawn with, one after another.

    Parameters
    ----------
    rng : Generator
    seed : int
    parameters : list of int, shape (L,)
        LoRA parameters that a rank adds, by layer from the input.
    slope_noise : float
        Relative noise on every cost of a rank.
    """

    rng: np.random.Generator
    seed: int
    parameters: list[int]
    slope_noise: float

    def gain(self, max_rank: int, *, concave: bool) -> Gain:
        table = np.sort(self.rng.uniform(0.1, 1, (len(self.parameters), max_rank)))
        rising = np.cumsum(table[:, ::-1], axis=1) if concave else table
        ranks = list(range(1, max_rank + 1))
        return Gain(method="random", ranks=ranks, by_layer=rising.tolist())

    def device_class(self, index: int) -> DeviceClass:
        rng, layers = self.rng, len(self.parameters)
        speed = rng.uniform(1, 6)
        grow = rng.uniform(1e6, 4e6)
        return DeviceClass(
            name=f"class-{index}",
            device=Device(
                name=f"board-{index}",
                power_w=float(rng.uniform(5, 20)),
                radio_j_per_byte=0.01 * (index + 1),
            ),
            time=StepTime(
                embedding_s=0.01 * speed,
                forward_s=[0.1 * speed] * layers,
                head_s=0.02 * speed,
                backward_s=(speed * rng.uniform(0.1, 0.3, layers)).tolist(),
                lora_s_per_rank=self._per_rank(0.02 * speed),
                error_fraction=0.1,
            ),
            memory=Memory(
                weights_bytes=1e7,
                framework_bytes=1e6,
                activation_bytes=[grow] * layers,
                forward_bytes=self._phase(grow, 0.8),
                backward_bytes=self._phase(grow, 1.0),
                optimizer_bytes=self._phase(grow, 0.5),
            ),
        )

    def device(self, index: int, classes: int) -> FleetDevice:
        rng = self.rng
        return FleetDevice(
            name=f"d{index}",
            device_class=f"class-{index % classes}",
            count=int(rng.integers(1, 4)),
            uplink_bytes_per_s=float(rng.uniform(500, 4000)),
            downlink_bytes_per_s=float(rng.uniform(2000, 9000)),
            latency_s=float(rng.uniform(0, 0.2)),
            examples=int(rng.integers(10, 100)),
            local_steps=int(rng.integers(1, 4)),
            memory_bytes=int(rng.uniform(1.4e7, 3e7)),
            storage_bytes=self._storage(index),
        )

    def _storage(self, index: int) -> int:
        """None, some or enough; drawn apart, so that the rest of a seed's fleet stays."""
        own = np.random.default_rng([self.seed, index])
        return int(own.choice([0.0, own.uniform(1e3, 3e4), 1e6]))

    def _phase(self, grow: float, share: float) -> DepthCost:
        return DepthCost(
            by_depth=[grow * share * k for k in range(len(self.parameters) + 1)],
            per_rank=self._per_rank(1e5 * share),
        )

    def _per_rank(self, scale: float) -> list[float]:
        noise = 1 + self.slope_noise * self.rng.uniform(-1, 1, len(self.parameters))
        return [float(v) for v in scale * np.array(self.parameters) / 64 * noise]
