"""Checkpoints that pre-training starts from: random weights of the sizes that a config asks for."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.models import made_once
from rl.pretrain.config import ArchitectureConfig
from rl.recurrent.draws import DepthDraws
from rl.recurrent.flops import cost_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def scratch_model(
    architecture: ArchitectureConfig,
    draws: DepthDraws,
    tokenizer: "PreTrainedTokenizerBase",
    seed: int,
    cache_dir: Path,
) -> Path:
    """The folder of the checkpoint, made under `cache_dir` unless it is there; the same seed gives the same weights.

    Raises ValueError for sizes that make no model.
    """
    config = model_config(architecture, draws, tokenizer)
    text = json.dumps([config.to_dict(), tokenizer.get_vocab(), seed], sort_keys=True, default=str)
    name = f"{architecture.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def write(folder: Path) -> None:
        _random_model(config, seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return made_once(cache_dir / name, write)


def model_config(
    architecture: ArchitectureConfig, draws: DepthDraws, tokenizer: "PreTrainedTokenizerBase"
) -> "PretrainedConfig":
    """The Hugging Face config of the model from scratch."""
    recurrent = _recurrent_config(architecture, draws, tokenizer)
    if architecture.kind == "recurrent":
        return recurrent
    num_layers = architecture.num_static_layers or _matched_layers(architecture, draws, tokenizer, recurrent)
    return _static_config(architecture, tokenizer, num_layers)


def training_flops(config: Any, draws: DepthDraws, seed: int, num_steps: int) -> float:
    """Floating-point operations a token that training takes on average: forward, and twice that for what is reached.

    Products with weights alone, as `rl.recurrent.flops.flops_per_token` counts them. Of a recurrent model, r is drawn
    as training draws it, and the runs of the core that no gradient reaches cost a forward pass alone.
    """
    cost = cost_of(config)
    if cost.recurrence is None:
        return 3.0 * cost.flops_per_token
    depths = [draws.depth(seed, step) for step in range(1, num_steps + 1)]
    num_runs = sum(3 * depth.num_recurrences - 2 * depth.num_detached for depth in depths) / len(depths)
    return 3 * cost.at(0) + num_runs * cost.flops_per_run


_NUM_SAMPLED_STEPS = 1000
"""Steps over which the cost of a drawn depth is averaged where a static twin is matched to it."""


def _matched_layers(
    architecture: ArchitectureConfig, draws: DepthDraws, tokenizer: "PreTrainedTokenizerBase", recurrent: Any
) -> int:
    """The number of layers with which a static model comes nearest to the recurrent one's training FLOPs."""
    one, two = (training_flops(_static_config(architecture, tokenizer, n), draws, 0, 1) for n in (1, 2))
    return max(1, round((training_flops(recurrent, draws, 0, _NUM_SAMPLED_STEPS) - one) / (two - one)) + 1)


def _recurrent_config(architecture: ArchitectureConfig, draws: DepthDraws, tokenizer: Any) -> Any:
    from kernels.recurrent.configuration import RecurrentDepthConfig

    return RecurrentDepthConfig(
        **_common(architecture, tokenizer),
        num_prelude_layers=architecture.num_prelude_layers,
        num_core_layers=architecture.num_core_layers,
        num_coda_layers=architecture.num_coda_layers,
        **vars(draws.usual),
        initial_state=architecture.initial_state,
    )


def _static_config(architecture: ArchitectureConfig, tokenizer: Any, num_layers: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_common(architecture, tokenizer), num_hidden_layers=num_layers)


def _common(architecture: ArchitectureConfig, tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": architecture.hidden_size,
        "intermediate_size": architecture.intermediate_size,
        "num_attention_heads": architecture.num_heads,
        "num_key_value_heads": architecture.num_heads,
        "head_dim": architecture.hidden_size // architecture.num_heads,
        "max_position_embeddings": architecture.max_length,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _random_model(config: Any, seed: int) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from kernels.recurrent.registration import register

    register()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).float()
