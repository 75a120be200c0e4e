"""The recurrent-depth decoder (Geiping et al., arXiv 2502.05171, section 3) as Hugging Face modelling code.

    tokens ─ embed ─ prelude ─ e ──┬─────────┬─────── … ──┐
                                   ▼         ▼            ▼
                      s_0 ─ [adapter, core] ─ s_1 ─ … ─ s_r ─ coda ─ norm ─ head

The layers are Llama's, with two more norms each where the config asks for a sandwich. A layer that is run r times
keeps r sets of keys and values, so attention is split in two: projections, which a layer has once, and a `KVSlot`,
which has no weights, of which there is one for every (run, layer). vLLM's Transformers backend gives each slot a
cache of its own, and the seams reach projections and slots as they reach those of any other family.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel, initialization
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
    eager_attention_forward,
)
from transformers.utils.generic import can_return_tuple

from kernels.recurrent.configuration import RecurrentDepthConfig
from kernels.recurrent.depth import Depth


class KVSlot(nn.Module):
    """Attention of one layer in one run of it: no weights, and keys and values that are no other run's."""

    def __init__(self, config: RecurrentDepthConfig, layer_idx: int):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = True

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """(1, rows, heads, head_dim) or the same flat. query, key, value: (batch, heads, rows, head_dim)."""
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attention_interface: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, _ = attention_interface(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs
        )
        return attended


