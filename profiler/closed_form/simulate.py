"""A whole training step on a symbolic tape: embeddings, layers, head, loss, optimizer.

Gives the peak of each phase and the work of each part for one depth and rank, without
torch. `footprint` and `roofline` beside this file turn a few such steps into a profile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.closed_form import operations as op
from profiler.closed_form.architectures import Architecture, Linear
from profiler.closed_form.blocks import Block
from profiler.closed_form.linear import linear
from profiler.closed_form.loss import record_loss
from profiler.closed_form.norms import layer_norm, norm
from profiler.closed_form.tape import FP32_BYTES, Cost, Storage, Tape, Tensor
from profiler.closed_form.trained import INDEX_BYTES, Trained
from profiler.schema import Training

__all__ = ["ITEM_BYTES", "Setting", "SimulatedStep", "simulate_step"]

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is trained, how, and on which kind of processor."""

    architecture: Architecture
    training: Training
    adapted: tuple[str, ...]
    fused: bool

    @property
    def itemsize(self) -> int:
        """Bytes of a number in the compute type."""
        return ITEM_BYTES[self.training.dtype]

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.training.batch_size * self.training.sequence_length


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """Work and memory of one step.

    Attributes
    ----------
    embedding, head, backward, optimizer : tuple of Cost
        Kernels of these parts.
    layers : tuple of tuple of Cost
        Forward kernels by layer, input first.
    saved_bytes : int
        Activations alive between forward and backward pass.
    forward_bytes, backward_bytes, optimizer_bytes : int
        Peak of each phase, without the frozen weights.
    """

    embedding: tuple[Cost, ...]
    layers: tuple[tuple[Cost, ...], ...]
    head: tuple[Cost, ...]
    backward: tuple[Cost, ...]
    optimizer: tuple[Cost, ...]
    saved_bytes: int
    forward_bytes: int
    backward_bytes: int
    optimizer_bytes: int


def simulate_step(setting: Setting, ranks: Sequence[int]) -> SimulatedStep:
    """Record one training step.

    Parameters
    ----------
    setting : Setting
        Model, training and processor.
    ranks : sequence of int
        Rank by simulated layer, input first. There may be fewer layers than the model has:
        bare layers all cost the same.
    """
    tape = Tape(itemsize=setting.itemsize, fused=setting.fused)
    trained = Trained(setting, ranks)
    held = [Storage(tape, trained.resident_bytes)]
    recorder = _Recorder(setting, tape)
    loss = recorder.forward(ranks)
    forward_peak, saved = tape.peak_bytes, tape.live_bytes - trained.resident_bytes
    tape.peak_bytes = tape.live_bytes
    tape.run_backward(loss)
    backward_peak = tape.peak_bytes
    del loss
    temporaries = trained.temporary_bytes(setting.fused)
    optimizer_peak = tape.live_bytes + temporaries
    del held
    return SimulatedStep(
        embedding=tuple(recorder.embedding),
        layers=tuple(tuple(part) for part in recorder.layers),
        head=tuple(recorder.head),
        backward=tuple(tape.backward),
        optimizer=trained.optimizer_work(),
        saved_bytes=saved,
        forward_bytes=forward_peak,
        backward_bytes=backward_peak,
        optimizer_bytes=optimizer_peak,
    )


