"""Canonical attention: causal, over packed sequences that may share a prefix, by the paged kernel vLLM decodes with.

A group of rollouts is packed as its prompt once and its completions behind it:

    rows   [ prompt | completion 0 | completion 1 | … ]
    keys   prompt: itself            completion i: prompt, then itself

so a prompt is computed once, however many rollouts it has. The forward is vLLM's paged CPU kernel, held to one way of
walking the keys: its KV split is off, and it is never given more queries of a sequence at once than it keeps in
registers (`tile_queries`), because the length of its key tiles depends on that. Then a row's bits depend on that row
and its keys alone: a prefill, whole or in chunks, a decode step and this packed form agree at any length. The backward
recomputes the probabilities in fp32.
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch

from kernels.cpu_library import cpu_ops

BLOCK_SIZE = 32
"""Rows of a KV block, here and in the engine. The smallest the kernel likes: short prompts then share prefixes, too."""
QUERY_HEADS = 8
"""Query heads, over all tokens of a tile, that every variant of the kernel takes in one go."""
MAX_BUNDLE_SCORES = 2 * 1024 * 1024
"""Attention scores per head that a backward bundle may hold, padding counted; a lone sequence may exceed it."""


@dataclass(frozen=True)
class Sequence:
    """Rows [start, start + length) attend, causally, to `prefix_length` rows from `prefix_start` on and themselves."""

    start: int
    length: int
    prefix_start: int = 0
    prefix_length: int = 0

    @property
    def num_keys(self) -> int:
        return self.prefix_length + self.length

    @property
    def key_rows(self) -> torch.Tensor:
        """(num_keys,) int64."""
        prefix = torch.arange(self.prefix_start, self.prefix_start + self.prefix_length)
        return torch.cat([prefix, torch.arange(self.start, self.start + self.length)])


@dataclass(frozen=True)
class PackedLayout:
    """Which rows of a packed batch form which sequence. Sequences are in row order and cover every row once."""

    sequences: tuple[Sequence, ...]

    @property
    def num_rows(self) -> int:
        return sum(sequence.length for sequence in self.sequences)

    @cached_property
    def positions(self) -> torch.Tensor:
        """(rows,) int64: each row's position in its sequence, prefix counted."""
        return torch.cat([torch.arange(s.prefix_length, s.num_keys) for s in self.sequences])

    @cached_property
    def key_rows(self) -> torch.Tensor:
        """(sum of num_keys,) int64: the rows that fill the KV cache, sequence after sequence."""
        return torch.cat([sequence.key_rows for sequence in self.sequences])

    @cached_property
    def slots(self) -> torch.Tensor:
        """(sum of num_keys,) int64: the cache slot of each of `key_rows`."""
        first = self.first_blocks * BLOCK_SIZE
        return torch.cat([start + torch.arange(s.num_keys) for start, s in zip(first, self.sequences, strict=True)])

    @cached_property
    def num_blocks(self) -> torch.Tensor:
        """(sequences,) int64."""
        return torch.tensor([-(-sequence.num_keys // BLOCK_SIZE) for sequence in self.sequences])

    @cached_property
    def first_blocks(self) -> torch.Tensor:
        """(sequences,) int64."""
        return self.num_blocks.cumsum(0) - self.num_blocks

    @cached_property
    def block_table(self) -> torch.Tensor:
        """(sequences, blocks) int32."""
        steps = torch.arange(int(self.num_blocks.max()))
        used = steps < self.num_blocks[:, None]
        return ((self.first_blocks[:, None] + steps) * used).to(torch.int32)

    @cached_property
    def num_keys(self) -> torch.Tensor:
        """(sequences,) int32."""
        return torch.tensor([sequence.num_keys for sequence in self.sequences], dtype=torch.int32)

    @cached_property
    def query_starts(self) -> torch.Tensor:
        """(sequences + 1,) int32."""
        return torch.tensor([s.start for s in self.sequences] + [self.num_rows], dtype=torch.int32)

    @cached_property
    def bundles(self) -> list["_Bundle"]:
        """Neighbouring sequences, padded to common lengths, for the backward pass."""
        return _bundles(self.sequences)


@dataclass(frozen=True)
class Scores:
    """How a layer turns q · k into a score, and which keys it sees."""

    scale: float
    window: int | None = None
    """A query sees itself and the `window - 1` keys before it; None sees all."""
    soft_cap: float = 0.0
    """Scores become soft_cap · tanh(score / soft_cap); 0 leaves them."""


@dataclass(frozen=True)
class _Bundle:
    query_rows: torch.Tensor
    """(S, Q) int64, padding points at row 0."""
    key_rows: torch.Tensor
    """(S, L) int64, padding points at row 0."""
    is_query: torch.Tensor
    """(S, Q) bool."""
    distance: torch.Tensor
    """(S, 1, Q, L) int64: how many positions a key lies before its query."""
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)
    """By window, made once for all layers."""

    def visible(self, window: int | None) -> torch.Tensor:
        """(S, 1, Q, L) bool; every padded query sees key 0, so that no row of the softmax is empty."""
        if window not in self.masks:
            seen = self.distance >= 0
            if window is not None:
                seen &= self.distance < window
            queries = self.is_query[:, None, :, None]
            self.masks[window] = (seen & queries) | (~queries & (torch.arange(self.distance.shape[-1]) == 0))
        return self.masks[window]


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackedLayout, scores: Scores
) -> torch.Tensor:
    """Causal attention with the canonical bits, differentiable.

    query: (rows, heads, head_dim); key, value: (rows, kv_heads, head_dim), bf16 or fp32; returns like query.
    Grouped-query attention: head h reads kv head h // (heads / kv_heads).
    """
    return _Attention.apply(query, key, value, layout, scores)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, layout, scores):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(query, key, value)
        ctx.layout, ctx.scores = layout, scores
        return _paged_forward(query, key, value, layout, scores)

    @staticmethod
    def backward(ctx, grad_out):  # type: ignore[no-untyped-def]
        saved = ctx.saved_tensors  # read once: under gradient checkpointing each reading computes the layer again
        query, key, value = (t.float() for t in saved)
        grads = tuple(torch.zeros_like(t) for t in (query, key, value))
        for bundle in ctx.layout.bundles:
            _bundle_backward(query, key, value, grad_out.float(), bundle, ctx.scores, grads)
        return *(grad.to(t.dtype) for grad, t in zip(grads, saved, strict=True)), None, None


