"""Adapted models: one real PEFT model per adapter shape, on the one shared base.

A replica copies the base's module tree but none of its tensors, and gives the copy to
``get_peft_model``. So each shape is just what PEFT builds for it, nothing of one shape runs
in another, and memory grows by the adapters alone. Devices of one shape take turns in its
replica, by direct copy.
"""

import copy
import math
import warnings
from collections.abc import Callable, Set
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import peft
import torch
import transformers
from torch import Tensor, nn

from finetune.data.tokens import Batch
from finetune.model.base import Base, layer_targets
from finetune.model.prefix import Prefix
from finetune.model.state import Shapes, State, shapes_of
from finetune.seeds import Stream, torch_seed
from solver.plan import InputError, Plan

__all__ = ["Replica"]

PREFIX = "base_model.model."


class Replica:
    """A model with the adapters of one shape, on the shared base.

    Parameters
    ----------
    base : Base
        The frozen base.
    plan : Plan
        Names the modules and the LoRA scale.
    ranks : list of int, shape (L,)
        Rank by layer, input first; all 0 trains the head alone.
    seed : int
        Seed of the adapters' start.

    Raises
    ------
    InputError
        If PEFT built anything else than these ranks and scales.
    """

    def __init__(self, base: Base, plan: Plan, ranks: list[int], seed: int) -> None:
        config: Any = base.model.config
        self._vocabulary: int = config.vocab_size
        self._layers_path = f"{base.prefix}.{plan.model.layers_path}"
        #: Index of the first adapted layer; L where the head alone trains.
        self.first = next((i for i, rank in enumerate(ranks) if rank), len(ranks))
        self._autocast = base.dtype != torch.float32
        self._dtype = base.dtype
        if any(ranks):
            self.model: Any = _adapted(base, plan, ranks, seed)
        elif base.head_modules:
            self.model = _head_only(base)
        else:
            raise InputError(
                "a configuration of depth 0 has nothing to train, as this model has no head; "
                "solve again with a least depth of 1"
            )
        self.parameters = {
            _saved_name(name): parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        for parameter in self.parameters.values():
            parameter.data = parameter.data.float()
        if any(ranks):
            _check_adapters(self.model, plan, base, ranks)
            _check_names(self.model, set(self.parameters))
        if plan.training.gradient_checkpointing:
            _checkpoint_gradients(self.model)

    @property
    def shapes(self) -> Shapes:
        """Shape of every tensor that is loaded."""
        return shapes_of(self.parameters)

    def load(self, state: State) -> None:
        """Copy a state of just these shapes into the model."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state[name])

    def freeze_except(self, trains: Callable[[str], bool]) -> None:
        """Train only what `trains` says of the names (FFA-LoRA); the rest is still loaded."""
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(trains(name))

    def state(self) -> State:
        """Copy of what trains."""
        return {n: p.detach().clone() for n, p in self.parameters.items() if p.requires_grad}

    @cached_property
    def prefix(self) -> Prefix:
        """The layers below the first adapted one; there must be any."""
        body = self.model.get_base_model() if self._is_peft else self.model
        blocks = body.get_submodule(self._layers_path)
        with self._compute_type():
            return Prefix(self.model, blocks, self.first, self._vocabulary)

    def train_mode(self, *, frozen_dropout: bool) -> None:
        """Switch dropout on; below the first adapted layer only if so asked.

        A device that adapts all layers has nothing frozen below them but the embeddings,
        whose dropout stays on.
        """
        self.model.train()
        if not frozen_dropout and self.first > 0:
            self.prefix.freeze_dropout()

    def prefix_states(self, batch: Batch) -> Tensor:
        """Hidden states (B, S, H) below the first adapted layer, without dropout there."""
        with self._compute_type():
            return self.prefix.states(batch)

    def forward(
        self, batch: Batch, states: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Loss (None without labels) and logits of a batch, in the plan's compute type.

        With the batch's `states` the layers below the first adapted one are not run.
        """
        below = self.prefix.standing_in(states) if states is not None else nullcontext()
        with self._compute_type(), below:
            output = self.model(**batch)
        return output.loss, output.logits

    @property
    def _is_peft(self) -> bool:
        return isinstance(self.model, peft.PeftModel)

    def _compute_type(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", self._dtype) if self._autocast else nullcontext()


def _lora_config(base: Base, plan: Plan, ranks: list[int]) -> peft.LoraConfig:
    """PEFT configuration of the adapters, with the head among the modules to save."""
    targets = layer_targets(plan, base).values()
    transposed = any(isinstance(m, transformers.pytorch_utils.Conv1D) for m in targets)
    return peft.LoraConfig(
        **plan.lora.peft_fields(plan.model, ranks),
        modules_to_save=base.head_modules or None,
        fan_in_fan_out=transposed,
    )


def _skeleton(base: Base, own: Set[int] = frozenset()) -> nn.Module:
    """Copy of the module tree that shares every tensor but those whose id is in `own`."""
    tensors = [*base.model.parameters(), *base.model.buffers()]
    return copy.deepcopy(base.model, {id(t): t for t in tensors if id(t) not in own})


def _adapted(base: Base, plan: Plan, ranks: list[int], seed: int) -> nn.Module:
    torch.manual_seed(torch_seed(seed, Stream.ADAPTER))
    with warnings.catch_warnings():
        # PEFT asks transformers for an attribute that transformers has renamed.
        warnings.simplefilter("ignore", FutureWarning)
        model: nn.Module = peft.get_peft_model(_skeleton(base), _lora_config(base, plan, ranks))
    return model


def _head_only(base: Base) -> nn.Module:
    heads = [base.model.get_submodule(name) for name in base.head_modules]
    model = _skeleton(base, own={id(p) for head in heads for p in head.parameters()})
    for name in base.head_modules:
        model.get_submodule(name).requires_grad_(True)
    return model


def _saved_name(name: str) -> str:
    """Name PEFT saves a parameter by: without its adapter's name."""
    if not name.startswith(PREFIX):
        return PREFIX + name
    return name.replace(".modules_to_save.default.", ".").replace(".default.", ".")


def _check_adapters(model: nn.Module, plan: Plan, base: Base, ranks: list[int]) -> None:
    """Refuse a model whose ranks or scales are not the plan's, module by module."""
    found = {
        name.removeprefix(f"{PREFIX}{base.prefix}."): (
            module.r["default"],
            module.scaling["default"],
        )
        for name, module in model.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    planned = {
        plan.model.module_name(layer, target.name): (rank, plan.lora.scaling)
        for layer, rank in enumerate(ranks)
        for target in plan.model.targets
        if rank > 0
    }
    for name in sorted(found.keys() | planned.keys()):
        rank, scale = found.get(name, (0, 0.0))
        expected_rank, expected_scale = planned.get(name, (0, 0.0))
        if rank != expected_rank or not math.isclose(scale, expected_scale):
            raise InputError(
                f"{name}: PEFT built rank {rank}, scale {scale}; the plan says rank "
                f"{expected_rank}, scale {expected_scale}. The plan does not fit this model"
            )


def _check_names(model: nn.Module, trained: set[str]) -> None:
    """Refuse a model in which anything else trains than what PEFT would save."""
    saved = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    if odd := sorted(saved ^ trained):
        raise InputError(
            f"{odd[0]}: trains or is saved, but not both; expected adapters and head only. "
            "The head modules of the plan do not fit this model"
        )


def _checkpoint_gradients(model: Any) -> None:
    """Recompute activations, without drawing the frozen layers below into the graph."""
    body = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    with warnings.catch_warnings():
        # The name of transformers 4; version 5 has another and still takes this one.
        warnings.simplefilter("ignore", FutureWarning)
        body.gradient_checkpointing_enable({"use_reentrant": False})
    if getattr(body, "_require_grads_hook", None) is not None:
        body.disable_input_require_grads()
