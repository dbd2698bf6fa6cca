"""One reader a model family: from ``config.json`` to `Architecture`.

Counted from the modules that Hugging Face transformers builds; the tests compare every
family with its own parameter count.
"""

from collections.abc import Callable

from profiler.closed_form import decoders, encoders, gemma, rotary_decoders
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
    "mistral": decoders.mistral,
    "qwen2": decoders.qwen2,
    "qwen3": decoders.qwen3,
    "gemma": gemma.gemma,
    "gemma2": gemma.gemma2,
    "gemma3_text": gemma.gemma3,
    "phi3": rotary_decoders.phi3,
    "granite": rotary_decoders.granite,
    "olmo2": rotary_decoders.olmo2,
    "smollm3": rotary_decoders.smollm3,
    "starcoder2": rotary_decoders.starcoder2,
}
