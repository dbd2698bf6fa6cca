"""Gain by Fisher information, the layer score of Fed-HeLLo and HRALoRA.

``F_l = mean over examples n of sum over targets W of layer l of ||dL_n/dW||^2``

is the trace of the diagonal empirical Fisher information, with the labels that the data have
(Zhang et al., "Fed-HeLLo", arXiv 2506.12213, score layers by squared gradient norms of this
kind). Taken in the matrices W that are adapted rather than in adapters: at the start, where
B = 0, the expectation of the adapters' own trace is that of W times a factor that is linear
in the rank and the same in every layer of a width. So Fisher ranks layers, and has nothing
to say of ranks: they are worth what the gradient energy of the same pass says
(`profiler.gain.energy`). As there, a layer's score is a norm, ``sqrt(F_l)``.
"""

from collections.abc import Callable

from profiler.gain.data import Text
from profiler.gain.energy import layer_energies, shares_by_rank
from profiler.gain.gradients import collect_gradients
from profiler.gain.head import warm_head
from profiler.gain.nested import gain_table, saturate
from profiler.gain.training import Bench
from profiler.schema import Gain

__all__ = ["fisher"]


def fisher(bench: Bench, text: Text, advance: Callable[[], None] = lambda: None) -> Gain:
    """Gain table by Fisher information.

    Parameters
    ----------
    bench : Bench
        The model; its head is trained a little.
    text : Text
        The examples.
    advance : callable
        Called after every batch of gradients.
    """
    warm_head(bench, text)
    gradients = collect_gradients(bench, text, advance)
    scores = [sum(g.square for g in row) ** 0.5 for row in gradients]
    return gain_table(
        f"diagonal empirical Fisher of {len(text.ids)} examples, head trained first; "
        "ranks by gradient energy",
        saturate(scores),
        [shares_by_rank(layer_energies(row)) for row in gradients],
    )
