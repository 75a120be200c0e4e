from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rl.errors import UserError
from rl.models import load_tokenizer
from rl.recurrent.retrofit import Split, retrofit_checkpoint, retrofitted
from rl.tiny_model import tiny_tokenizer

SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "initializer_range": 0.1,
}
TOKEN_IDS = torch.arange(40)[None] * 7 % 128


def make_parent(dtype: torch.dtype = torch.float32, **settings: Any) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parent = LlamaForCausalLM(LlamaConfig(**SIZES | settings))
        for parameter in parent.parameters():
            if parameter.dim() == 1:
                parameter.data += 0.2 * torch.randn_like(parameter)
    return parent.to(dtype).eval()


def logits(model: Any, **arguments: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKEN_IDS, **arguments).logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "settings",
    [
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rms_norm_eps": 1e-3},
    ],
)
def test_one_run_of_the_core_is_the_parent_in_all_bits(dtype: torch.dtype, settings: dict[str, Any]) -> None:
    parent = make_parent(dtype, **settings)
    child = retrofitted(parent, Split(1, 2))
    assert child.dtype == dtype
    assert torch.equal(logits(child), logits(parent))
    assert not torch.equal(logits(child, num_recurrences=2), logits(parent))


def test_more_runs_are_the_parent_with_its_middle_repeated() -> None:
    parent = make_parent()
    child = retrofitted(parent, Split(2, 1))
    repeated = make_parent(num_hidden_layers=9)
    order = [0, 1, 2, 3, 4, 2, 3, 4, 5]
    for place, source in enumerate(order):
        repeated.model.layers[place].load_state_dict(parent.model.layers[source].state_dict())
    for part in ("embed_tokens", "norm"):
        getattr(repeated.model, part).load_state_dict(getattr(parent.model, part).state_dict())
    repeated.lm_head.load_state_dict(parent.lm_head.state_dict())
    assert torch.equal(logits(child, num_recurrences=2), logits(repeated))


def test_the_checkpoint_has_the_parents_tokenizer_and_says_what_it_was_trained_at(tmp_path: Path) -> None:
    make_parent().save_pretrained(tmp_path / "parent")
    tiny_tokenizer().save_pretrained(tmp_path / "parent")
    line = retrofit_checkpoint(tmp_path / "parent", tmp_path / "child", Split(1, 1))
    assert "recurrence 1: 1 + 1 x 4 + 1 = 6 layers, 8,192 weights of an adapter added" in line
    child = AutoModelForCausalLM.from_pretrained(tmp_path / "child")
    assert child.config.trained_recurrences == [1, 1]
    assert torch.equal(logits(child), logits(make_parent()))
    assert load_tokenizer(tmp_path / "child").get_vocab() == tiny_tokenizer().get_vocab()
    with pytest.raises(UserError, match="exists already"):
        retrofit_checkpoint(tmp_path / "parent", tmp_path / "child", Split(1, 1))


@pytest.mark.parametrize("split", [Split(3, 3), Split(8, 0), Split(-1, 2)])
def test_a_split_that_leaves_no_core_is_refused(split: Split) -> None:
    with pytest.raises(UserError, match="of 6 layers for the core, which needs at least 1; lower --prelude or --coda"):
        retrofitted(make_parent(), split)


def test_only_a_llama_can_be_split(tmp_path: Path) -> None:
    Qwen2ForCausalLM(Qwen2Config(**SIZES)).save_pretrained(tmp_path / "parent")
    with pytest.raises(UserError, match="is a qwen2, and only a llama can be retrofitted"):
        retrofit_checkpoint(tmp_path / "parent", tmp_path / "child", Split(1, 1))
