"""The decoder held against the recurrence written out, and against what a Hugging Face model has to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from kernels.recurrent.registration import register

MakeModel = Callable[..., Any]
TOKEN_IDS = torch.arange(24)[None] * 7 % 63 + 1


def logits(model: Any, **arguments: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKEN_IDS, **arguments).logits


def normed(state: torch.Tensor, norm: Any) -> torch.Tensor:
    return norm.weight * state * torch.rsqrt(state.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


def attended(layer: Any, state: torch.Tensor, decoder: Any) -> torch.Tensor:
    """Causal attention of one layer, head by head. state: (rows, hidden)."""
    attention, rows = layer.self_attn, len(state)
    cos, sin = (table[0] for table in decoder.rotary_emb(state, torch.arange(rows)[None]))

    def rotated(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    q, k, v = (proj(state).view(rows, -1, 32) for proj in (attention.q_proj, attention.k_proj, attention.v_proj))
    heads = []
    for head in range(4):
        scores = rotated(q[:, head]) @ rotated(k[:, head // 2]).T / 32**0.5
        scores = scores.masked_fill(torch.ones(rows, rows).triu(1).bool(), float("-inf"))
        heads.append(scores.softmax(-1) @ v[:, head // 2])
    return attention.o_proj(torch.cat(heads, -1))


def through(layer: Any, state: torch.Tensor, decoder: Any) -> torch.Tensor:
    """A sandwich: x̂ = n2(x + attention(n1 x)), n4(x̂ + mlp(n3 x̂))."""
    state = normed(
        state + attended(layer, normed(state, layer.input_layernorm), decoder), layer.attention_residual_norm
    )
    return normed(state + layer.mlp(normed(state, layer.post_attention_layernorm)), layer.mlp_residual_norm)


@pytest.mark.parametrize("initial_state", ["zero", "learned", "prelude"])
def test_the_core_is_run_on_the_state_and_the_embedded_input(make_model: MakeModel, initial_state: str) -> None:
    model = make_model(initial_state=initial_state)
    decoder = model.model
    torch.nn.init.normal_(decoder.adapter.weight, std=0.1)
    with torch.no_grad():
        embedded = through(decoder.prelude[0], decoder.embed_tokens(TOKEN_IDS[0]), decoder)
        state = {"zero": torch.zeros_like(embedded), "prelude": embedded}.get(initial_state)
        if state is None:
            state = decoder.initial_state.repeat(len(embedded), 1)
        for _ in range(3):
            state = torch.cat([state, embedded], -1) @ decoder.adapter.weight.T
            for layer in decoder.core:
                state = through(layer, state, decoder)
        state = through(decoder.coda[0], state, decoder)
        expected = normed(state, decoder.norm) @ decoder.embed_tokens.weight.T
    torch.testing.assert_close(logits(model, num_recurrences=3)[0], expected)


def test_a_call_may_go_deeper_than_the_config_and_changes_nothing_for_the_next(make_model: MakeModel) -> None:
    model = make_model(num_recurrences=2)
    before = logits(model)
    assert not torch.equal(logits(model, num_recurrences=5), before)
    assert torch.equal(logits(model, num_recurrences=5), logits(make_model(num_recurrences=5)))
    assert torch.equal(logits(model), before)


def test_a_depth_below_1_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(ValueError, match="num_recurrences must be at least 1, got 0"):
        logits(make_model(), num_recurrences=0)


def test_a_cache_has_keys_and_values_for_every_run_of_every_layer(make_model: MakeModel) -> None:
    model = make_model()
    with torch.no_grad():
        half = model(input_ids=TOKEN_IDS[:, :13], use_cache=True, num_recurrences=3)
        assert len(half.past_key_values.layers) == 1 + 3 * 2 + 1
        rest = model(input_ids=TOKEN_IDS[:, 13:], past_key_values=half.past_key_values, num_recurrences=3).logits
    torch.testing.assert_close(rest, logits(model, num_recurrences=3)[:, 13:])


def test_generation_is_greedy_decoding_of_the_whole_text(make_model: MakeModel) -> None:
    model = make_model()
    token_ids = TOKEN_IDS
    for _ in range(4):
        with torch.no_grad():
            token_ids = torch.cat([token_ids, model(input_ids=token_ids).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(model.generate(TOKEN_IDS, max_new_tokens=4, do_sample=False), token_ids)


@pytest.mark.parametrize("settings", [{}, {"initial_state": "learned", "sandwich_norms": False}])
def test_a_saved_model_is_found_by_the_auto_classes_and_is_the_same(
    make_model: MakeModel, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model(num_recurrences=3, trained_recurrences=[1, 6], **settings)
    model.save_pretrained(tmp_path)
    register()
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config.to_dict() | {"_name_or_path": ""} == model.config.to_dict() | {"_name_or_path": ""}
    assert torch.equal(logits(again), logits(model))


def gradients(model: Any, **arguments: Any) -> list[torch.Tensor]:
    loss = model(input_ids=TOKEN_IDS, labels=TOKEN_IDS, **arguments).loss
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_truncation_leaves_the_loss_and_takes_the_gradient_of_the_last_runs_only(make_model: MakeModel) -> None:
    model = make_model(initial_state="prelude", num_recurrences=4)
    assert torch.equal(logits(model, num_backpropagated=1), logits(model))
    whole, last = gradients(model), gradients(model, num_backpropagated=2)
    assert not all(map(torch.equal, whole, last))
    torch.testing.assert_close(last, _gradients_from_a_detached_state(model))


def _gradients_from_a_detached_state(model: Any) -> list[torch.Tensor]:
    """Of the last 2 of 4 runs, the state in front of them a constant."""
    found: list[torch.Tensor] = []

    def detach(module: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        found.append(inputs[0])
        state, embedded = inputs[0].chunk(2, -1)
        return (torch.cat([state.detach() if len(found) == 3 else state, embedded], -1),)

    hook = model.model.adapter.register_forward_pre_hook(detach)
    found_gradients = gradients(model)
    hook.remove()
    return found_gradients


def test_as_many_as_there_are_or_more_is_the_whole_gradient(make_model: MakeModel) -> None:
    model = make_model(num_recurrences=3)
    whole = gradients(model)
    for count in (3, 9):
        assert all(map(torch.equal, gradients(model, num_backpropagated=count), whole))


def test_a_learned_initial_state_without_a_gradient_is_refused(make_model: MakeModel) -> None:
    model = make_model(initial_state="learned", num_recurrences=3)
    with pytest.raises(ValueError, match="gets no gradient when only the last 1 of 3 recurrences"):
        gradients(model, num_backpropagated=1)
    assert torch.equal(logits(model, num_backpropagated=1), logits(model))


def test_layers_computed_again_in_the_backward_pass_give_the_same_gradient(make_model: MakeModel) -> None:
    model = make_model(num_recurrences=3)
    kept = gradients(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert all(map(torch.equal, gradients(model), kept))
