"""The tokenizer of `mod_chain`: a token for every number, so that an answer is one token."""

from typing import TYPE_CHECKING

from reward.mod_chain import ModChain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
_SIGNS = ("+", "-", "*", "mod", "=")
_MULTIPLE = 64
"""The vocabulary is filled up to a multiple of it."""
_CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A question is put as it stands, so that a chat asks what a plain text does."""


def chain_tokenizer(params: ModChain, max_length: int) -> "PreTrainedTokenizerFast":
    """Numbers up to the modulus and the signs between them, blanks dropped; encoding puts `<bos>` before."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [*_SPECIAL, *_SIGNS, *map(str, range(params.modulus + 1))]
    tokens += [f"<unused{i}>" for i in range(-len(tokens) % _MULTIPLE)]
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"\d+|[a-z]+|[^\da-z]"), behavior="isolated")]
    )
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokens.index("<bos>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer
