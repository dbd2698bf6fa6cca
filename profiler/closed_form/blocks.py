"""Transformer layers of the Hugging Face families, written on a symbolic tape.

Nested as the originals are, because what a caller still refers to stays alive while the
callee runs. Shapes: B examples, S tokens, T = B * S, H hidden size, h heads, d head size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from profiler.closed_form import operations as op
from profiler.closed_form.architectures import Architecture
from profiler.closed_form.decoder_layer import decoder_layer
from profiler.closed_form.disentangled import disentangled_attention
from profiler.closed_form.linear import linear
from profiler.closed_form.norms import layer_norm
from profiler.closed_form.tape import FP32_BYTES, Tape, Tensor
from profiler.schema import Training

__all__ = ["Block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One layer of a model in training.

    Attributes
    ----------
    tape : Tape
        Where the layer is recorded.
    architecture : Architecture
        The model.
    training : Training
        The step.
    adapted : frozenset of str
        Names of the modules that carry LoRA.
    """

    tape: Tape
    architecture: Architecture
    training: Training
    adapted: frozenset[str]
    returned: list[Tensor] = field(default_factory=list, repr=False)

    @property
    def tokens(self) -> int:
        """Tokens of a batch, T."""
        return self.training.batch_size * self.training.sequence_length

    @property
    def width(self) -> int:
        """Hidden size, H."""
        return self.architecture.hidden_size

    @property
    def output_index(self) -> int:
        """Place of the linear module that ends attention."""
        return 1 if self.architecture.joint_projection else 3

    @property
    def scores(self) -> int:
        """Attention scores of a layer, B * h * S * S."""
        return self.tokens * self.training.sequence_length * self.architecture.heads

    @property
    def hidden_dropout(self) -> bool:
        """Whether dropout after linear modules is active."""
        return self.training.dropout and self.architecture.hidden_dropout

    @property
    def attention_dropout(self) -> bool:
        """Whether dropout on attention weights is active."""
        return self.training.dropout and self.architecture.attention_dropout

    def forward(self, x: Tensor, rank: int, shared: Mapping[str, Tensor], index: int) -> Tensor:
        """Record the layer.

        Parameters
        ----------
        x : Tensor, shape (B, S, H)
            Hidden states.
        rank : int
            LoRA rank of the adapted modules; 0 for a bare layer.
        shared : mapping of str to Tensor
            What all layers use: mask, rotary tables, position bias.
        index : int
            Place of the layer, 0 at the input.
        """
        try:
            if self.architecture.family == "gpt2":
                return self._gpt2(x, rank, shared)
            if self.architecture.decoder or self.architecture.attention == "rotary":
                return decoder_layer(self, x, rank, shared, index)
            return self._encoder(x, rank, shared)
        finally:
            self.returned.clear()

    def _keep_weights(self, weights: Tensor) -> None:
        """Attention weights are returned to the layer, which holds them until it ends."""
        self.returned.append(weights)

    def linear(self, x: Tensor, index: int, rank: int, *, tied: bool = False) -> Tensor:
        """Apply linear module number `index` of the layer."""
        module = self.architecture.linears[index]
        own_rank = rank if module.name in self.adapted else 0
        quantised = self.training.base_dtype != "same"
        return linear(self.tape, x, module, own_rank, tied=tied, quantised=quantised)

    # Post-norm encoders: BERT, RoBERTa, DistilBERT, MPNet, DeBERTa.

    def _encoder(self, x: Tensor, rank: int, shared: Mapping[str, Tensor]) -> Tensor:
        attended = self._encoder_attention(x, rank, shared)
        return self._encoder_mlp(attended, rank)

    def _encoder_attention(self, x: Tensor, rank: int, shared: Mapping[str, Tensor]) -> Tensor:
        context = self._encoder_context(x, rank, shared)
        attended = self.linear(context, 3, rank)
        if self.architecture.family == "distilbert":
            del context
            return self._norm_sum(attended, x)
        attended = self.dropped(attended)
        return self._norm_sum(attended, x)

    def _encoder_context(self, x: Tensor, rank: int, shared: Mapping[str, Tensor]) -> Tensor:
        if self.architecture.attention == "disentangled":
            return disentangled_attention(self, x, rank, shared)
        query, key, value = (self.linear(x, i, rank) for i in range(3))
        return self.attend(query, key, value, shared)

    def _encoder_mlp(self, x: Tensor, rank: int) -> Tensor:
        if self.architecture.family == "distilbert":
            return self._norm_sum(self._feed_forward(x, rank), x)
        inner = self._intermediate(x, rank)
        out = self.dropped(self.linear(inner, 5, rank))
        return self._norm_sum(out, x)

    def _feed_forward(self, x: Tensor, rank: int) -> Tensor:
        x = self._intermediate(x, rank)
        x = self.linear(x, 5, rank)
        return self.dropped(x)

    def _norm_sum(self, x: Tensor, residual: Tensor) -> Tensor:
        total = op.add(self.tape, x, residual)
        return layer_norm(self.tape, total, self.architecture.hidden_size)

    def _intermediate(self, x: Tensor, rank: int) -> Tensor:
        return op.activate(self.tape, self.linear(x, 4, rank), self.architecture.activation)

    # GPT-2.

    def _gpt2(self, x: Tensor, rank: int, shared: Mapping[str, Tensor]) -> Tensor:
        width = self.architecture.hidden_size
        normed = layer_norm(self.tape, x, width)
        attended = self._gpt2_attention(normed, rank, shared)
        x = op.add(self.tape, attended, x)
        normed = layer_norm(self.tape, x, width)
        return op.add(self.tape, x, self._gpt2_mlp(normed, rank))

    def _gpt2_attention(self, x: Tensor, rank: int, shared: Mapping[str, Tensor]) -> Tensor:
        context = self._gpt2_context(x, rank, shared)
        return self.dropped(self.linear(context, 1, rank))

    def _gpt2_mlp(self, x: Tensor, rank: int) -> Tensor:
        x = self.linear(x, 2, rank)
        x = op.activate(self.tape, x, self.architecture.activation)
        x = self.linear(x, 3, rank)
        return self.dropped(x)

    def dropped(self, x: Tensor) -> Tensor:
        """Dropout behind a linear module."""
        return op.dropout(self.tape, x, self.hidden_dropout)

    def _gpt2_context(self, x: Tensor, rank: int, shared: Mapping[str, Tensor]) -> Tensor:
        query, key, value = self.tape.split(self.linear(x, 0, rank), 3)
        return self.attend(query, key, value, shared)

    # Attention, from query, key and value of shapes (B, h, S, d), (B, g, S, d) twice.

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, shared: Mapping[str, Tensor]
    ) -> Tensor:
        """Attention by the kernels that transformers takes."""
        if self.architecture.heads != self.architecture.key_value_heads:
            key, value = self._repeat(key), self._repeat(value)
        if self.fused_attention:
            mask = op.elementwise(self.tape, (shared["mask"],), itemsize=self.tape.itemsize)
            context = self.tokens * self.architecture.heads * self.architecture.head_size
            attended = op.fused_attention(
                self.tape,
                (query, key, value),
                mask,
                scores=self.scores,
                head_size=self.architecture.head_size,
                elements=context,
            )
            # The output lies as the query does; what follows wants it token by token.
            return op.copy(self.tape, attended) if self._rotated_in_rows else attended
        if self.training.attention == "sdpa" and self.architecture.has_sdpa:
            return self._math_attention(query, key, value, shared)
        return self._plain_attention(query, key, value, shared)

    @property
    def fused_attention(self) -> bool:
        """Whether scores never reach memory; on a CPU, dropout on them prevents that."""
        kernel = self.tape.fused or not self.attention_dropout
        return self.training.attention == "sdpa" and self.architecture.has_sdpa and kernel

    def _repeat(self, x: Tensor) -> Tensor:
        """Repeat the heads of grouped keys and values; one head alone is seen many times."""
        groups = self.architecture.heads // self.architecture.key_value_heads
        if self.architecture.key_value_heads == 1:
            return op.spread(self.tape, x, x.elements * groups)
        return op.elementwise(self.tape, (x,), x.elements * groups)

    @property
    def _rotated_in_rows(self) -> bool:
        """Whether query and key lie head by head, as joined from rotated and other numbers."""
        return self.architecture.style.rotated > 0

    def _in_rows(self, x: Tensor, there: bool = False) -> Tensor:
        """Key or value head by head, as products of matrices need it; repeated heads lie so."""
        heads, groups = self.architecture.heads, self.architecture.key_value_heads
        ready = groups > 1 if groups < heads else there
        return x if ready else op.copy(self.tape, x)

    def _plain_attention(
        self, query: Tensor, key: Tensor, value: Tensor, shared: Mapping[str, Tensor]
    ) -> Tensor:
        scores = self._scores(query, key, shared)
        weights = op.softmax(self.tape, scores, wide=self.architecture.wide_softmax)
        if self.architecture.attention != "position-bias":
            del scores
        weights = op.dropout(self.tape, weights, self.attention_dropout)
        if self.architecture.attention != "position-bias":
            self._keep_weights(weights)
        return op.copy(self.tape, self._weighted(weights, self._in_rows(value)))

    def _weighted(self, weights: Tensor, value: Tensor) -> Tensor:
        elements = self.tokens * self.architecture.heads * self.architecture.head_size
        length = self.training.sequence_length
        return op.matmul(self.tape, weights, value, elements, length)

    def _scores(self, query: Tensor, key: Tensor, shared: Mapping[str, Tensor]) -> Tensor:
        scores = op.copy(self.tape, self._products(query, key))
        for step in op.CAP if self.architecture.style.capped_scores else ():
            scores = step(self.tape, scores)
        return op.add(self.tape, scores, shared["mask"])

    def _products(self, query: Tensor, key: Tensor) -> Tensor:
        tape, size = self.tape, self.architecture.head_size
        there = self._rotated_in_rows
        left = query if there else op.copy(tape, query)
        right = self._in_rows(key, there)
        return op.matmul(tape, left, right, self.scores, size)

    def _math_attention(
        self, query: Tensor, key: Tensor, value: Tensor, shared: Mapping[str, Tensor]
    ) -> Tensor:
        """What a CPU runs for sdpa with dropout: in 32 bits, both factors scaled."""
        tape = self.tape
        mask = op.elementwise(tape, (shared["mask"],), itemsize=tape.itemsize)
        query, key, value = (op.cast(tape, x, FP32_BYTES) for x in (query, key, value))
        scaled = op.copy(tape, query)
        weights = op.add(tape, self._products(scaled, op.copy(tape, key)), mask)
        weights = op.saves_output(tape, weights)
        weights = op.dropout(tape, weights, self.attention_dropout)
        narrow = tape.source(self.scores) if tape.itemsize < FP32_BYTES else None
        context = self._weighted(weights, self._in_rows(value))
        context = op.cast(tape, context, tape.itemsize)
        del weights, narrow, scaled, query, key, value, mask
        return op.copy(tape, context)
