"""Loss for a device whose labels are not spread like everybody's.

A device that holds mostly one class learns first of all to answer with that class, and the
mean of such adapters answers at random. In training, the logarithm of how often the device
sees a class is added to the class's logit, so that the model need not learn it (Menon et al.
2021, arXiv 2007.07314; by device in FedLC, Zhang et al. 2022, arXiv 2209.00189). Evaluation
and the exported adapter have plain logits. How often a device sees a class stays with it.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from finetune.options import RunOptions
from profiler.schema import Training
from solver.plan import InputError

__all__ = ["adjusted_loss", "check_adjustable", "label_offsets"]


def label_offsets(labels: npt.NDArray[np.int64], classes: int, strength: float) -> Tensor:
    """What is added to the logits of a device, shape (classes,).

    Parameters
    ----------
    labels : array of int
        Class indices of all its examples.
    classes : int
        Classes there are; each counts once more than it occurs, so that none is impossible.
    strength : float
        Factor of the logarithm: 1 makes up for the frequencies, 0 for nothing.
    """
    counts = np.bincount(labels, minlength=classes) + 1.0
    return torch.from_numpy(strength * np.log(counts / counts.sum())).float()


def adjusted_loss(logits: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, C) with offsets (C,) added, for labels (B,)."""
    return torch.nn.functional.cross_entropy(logits.float() + offsets, labels)


def check_adjustable(training: Training, options: RunOptions) -> None:
    """Raise `InputError` if logits are to be adjusted where there are no classes."""
    if options.logit_adjustment and training.task != "classification":
        raise InputError(
            f"--logit-adjustment is {options.logit_adjustment:g} and the plan trains "
            f"{training.task}; it is for classification. Leave it out"
        )
