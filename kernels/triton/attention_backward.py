"""The gradients of canonical attention, without atomics: every sum is one program's, in an order fixed by the layout.

    `_query_gradients`   a program per tile of queries, over tiles of keys in ascending order
    `_key_gradients`     a program per sequence and tile of its keys, over tiles of queries in ascending order
    `_sum_rows`          a program per row, over the sequences that read its key: a prompt's are its completions

Probabilities are computed again, from the forward's log-sum-exp. Everything is fp32 but the operands of the products,
which are rounded to the dtype of the inputs. Queries of grouped heads are rows of one tile, and so are summed in order.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels.attention import Scores
from kernels.triton.attention_layout import DeviceLayout
from kernels.triton.attention_tiles import (
    LAUNCH,
    Tiles,
    first_key,
    load_tile,
    padded_dim,
    scores_of,
    store_tile,
    visible_keys,
)
from kernels.triton.primitives import dot, narrow, widen

NUM_WARPS = 8
"""Two sums of a tile's size at once would spill the registers of fewer."""


def attention_gradients(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    log_sums: torch.Tensor,
    grad_out: torch.Tensor,
    tables: DeviceLayout,
    scores: Scores,
    tiles: Tiles,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of query, key and value, in their shapes and dtypes.

    out and log_sums, (rows, heads) fp32, are what the forward returned. Source: FlashAttention-2, Dao 2023, Algorithm 2
    with its two loops in two kernels.
    """
    query, key, value, out, grad_out = (t.contiguous() for t in (query, key, value, out, grad_out))
    (_, num_heads, head_dim), num_kv_heads = query.shape, key.shape[1]
    num_sequences, group = len(tables.num_keys), num_heads // num_kv_heads
    tokens = tiles.tokens(group)
    sizes = (
        num_kv_heads, group, head_dim, padded_dim(head_dim), tokens, tiles.rows, tiles.keys,
        scores.window is not None, scores.soft_cap != 0,
    )  # fmt: skip
    of_scores = float(scores.scale), float(scores.soft_cap), scores.window or 0
    options: dict[str, Any] = {"num_warps": NUM_WARPS, **LAUNCH}

    grad_query, deltas = torch.empty_like(query), torch.empty_like(log_sums)
    _query_gradients[(num_sequences, triton.cdiv(tables.max_length, tokens), num_kv_heads)](
        query, key, value, out, grad_out, log_sums, deltas, grad_query, tables.sequences, *of_scores, *sizes, **options
    )
    by_use = log_sums.new_empty(2, len(tables.key_rows), num_kv_heads, head_dim)
    _key_gradients[(num_sequences, triton.cdiv(tables.max_num_keys, tiles.keys), num_kv_heads)](
        query, key, value, grad_out, log_sums, deltas, *by_use, tables.sequences, *of_scores, *sizes, **options
    )
    grad_key, grad_value = (sum_uses(uses, like, tables) for uses, like in zip(by_use, (key, value), strict=True))
    return grad_query, grad_key, grad_value


def sum_uses(by_use: torch.Tensor, like: torch.Tensor, tables: DeviceLayout) -> torch.Tensor:
    """(K, kv_heads, head_dim) fp32, a gradient for each use of a row -> one for each row, like `like`."""
    total, width = torch.empty_like(like), like.shape[1] * like.shape[2]
    _sum_rows[(len(like),)](by_use, tables.uses, tables.use_starts, total, width, triton.next_power_of_2(width))
    return total


@triton.jit(do_not_specialize=["window"])
def _query_gradients(  # type: ignore[no-untyped-def]
    query, key, value, out, grad_out, log_sums, deltas, grad_query, sequences, scale, soft_cap, window,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, WINDOWED: tl.constexpr, CAPPED: tl.constexpr,
):  # fmt: skip
    """Program (sequence, tile of queries, kv head). Leaves each row's delta = out · grad_out for `_key_gradients`."""
    kv_head = tl.program_id(2)
    start, length, prefix_start, prefix_length, _first_use = _sequence(sequences, tl.program_id(0))
    token_start = tl.program_id(1) * TOKENS
    if token_start >= length:
        return
    token, is_row, head = _query_rows(token_start, start, length, kv_head, KV_HEADS, GROUP, TOKENS, ROWS)
    q = load_tile(query, head * HEAD_DIM, is_row, HEAD_DIM, DIM)
    g = load_tile(grad_out, head * HEAD_DIM, is_row, HEAD_DIM, DIM)
    log_sum = tl.load(log_sums + head, mask=is_row, other=0.0)
    delta = tl.sum(widen(g) * widen(load_tile(out, head * HEAD_DIM, is_row, HEAD_DIM, DIM)), 1)
    tl.store(deltas + head, delta, mask=is_row)
    position = prefix_length + token
    key_end = prefix_length + tl.minimum(token_start + TOKENS, length)
    grad = tl.zeros((ROWS, DIM), tl.float32)
    for key_tile in range(first_key(prefix_length + token_start, window, KEYS, WINDOWED), key_end, KEYS):
        index = key_tile + tl.arange(0, KEYS)
        at = _key_row(index, start, prefix_start, prefix_length) * KV_HEADS + kv_head
        k = load_tile(key, at * HEAD_DIM, index < key_end, HEAD_DIM, DIM)
        v = load_tile(value, at * HEAD_DIM, index < key_end, HEAD_DIM, DIM)
        visible = visible_keys(position[:, None], index[None, :], window, WINDOWED) & is_row[:, None]
        _probs, grad_scores = _score_gradients(
            q, k, g, v, log_sum[:, None], delta[:, None], visible, scale, soft_cap, ROWS, KEYS, CAPPED
        )
        grad = dot(narrow(grad_scores, k.dtype), k, grad)
    store_tile(grad_query, head * HEAD_DIM, is_row, narrow(grad, q.dtype), HEAD_DIM, DIM)


@triton.jit(do_not_specialize=["window"])
def _key_gradients(  # type: ignore[no-untyped-def]
    query, key, value, grad_out, log_sums, deltas, grad_key, grad_value, sequences, scale, soft_cap, window,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, WINDOWED: tl.constexpr, CAPPED: tl.constexpr,
):  # fmt: skip
    """Program (sequence, tile of keys, kv head): what the sequence's queries give to these keys and values."""
    kv_head = tl.program_id(2)
    start, length, prefix_start, prefix_length, first_use = _sequence(sequences, tl.program_id(0))
    key_start = tl.program_id(1) * KEYS
    if key_start >= prefix_length + length:
        return
    index = key_start + tl.arange(0, KEYS)
    exists = index < prefix_length + length
    at = _key_row(index, start, prefix_start, prefix_length) * KV_HEADS + kv_head
    k = load_tile(key, at * HEAD_DIM, exists, HEAD_DIM, DIM)
    v = load_tile(value, at * HEAD_DIM, exists, HEAD_DIM, DIM)
    grad_k = tl.zeros((KEYS, DIM), tl.float32)
    grad_v = tl.zeros((KEYS, DIM), tl.float32)
    first_token = tl.maximum(key_start - prefix_length, 0) // TOKENS * TOKENS
    past_token = length
    if WINDOWED:
        past_token = tl.minimum(length, key_start + KEYS - 1 + window - prefix_length)
    for token_start in range(first_token, past_token, TOKENS):
        token, is_row, head = _query_rows(token_start, start, length, kv_head, KV_HEADS, GROUP, TOKENS, ROWS)
        q = load_tile(query, head * HEAD_DIM, is_row, HEAD_DIM, DIM)
        g = load_tile(grad_out, head * HEAD_DIM, is_row, HEAD_DIM, DIM)
        log_sum = tl.load(log_sums + head, mask=is_row, other=0.0)
        delta = tl.load(deltas + head, mask=is_row, other=0.0)
        visible = visible_keys((prefix_length + token)[None, :], index[:, None], window, WINDOWED) & is_row[None, :]
        probs, grad_scores = _score_gradients(
            k, q, v, g, log_sum[None, :], delta[None, :], visible, scale, soft_cap, KEYS, ROWS, CAPPED
        )
        grad_v = dot(narrow(probs, g.dtype), g, grad_v)
        grad_k = dot(narrow(grad_scores, q.dtype), q, grad_k)
    use = ((first_use + index).to(tl.int64) * KV_HEADS + kv_head) * HEAD_DIM
    store_tile(grad_key, use, exists, grad_k, HEAD_DIM, DIM)
    store_tile(grad_value, use, exists, grad_v, HEAD_DIM, DIM)


@triton.jit
def _sum_rows(by_use, uses, use_starts, total, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Program (row): the sum over its uses, sequence after sequence."""
    row = tl.program_id(0)
    column = tl.arange(0, COLUMNS)
    inside = column < WIDTH
    acc = tl.zeros((COLUMNS,), tl.float32)
    for index in range(tl.load(use_starts + row), tl.load(use_starts + row + 1)):
        use = tl.load(uses + index).to(tl.int64)
        acc += tl.load(by_use + use * WIDTH + column, mask=inside, other=0.0)
    tl.store(total + row.to(tl.int64) * WIDTH + column, narrow(acc, total.dtype.element_ty), mask=inside)


@triton.jit
def _score_gradients(  # type: ignore[no-untyped-def]
    a, b, c, d, log_sum, delta, visible, scale, soft_cap, M: tl.constexpr, N: tl.constexpr, CAPPED: tl.constexpr
):
    """Probabilities and the gradient of q · k, both (M, N) fp32 and 0 where nothing is visible.

    a · b is q · k and c · d its partner grad_out · v, either way round; log_sum and delta lie along the queries.
    """
    scores = scores_of(a, b, scale, soft_cap, M, N, CAPPED)
    probs = tl.where(visible, tl.exp(scores - log_sum), 0.0)
    grad_probs = dot(c, tl.trans(d), tl.zeros((M, N), tl.float32))
    grad_scores = probs * (grad_probs - delta) * scale
    if CAPPED:
        share = scores / soft_cap
        grad_scores = grad_scores * (1.0 - share * share)  # d tanh = 1 - tanh²
    return probs, grad_scores


@triton.jit
def _sequence(sequences, index):  # type: ignore[no-untyped-def]
    """start, length, prefix_start, prefix_length and first use of a sequence."""
    at = sequences + index * 5
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3), tl.load(at + 4)


@triton.jit
def _query_rows(  # type: ignore[no-untyped-def]
    token_start, start, length, kv_head,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Of a tile's rows: the token in its sequence, whether there is one, and row · heads + head in the packed batch."""
    index = tl.arange(0, ROWS)
    token = token_start + index // GROUP
    is_row = (index < TOKENS * GROUP) & (token < length)
    head = (start + token).to(tl.int64) * (KV_HEADS * GROUP) + kv_head * GROUP + index % GROUP
    return token, is_row, head


@triton.jit
def _key_row(index, start, prefix_start, prefix_length):  # type: ignore[no-untyped-def]
    """int64: the row that holds a sequence's key number `index`."""
    return tl.where(index < prefix_length, prefix_start + index, start + index - prefix_length).to(tl.int64)
