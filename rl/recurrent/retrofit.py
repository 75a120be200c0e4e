"""Makes a recurrent-depth model of a Llama-shaped one: its layers are split, and those in the middle become the core.

    parent    0 … l_P-1 │ l_P …           … │ …             prelude │ core │ coda
    s_0 = prelude's output e,  adapter [I | 0]:  the state goes through as it is, so one run of the core is the parent

What more runs do to it is for training to make something of (McLeish et al., arXiv 2511.07384, train such models on).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels.recurrent.registration import register
from rl.durable import publish_folder
from rl.errors import UserError
from rl.models import load_tokenizer
from rl.recurrent.checkpoint import described

PARENT_TYPE = "llama"
KEPT = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_parameters",
    "attention_bias",
    "mlp_bias",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
"""What of a Llama's config the new one has too."""
NUM_CHECKED = 32
"""Tokens on which parent and child are compared."""


@dataclass(frozen=True)
class Split:
    """How many of the parent's first and last layers stay outside the core."""

    num_prelude_layers: int
    num_coda_layers: int

    def sizes(self, num_layers: int) -> tuple[int, int, int]:
        """(prelude, core, coda) of `num_layers`. Raises UserError where nothing is left for the core."""
        num_core = num_layers - self.num_prelude_layers - self.num_coda_layers
        if num_core < 1 or min(self.num_prelude_layers, self.num_coda_layers) < 0:
            raise UserError(
                f"a prelude of {self.num_prelude_layers} and a coda of {self.num_coda_layers} leave {num_core} of "
                f"{num_layers} layers for the core, which needs at least 1; lower --prelude or --coda"
            )
        return self.num_prelude_layers, num_core, self.num_coda_layers


def retrofit_checkpoint(parent_dir: Path, out: Path, split: Split) -> str:
    """A line on the recurrent-depth checkpoint that lies in `out` afterwards, the parent's tokenizer with it.

    At recurrence 1, which it says of itself, its logits equal the parent's in all bits; this is checked. Raises
    UserError for a parent that is no Llama, a split that leaves no core, and where `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists already; give another folder, or remove it")
    parent = _load_parent(parent_dir)
    child = retrofitted(parent, split)
    _require_same_bits(parent, child)
    partial = out.with_name(f".{out.name}.partial")
    child.save_pretrained(partial)
    load_tokenizer(parent_dir).save_pretrained(partial)
    publish_folder(partial, out)
    adapter = child.model.adapter.weight.numel()
    return f"{out}: {described(child.config)}, {adapter:,} weights of an adapter added; the parent at recurrence 1"


def retrofitted(parent: Any, split: Split) -> Any:
    """The recurrent-depth model of a Llama (a Hugging Face causal LM), with copies of its weights and in its dtype."""
    from kernels.recurrent.configuration import RecurrentDepthConfig
    from kernels.recurrent.modelling import RecurrentDepthForCausalLM

    prelude, core, coda = split.sizes(parent.config.num_hidden_layers)
    config = RecurrentDepthConfig(
        **{name: getattr(parent.config, name) for name in KEPT},
        num_prelude_layers=prelude,
        num_core_layers=core,
        num_coda_layers=coda,
        num_recurrences=1,
        trained_recurrences=[1, 1],
        initial_state="prelude",
        sandwich_norms=False,
    )
    child = RecurrentDepthForCausalLM(config).to(parent.dtype).eval()
    weights = {_place(name, split, core): tensor for name, tensor in parent.state_dict().items()}
    hidden = config.hidden_size
    weights["model.adapter.weight"] = torch.cat([torch.eye(hidden), torch.zeros(hidden, hidden)], dim=1)
    child.load_state_dict(weights)
    child.generation_config = parent.generation_config
    return child


def _load_parent(parent_dir: Path) -> Any:
    import transformers

    register()
    config = transformers.AutoConfig.from_pretrained(parent_dir)
    if config.model_type != PARENT_TYPE:
        raise UserError(
            f"{parent_dir} is a {config.model_type}, and only a {PARENT_TYPE} can be retrofitted: the layers of the "
            "recurrent-depth model are its"
        )
    return transformers.AutoModelForCausalLM.from_pretrained(parent_dir, dtype="auto").eval()


def _place(name: str, split: Split, num_core: int) -> str:
    """The child's name of a parent's weight."""
    if not name.startswith("model.layers."):
        return name
    index, rest = name.removeprefix("model.layers.").split(".", 1)
    layer = int(index)
    for part, size in (("prelude", split.num_prelude_layers), ("core", num_core)):
        if layer < size:
            return f"model.{part}.{layer}.{rest}"
        layer -= size
    return f"model.coda.{layer}.{rest}"


def _require_same_bits(parent: Any, child: Any) -> None:
    token_ids = torch.arange(NUM_CHECKED)[None] * 7 % parent.config.vocab_size
    with torch.no_grad():
        mine, theirs = child(input_ids=token_ids).logits, parent(input_ids=token_ids).logits
    if not torch.equal(mine, theirs):
        off = float((mine - theirs).abs().max())
        raise UserError(
            f"one run of the core does not give the parent's logits, they differ by up to {off:.1e}; "
            "the parent does something that a Llama does not"
        )
