"""One reader a model family: from ``config.json`` to `Architecture`.

Counted from the modules that Hugging Face transformers builds; the tests compare every
family with its own parameter count.
"""

from collections.abc import Callable

from profiler.closed_form import decoders, encoders
from profiler.closed_form.architectures import Architecture
from profiler.configs import Config

__all__ = ["READERS"]

READERS: dict[str, Callable[[Config], Architecture]] = {
    "bert": encoders.bert,
    "roberta": encoders.roberta,
    "xlm-roberta": encoders.roberta,
    "camembert": encoders.roberta,
    "distilbert": encoders.distilbert,
    "deberta-v2": encoders.deberta_v2,
    "mpnet": encoders.mpnet,
    "gpt2": decoders.gpt2,
    "llama": decoders.llama,
    "mistral": decoders.llama,
    "qwen2": decoders.llama,
    "qwen3": decoders.llama,
}