def query_tile(num_heads: int, num_kv_heads: int) -> int:
    """Query tokens of one sequence that the kernel may be given at once.

    It takes the query heads of a kv head together where their number divides what fits its registers (8 to 32, by
    variant), and one by one otherwise.
    """
    heads_together = num_heads // num_kv_heads
    return max(1, QUERY_HEADS // heads_together) if 32 % heads_together == 0 else QUERY_HEADS


def tile_queries(
    query_starts: torch.Tensor, num_keys: torch.Tensor, block_table: torch.Tensor, tile: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same queries as more sequences of at most `tile` queries, each with the keys up to its last one.

    query_starts: (S + 1,) int32; num_keys: (S,) int32, whose last rows are the queries; block_table: (S, blocks) int32.
    Returns the three for the tiles, in order.
    """
    lengths = query_starts.diff()
    if int(lengths.max()) <= tile:
        return query_starts, num_keys, block_table
    num_tiles = (lengths + tile - 1) // tile
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), num_tiles)
    offset = (torch.arange(len(sequence)) - (num_tiles.cumsum(0) - num_tiles)[sequence]) * tile
    starts = query_starts[sequence] + offset
    ends = torch.minimum(starts + tile, query_starts[sequence + 1])
    keys = num_keys[sequence] - (query_starts[sequence + 1] - ends)
    starts = torch.cat([starts, query_starts[-1:]])
    return starts.to(torch.int32), keys.to(torch.int32), block_table[sequence]


def attention_isa(dtype: torch.dtype, head_dim: int) -> str:
    """The variant of vLLM's kernel that its engine picks on x86 for this dtype and head size: part of the contract."""
    if head_dim % 32 != 0:
        return "vec16"
    return "amx" if dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported() else "vec"


def _paged_forward(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackedLayout, scores: Scores
) -> torch.Tensor:
    ops = cpu_ops()
    (_, num_heads, head_dim), num_kv_heads = query.shape, key.shape[1]
    isa = attention_isa(query.dtype, head_dim)
    num_blocks = int(layout.num_blocks.sum())
    cache = torch.zeros(num_blocks, num_kv_heads, 2 * BLOCK_SIZE, head_dim, dtype=query.dtype)
    key_cache, value_cache = cache.chunk(2, dim=2)
    rows, slots = layout.key_rows, layout.slots
    ops.cpu_attn_reshape_and_cache(key[rows], value[rows], key_cache, value_cache, slots, isa, 1.0, 1.0, "auto")
    window = -1 if scores.window is None else scores.window
    tile = query_tile(num_heads, num_kv_heads)
    starts, num_keys, table = tile_queries(layout.query_starts, layout.num_keys, layout.block_table, tile)
    plan = ops.get_scheduler_metadata(
        len(num_keys), num_heads, num_kv_heads, head_dim, num_keys, query.dtype, starts,
        True, window, isa, False, None, "auto",
    )  # fmt: skip
    out = torch.empty_like(query)
    ops.cpu_attention_with_kv_cache(
        query, key_cache, value_cache, out, starts, num_keys, scores.scale, True, None, window,
        table, scores.soft_cap, plan, None, None, 1.0, 1.0, "auto",
    )  # fmt: skip
    return out


def _bundle_backward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    grad_out: torch.Tensor,
    bundle: _Bundle,
    scores: Scores,
    grads: tuple[torch.Tensor, ...],
) -> None:
    """Adds the gradients of one bundle's sequences to `grads`; all fp32."""
    repeats = query.shape[1] // key.shape[1]
    q, g = (t[bundle.query_rows].transpose(1, 2) for t in (query, grad_out))  # (S, H, Q, D)
    k, v = (t[bundle.key_rows].transpose(1, 2).repeat_interleave(repeats, dim=1) for t in (key, value))  # (S, H, L, D)
    g = g * bundle.is_query[:, None, :, None]
    raw = torch.matmul(q, k.transpose(2, 3)).mul_(scores.scale)
    capped = _capped(raw, scores.soft_cap)
    probs = capped.masked_fill(~bundle.visible(scores.window), float("-inf")).softmax(-1)
    grad_probs = torch.matmul(g, v.transpose(2, 3))
    grad_scores = probs * (grad_probs - (grad_probs * probs).sum(-1, keepdim=True)) * scores.scale
    if scores.soft_cap:
        grad_scores *= 1 - (capped / scores.soft_cap).square()  # d tanh = 1 - tanh²
    grad_q = torch.matmul(grad_scores, k)
    grad_k = _sum_heads(torch.matmul(grad_scores.transpose(2, 3), q), repeats)
    grad_v = _sum_heads(torch.matmul(probs.transpose(2, 3), g), repeats)
    # Padding points at row 0 and carries zeros: padded queries have g = 0, padded keys probability 0.
    for total, rows, part in zip(
        grads, (bundle.query_rows, *[bundle.key_rows] * 2), (grad_q, grad_k, grad_v), strict=True
    ):
        total.index_add_(0, rows.flatten(), part.transpose(1, 2).flatten(0, 1))


def _capped(raw: torch.Tensor, soft_cap: float) -> torch.Tensor:
    return soft_cap * torch.tanh(raw / soft_cap) if soft_cap else raw


def _sum_heads(grad: torch.Tensor, repeats: int) -> torch.Tensor:
    return grad.unflatten(1, (-1, repeats)).sum(2)


def _bundles(sequences: tuple[Sequence, ...]) -> list[_Bundle]:
    """Prompts with prompts and completions with completions, cut where the padded scores would grow too large."""
    bundles = []
    for has_prefix in (False, True):
        current: list[Sequence] = []
        for sequence in (s for s in sequences if (s.prefix_length > 0) is has_prefix):
            if current and _num_scores([*current, sequence]) > MAX_BUNDLE_SCORES:
                bundles.append(_bundle(current))
                current = []
            current.append(sequence)
        if current:
            bundles.append(_bundle(current))
    return bundles


def _num_scores(sequences: list[Sequence]) -> int:
    return len(sequences) * max(s.length for s in sequences) * max(s.num_keys for s in sequences)


def _bundle(sequences: list[Sequence]) -> _Bundle:
    pad = torch.nn.utils.rnn.pad_sequence
    query_rows = pad([torch.arange(s.start, s.start + s.length) for s in sequences], batch_first=True)
    key_rows = pad([s.key_rows for s in sequences], batch_first=True)
    queries, keys = torch.arange(query_rows.shape[1]), torch.arange(key_rows.shape[1])
    lengths = torch.tensor([s.length for s in sequences])
    prefixes = torch.tensor([s.prefix_length for s in sequences])
    is_query = queries < lengths[:, None]
    distance = prefixes[:, None, None] + queries[:, None] - keys
    return _Bundle(query_rows, key_rows, is_query, distance[:, None])


def attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackedLayout, scores: Scores
) -> torch.Tensor:
    """The same attention in float64, a sequence at a time, as plain torch. Shapes as in `attention`."""
    repeats = query.shape[1] // key.shape[1]
    out = []
    for s in layout.sequences:
        q = query[s.start : s.start + s.length].double().transpose(0, 1)
        k, v = (t[s.key_rows].double().transpose(0, 1).repeat_interleave(repeats, dim=0) for t in (key, value))
        distance = torch.arange(s.prefix_length, s.num_keys)[:, None] - torch.arange(s.num_keys)
        hidden = distance < 0
        if scores.window is not None:
            hidden |= distance >= scores.window
        capped = _capped(q @ k.transpose(1, 2) * scores.scale, scores.soft_cap)
        out.append((capped.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(out)