class RecurrentDepthAttention(nn.Module):
    """The projections of a layer's attention."""

    def __init__(self, config: RecurrentDepthConfig):
        super().__init__()
        self.head_dim = config.head_dim
        hidden, bias = config.hidden_size, config.attention_bias
        self.q_proj = nn.Linear(hidden, config.num_attention_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, config.num_key_value_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(hidden, config.num_key_value_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, hidden, bias=bias)

    def forward(
        self,
        hidden_states: torch.Tensor,
        slot: KVSlot,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        **kwargs: Any,
    ) -> torch.Tensor:
        """(batch, rows, hidden)."""
        input_shape = hidden_states.shape[:-1]
        hidden_shape = (*input_shape, -1, self.head_dim)
        query_states = self.q_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        key_states = self.k_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        value_states = self.v_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        cos, sin = position_embeddings
        query_states, key_states = apply_rotary_pos_emb(query_states, key_states, cos, sin)
        attended = slot(query_states, key_states, value_states, **kwargs)
        attended = attended.reshape(*input_shape, -1).contiguous()
        return self.o_proj(attended)


class RecurrentDepthLayer(GradientCheckpointingLayer):
    """Attention and MLP, each behind a norm; in a sandwich the residual stream is normalized behind them too."""

    def __init__(self, config: RecurrentDepthConfig):
        super().__init__()
        self.self_attn = RecurrentDepthAttention(config)
        self.mlp = LlamaMLP(config)
        self.input_layernorm = _norm(config)
        self.post_attention_layernorm = _norm(config)
        self.attention_residual_norm = _norm(config) if config.sandwich_norms else nn.Identity()
        self.mlp_residual_norm = _norm(config) if config.sandwich_norms else nn.Identity()

    def forward(self, hidden_states: torch.Tensor, slot: KVSlot, **kwargs: Any) -> torch.Tensor:
        """(batch, rows, hidden)."""
        attended = self.self_attn(self.input_layernorm(hidden_states), slot, **kwargs)
        hidden_states = self.attention_residual_norm(hidden_states + attended)
        thought = self.mlp(self.post_attention_layernorm(hidden_states))
        return self.mlp_residual_norm(hidden_states + thought)


class RecurrentDepthPreTrainedModel(PreTrainedModel):
    """What transformers asks about the family."""

    config: RecurrentDepthConfig
    config_class = RecurrentDepthConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["RecurrentDepthLayer"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _supports_sdpa = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        """As every family, and an adapter that adds the embedded input to the state."""
        super()._init_weights(module)
        if isinstance(module, RecurrentDepthModel):
            both = torch.eye(self.config.hidden_size).repeat(1, 2)
            initialization.copy_(module.adapter.weight, both)
            if module.initial_state is not None:
                initialization.normal_(module.initial_state, std=self.config.initializer_range)


class RecurrentDepthModel(RecurrentDepthPreTrainedModel):
    """The decoder without its head."""

    row_depths: torch.Tensor | None = None
    """(rows, 1) int64: how deep each row goes, at most as deep as the pass, and all rows of a sequence alike. Set by
    an engine that decodes sequences of different depths together."""

    def __init__(self, config: RecurrentDepthConfig):
        super().__init__(config)
        hidden = config.hidden_size
        # Without a padding index: its row would be zero, and the gradient of a norm of zeros is 1 / sqrt(eps) large,
        # which so many norms behind each other take to infinity.
        self.embed_tokens = nn.Embedding(config.vocab_size, hidden)
        self.prelude = _layers(config, config.num_prelude_layers)
        self.adapter = nn.Linear(2 * hidden, hidden, bias=False)
        self.core = _layers(config, config.num_core_layers)
        self.coda = _layers(config, config.num_coda_layers)
        self.norm = _norm(config)
        self.initial_state = nn.Parameter(torch.zeros(hidden)) if config.initial_state == "learned" else None
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.slots = nn.ModuleList(KVSlot(config, index) for index in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        num_recurrences: int | None = None,
        num_backpropagated: int | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The last hidden states (batch, rows, hidden), as every decoder of transformers gives them.

        num_recurrences, num_backpropagated: as in `Depth`; None is what the config says. A cache is of one depth: go on
        with it at the depth it was filled at.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds, and not both")
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()  # not of the config, whose depth this call need not have
        if position_ids is None:
            seen = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = (torch.arange(embedded.shape[1], device=embedded.device) + seen)[None]
        around = {
            "position_embeddings": self.rotary_emb(embedded, position_ids=position_ids),
            "attention_mask": create_causal_mask(
                config=self.config,
                inputs_embeds=embedded,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
            ),
            "past_key_values": past_key_values,
        }
        state = self._think(embedded, self._depth(num_recurrences, num_backpropagated), around | kwargs)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(state), past_key_values=past_key_values)

    def _think(self, embedded: torch.Tensor, depth: Depth, around: dict[str, Any]) -> torch.Tensor:
        """The state behind the coda."""
        slots, before, size = self._slots(depth), self.config.num_prelude_layers, self.config.num_core_layers
        embedded = _through(self.prelude, embedded, slots[:before], around)
        state = self._initial(embedded)
        for step in range(self._num_runs(depth)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and step >= depth.num_detached):
                own, mixed = slots[before + step * size :][:size], self.adapter(torch.cat([state, embedded], dim=-1))
                thought = _through(self.core, mixed, own, around)
                state = thought if self.row_depths is None else torch.where(self.row_depths > step, thought, state)
        return _through(self.coda, state, slots[before + depth.num_recurrences * size :], around)

    def _num_runs(self, depth: Depth) -> int:
        return depth.num_recurrences if self.row_depths is None else int(self.row_depths.max())

    def _initial(self, embedded: torch.Tensor) -> torch.Tensor:
        if self.config.initial_state == "prelude":
            return embedded
        if self.initial_state is None:
            return torch.zeros_like(embedded)
        return self.initial_state.expand_as(embedded)

    def _depth(self, num_recurrences: int | None, num_backpropagated: int | None) -> Depth:
        """Raises ValueError where a learned initial state would be trained without a gradient."""
        config = self.config
        depth = Depth(
            config.num_recurrences if num_recurrences is None else num_recurrences,
            config.num_backpropagated if num_backpropagated is None else num_backpropagated,
        )
        if depth.num_detached and self.initial_state is not None and torch.is_grad_enabled():
            raise ValueError(
                f"a learned initial state gets no gradient when only the last {depth.num_backpropagated} of "
                f"{depth.num_recurrences} recurrences have one; back-propagate through all of them, or set "
                "initial_state to zero or prelude"
            )
        return depth

    def _slots(self, depth: Depth) -> list[nn.Module]:
        """A slot for every layer that will be run, in the order of the runs; made where there are too few."""
        count = self.config.num_slots(depth.num_recurrences)
        for index in range(len(self.slots), count):
            self.slots.append(KVSlot(self.config, index))
        return list(self.slots)[:count]


class RecurrentDepthForCausalLM(RecurrentDepthPreTrainedModel, GenerationMixin):
    """The decoder and its head."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: RecurrentDepthConfig):
        super().__init__(config)
        self.model = RecurrentDepthModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        num_recurrences: int | None = None,
        num_backpropagated: int | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (batch, rows, vocabulary), and the loss where there are labels; the depth as in the decoder."""
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            num_recurrences=num_recurrences,
            num_backpropagated=num_backpropagated,
            **kwargs,
        )
        rows = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, rows, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)


def _norm(config: RecurrentDepthConfig) -> nn.Module:
    norm: nn.Module = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
    return norm


def _layers(config: RecurrentDepthConfig, count: int) -> nn.ModuleList:
    return nn.ModuleList(RecurrentDepthLayer(config) for _ in range(count))


def _through(
    layers: nn.ModuleList, state: torch.Tensor, slots: Sequence[nn.Module], around: dict[str, Any]
) -> torch.Tensor:
    for layer, slot in zip(layers, slots, strict=True):
        state = layer(state, slot, **around)
    return state
