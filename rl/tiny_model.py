"""Models of 0.1 million random parameters and a tokenizer of 128 characters, for tests and first looks."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>")
_CHARACTERS = ("\n", "\t", *map(chr, range(32, 127)))
_VOCAB_SIZE = 128
_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    # Larger than usual, so that the random model prefers some tokens to others and errors show in its samples.
    "initializer_range": 0.1,
}


def write_tiny(name: str, folder: Path, seed: int) -> None:
    """Writes the checkpoint of `name`, one of `TINY_MODELS`, and its tokenizer; the same seed gives the same bytes."""
    tokenizer = tiny_tokenizer()
    tiny_model(name, tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny_model(name: str, tokenizer: "PreTrainedTokenizerFast", seed: int) -> Any:
    """The Hugging Face model, in float32."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TINY_MODELS[name](tokenizer).float()


def _llama(tokenizer: "PreTrainedTokenizerFast") -> Any:
    """A Llama of two layers with grouped key-value heads and tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_SIZES, **_tokens(tokenizer), num_hidden_layers=2))


def _recurrent(tokenizer: "PreTrainedTokenizerFast") -> Any:
    """A recurrent-depth decoder: a core of two layers between a prelude and a coda of one, run twice."""
    from kernels.recurrent.configuration import RecurrentDepthConfig
    from kernels.recurrent.modelling import RecurrentDepthForCausalLM

    return RecurrentDepthForCausalLM(RecurrentDepthConfig(**_SIZES, **_tokens(tokenizer), num_recurrences=2))


def _tokens(tokenizer: "PreTrainedTokenizerFast") -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


TINY_MODELS: dict[str, Callable[["PreTrainedTokenizerFast"], Any]] = {"llama": _llama, "recurrent": _recurrent}
"""What makes a random model, by the name behind `tiny:`."""


def tiny_tokenizer() -> "PreTrainedTokenizerFast":
    """One token per character: printable ASCII, newline and tab; anything else is `<unk>`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = [*_SPECIAL, *_CHARACTERS]
    tokens += [f"<unused{i}>" for i in range(_VOCAB_SIZE - len(tokens))]
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=list(_SPECIAL[4:]),
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer
