"""Small checkpoints for tests."""

from pathlib import Path
from typing import Any

import torch

from kernels.linear import LinearPlan
from reward.mod_chain import ModChain
from rl.canonical_model import load_canonical
from rl.pretrain.config import ArchitectureConfig
from rl.pretrain.scratch import scratch_model
from rl.pretrain.tokenizer import chain_tokenizer
from rl.recurrent.draws import DepthDraws

PARAMS = ModChain(max_operands=4, modulus=7, split="train")
TOKENIZER = chain_tokenizer(PARAMS, 64)
DRAWS = DepthDraws(3.0, 0.5, 2)


def sizes(kind: str, **changes: Any) -> ArchitectureConfig:
    """Hidden 64, MLP 128, two heads, a core of two layers."""
    plain = {"hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "num_core_layers": 2, "max_length": 64}
    return ArchitectureConfig(kind=kind, **plain | changes)


def made(kind: str, cache_dir: Path, seed: int = 0) -> Path:
    """The folder of a checkpoint."""
    return scratch_model(sizes(kind), DRAWS, TOKENIZER, seed, cache_dir)


def canonical(model_dir: Path) -> Any:
    """The model under the seam."""
    return load_canonical(str(model_dir), "float32", LinearPlan("aten", 8))


def plain(model_dir: Path) -> Any:
    """The model as Hugging Face runs it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
