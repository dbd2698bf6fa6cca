"""One reader a model family: from ``config.json`` to `Architecture`.

Counted from the modules that Hugging Face transformers builds; the tests compare every
family with its own parameter count.
"""

from collections.abc import Callable

from profiler.closed_form import decoders, encoders, gemma, modernbert, unlike_llama
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
    "electra": encoders.electra,
    "modernbert": modernbert.modernbert,
    "gpt2": decoders.gpt2,
    "llama": decoders.llama,
    "mistral": decoders.mistral,
    "qwen2": decoders.qwen2,
    "qwen3": decoders.qwen3,
    "gemma": gemma.gemma,
    "gemma2": gemma.gemma2,
    "gemma3_text": gemma.gemma3,
    "phi3": unlike_llama.phi3,
    "granite": unlike_llama.granite,
    "olmo2": unlike_llama.olmo2,
    "smollm3": unlike_llama.smollm3,
    "starcoder2": unlike_llama.starcoder2,
    "gpt_neox": unlike_llama.gpt_neox,
    "opt": decoders.opt,
}