class _Recorder:
    """Forward pass of a model on a tape, its work sorted by part."""

    def __init__(self, setting: Setting, tape: Tape) -> None:
        self.setting = setting
        self.tape = tape
        self.embedding: list[Cost] = []
        self.layers: list[list[Cost]] = []
        self.head: list[Cost] = []
        self.block = Block(
            tape=tape,
            architecture=setting.architecture,
            training=setting.training,
            adapted=frozenset(setting.adapted),
        )

    def forward(self, ranks: Sequence[int]) -> Tensor:
        """Run the model; returns the loss."""
        states = self._base(ranks)
        setting = self.setting
        loss = record_loss(self.tape, setting.architecture, setting.training, states)
        self.head = self._take()
        return loss

    def _take(self) -> list[Cost]:
        done, self.tape.forward = self.tape.forward, []
        return done

    def _base(self, ranks: Sequence[int]) -> Tensor:
        states, *held = self._embed()
        shared = self._shared()
        self.embedding = self._take()
        first = self.setting.architecture.layers - len(ranks)
        kinds = self.setting.architecture.style.kinds
        for index, rank in enumerate(ranks, start=first):
            own = shared[kinds[index] if kinds else ""]
            states = self._layer(states, rank, own, index)
            self.layers.append(self._take())
            if self.setting.architecture.family == "deberta-v2":
                held.append(states)  # its encoder returns the outputs of all layers
        return self._final_norm(states)

    def _layer(self, x: Tensor, rank: int, shared: dict[str, Tensor], index: int) -> Tensor:
        def run(inner: Tensor) -> Tensor:
            return self.block.forward(inner, rank, shared, index)

        checkpointed = self.setting.training.gradient_checkpointing
        return self.tape.checkpoint(run, x) if checkpointed else run(x)

    def _final_norm(self, x: Tensor) -> Tensor:
        architecture = self.setting.architecture
        if not (architecture.decoder or architecture.attention == "rotary"):
            return x
        return norm(self.tape, x, architecture.hidden_size, architecture.style.norm)

    def _embed(self) -> list[Tensor]:
        """Embeddings; behind them what a model holds of their making while its layers run."""
        architecture, tape = self.setting.architecture, self.tape
        width = architecture.embedding_size or architecture.hidden_size
        words = tape.source(self.setting.tokens * width)
        tape.forward.append(Cost(0.0, 2.0 * words.nbytes))
        return self._decoder_input(words) if architecture.decoder else self._input(words, width)

    def _decoder_input(self, words: Tensor) -> list[Tensor]:
        architecture, training, tape = self.block.architecture, self.setting.training, self.tape
        style = architecture.style
        words = op.scaled(tape, words) if style.scaled_embeddings else words
        dropped = training.dropout and architecture.hidden_dropout and style.dropped_embeddings
        if architecture.attention == "rotary":
            return [op.dropout(tape, words, dropped), words]
        positions = tape.source(self._places() * architecture.hidden_size)
        return [op.dropout(tape, op.add(tape, words, words), dropped), words, positions]

    def _places(self) -> int:
        """Positions that are looked up."""
        by_token = self.setting.architecture.positions_by_token
        return self.setting.tokens if by_token else self.setting.training.sequence_length

    def _input(self, words: Tensor, width: int) -> list[Tensor]:
        architecture, tape = self.block.architecture, self.tape
        if architecture.attention != "rotary":
            words = op.add(tape, words, words)
        normed = layer_norm(tape, words, width)
        del words
        embedded = op.dropout(tape, normed, self.block.hidden_dropout)
        if width != architecture.hidden_size:
            hidden = architecture.hidden_size
            into = Linear(name="embeddings_project", in_features=width, out_features=hidden)
            embedded = linear(tape, embedded, into)
        return [embedded, embedded]

    def _shared(self) -> dict[str, dict[str, Tensor]]:
        """Masks and tables that all layers use, by kind of layer."""
        style = self.setting.architecture.style
        tables = {} if style.own_tables else self._tables()
        numbers = self.tape.source(self._numbers(), INDEX_BYTES)
        return {
            kind: {"numbers": numbers, "mask": self._mask(), **(tables or self._tables())}
            for kind in dict.fromkeys(style.kinds or ("",))
        }

    def _numbers(self) -> int:
        """Numbers of positions; encoders with a table of these keep them as weights."""
        architecture = self.setting.architecture
        made = architecture.decoder or architecture.attention == "rotary"
        return self._places() if made else 0

    def _mask(self) -> Tensor:
        training = self.setting.training
        cells = training.batch_size * training.sequence_length**2
        return self.tape.source(cells, self._mask_itemsize())

    def _tables(self) -> dict[str, Tensor]:
        """What tells positions."""
        architecture, training = self.setting.architecture, self.setting.training
        length, source = training.sequence_length, self.tape.source
        if architecture.attention == "rotary":
            style = architecture.style
            table = length * (style.rotated or architecture.head_size)
            width = FP32_BYTES if style.wide_tables else self.tape.itemsize
            return {"cosine": source(table, width), "sine": source(table, width)}
        if architecture.attention == "disentangled":
            positions = architecture.relative_positions * architecture.hidden_size
            distances = source(length * length, INDEX_BYTES)
            return {"distances": distances, "positions": source(positions)}
        if architecture.attention == "position-bias":
            cells = training.batch_size * length * length
            return {"bias": source(cells * architecture.heads)}
        return {}

    def _mask_itemsize(self) -> int:
        """Boolean for sdpa; numbers to add for eager; integers in DeBERTa."""
        if self.setting.architecture.family == "deberta-v2":
            return INDEX_BYTES
        return 1 if self.setting.training.attention == "sdpa" else self.tape.itemsize
