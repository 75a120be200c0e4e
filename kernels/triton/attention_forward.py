"""The two kernels of attention's forward pass, and how they are launched.

    keys of a row    | split 0: tile tile tile … | split 1: tile tile tile … | split 2: tile
    `_partials`      online softmax over tiles -> (weighted values, peak, total) of each split, fp32
    `_merge`         splits in ascending order -> output, log-sum-exp

Splits and tiles lie at fixed positions of a sequence (`Tiles`), so a row's bits depend on that row and its keys alone.
A tile or split in which a row sees nothing leaves the row as it was, in all bits: its probabilities are exp(-inf) = 0,
and what was there is multiplied by exp(0) = 1. Which tiles a program walks for the sake of its other rows does not
matter, then, nor do the queries that share a chunk or a batch. Values must be finite: 0 · inf is not 0.

Scores and softmax are fp32; probabilities are rounded to the dtype of V before they meet it, their total is not.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from kernels.attention import Scores
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
from kernels.triton.primitives import dot, narrow

PARTIAL_BYTES = 64 * 2**20
"""Memory for partial results; queries beyond it wait for the next chunk. So small that they stay in a GPU's cache."""


@dataclass(frozen=True)
class PagedBatch:
    """Sequences whose keys and values lie in a paged cache; shapes as in `kernels.triton.attention.paged_attention`."""

    kv_cache: torch.Tensor
    block_table: torch.Tensor
    num_keys: torch.Tensor
    query_starts: torch.Tensor
    max_num_keys: int
    """No sequence has more keys."""


@dataclass(frozen=True)
class _Partials:
    """Of a chunk of query rows, fp32; the splits a row does not reach stay unwritten."""

    weighted: torch.Tensor
    """(rows, heads, splits, head_dim): values weighted by exp(score - peak)."""
    peaks: torch.Tensor
    """(rows, heads, splits): the largest score, -inf where the row sees nothing."""
    totals: torch.Tensor
    """(rows, heads, splits): the sum of exp(score - peak)."""


def paged_forward(
    query: torch.Tensor, batch: PagedBatch, scores: Scores, tiles: Tiles
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, like query, and the natural log of each row's sum of exponentials, (rows, heads) fp32."""
    query = query.contiguous()  # one alignment for all callers: Triton compiles other code for another
    out = torch.zeros_like(query)  # rows behind the last sequence: a captured graph runs with some
    log_sums = query.new_empty(query.shape[:2], dtype=torch.float32)
    partials = _empty_partials(query, triton.cdiv(batch.max_num_keys, tiles.split))
    chunk = len(partials.peaks)
    for first in range(0, len(query), chunk):
        last = min(first + chunk, len(query))
        _launch_partials(query, batch, scores, tiles, partials, first, last)
        _launch_merge(partials, batch, scores, tiles, out, log_sums, first, last)
    return out, log_sums


def _empty_partials(query: torch.Tensor, num_splits: int) -> _Partials:
    num_rows, num_heads, head_dim = query.shape
    row_bytes = 4 * num_heads * num_splits * (head_dim + 2)
    shape = max(1, min(num_rows, PARTIAL_BYTES // row_bytes)), num_heads, num_splits
    weighted, peaks, totals = (query.new_empty(*shape, *last, dtype=torch.float32) for last in ((head_dim,), (), ()))
    return _Partials(weighted, peaks, totals)


def _launch_partials(
    query: torch.Tensor,
    batch: PagedBatch,
    scores: Scores,
    tiles: Tiles,
    partials: _Partials,
    first: int,
    last: int,
) -> None:
    (_, num_heads, head_dim), num_kv_heads = query.shape, batch.kv_cache.shape[3]
    num_splits, group = partials.peaks.shape[2], num_heads // num_kv_heads
    num_sequences = len(batch.num_keys)
    num_tiles = _num_tiles(first, last, group, num_sequences, tiles)
    _partials[(num_tiles, num_kv_heads, num_splits)](
        query, batch.kv_cache, batch.block_table, batch.num_keys, batch.query_starts,
        partials.weighted, partials.peaks, partials.totals,
        first, last, num_sequences, num_splits, float(scores.scale), float(scores.soft_cap), scores.window or 0,
        batch.block_table.stride(0), *batch.kv_cache.stride()[:4],
        num_heads, group, head_dim, padded_dim(head_dim), batch.kv_cache.shape[2],
        tiles.tokens(group), tiles.rows, tiles.keys, tiles.split, scores.window is not None, scores.soft_cap != 0,
        num_warps=tiles.num_warps, **LAUNCH,
    )  # fmt: skip


def _launch_merge(
    partials: _Partials,
    batch: PagedBatch,
    scores: Scores,
    tiles: Tiles,
    out: torch.Tensor,
    log_sums: torch.Tensor,
    first: int,
    last: int,
) -> None:
    (_, num_heads, head_dim), num_kv_heads = out.shape, batch.kv_cache.shape[3]
    group, num_sequences = num_heads // num_kv_heads, len(batch.num_keys)
    _merge[(_num_tiles(first, last, group, num_sequences, tiles), num_kv_heads)](
        partials.weighted, partials.peaks, partials.totals, out, log_sums, batch.num_keys, batch.query_starts,
        first, last, num_sequences, partials.peaks.shape[2], scores.window or 0,
        num_heads, group, head_dim, padded_dim(head_dim),
        tiles.tokens(group), tiles.rows, tiles.split, scores.window is not None,
        num_warps=tiles.num_warps, **LAUNCH,
    )  # fmt: skip


def _num_tiles(first: int, last: int, group: int, num_sequences: int, tiles: Tiles) -> int:
    """Enough for every sequence to end in a tile that is not full; those that are left over find nothing to do."""
    return (last - first) // tiles.tokens(group) + num_sequences


@triton.jit(do_not_specialize=["first_row", "last_row", "num_sequences", "num_splits", "window", "table_stride"])
def _partials(  # type: ignore[no-untyped-def]
    query, kv_cache, block_table, num_keys, query_starts, weighted, peaks, totals,
    first_row, last_row, num_sequences, num_splits, scale, soft_cap, window,
    table_stride, block_stride, kv_stride, slot_stride, head_stride,
    HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, SPLIT: tl.constexpr,
    WINDOWED: tl.constexpr, CAPPED: tl.constexpr,
):  # fmt: skip
    """Program (tile, kv head, split): the split's partial result for the tile's query rows."""
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    sequence, row_start, row_end, to_position = _tile_at(
        query_starts, num_keys, num_sequences, first_row, last_row, TOKENS
    )
    key_start = tl.maximum(split * SPLIT, first_key(row_start + to_position, window, KEYS, WINDOWED))
    key_end = tl.minimum(split * SPLIT + SPLIT, row_end + to_position)
    if (row_start >= row_end) | (key_start >= key_end):
        return
    row, is_row, head = _rows_of(row_start, row_end, kv_head, HEADS, GROUP, TOKENS, ROWS)
    q = load_tile(query, head * HEAD_DIM, is_row, HEAD_DIM, DIM)
    peak = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, DIM), tl.float32)
    for key_tile in range(key_start, key_end, KEYS):
        key = key_tile + tl.arange(0, KEYS)
        exists = key < key_end
        block = tl.load(block_table + sequence * table_stride + key // BLOCK, mask=exists, other=0).to(tl.int64)
        slot = block * block_stride + (key % BLOCK) * slot_stride + kv_head * head_stride
        k = load_tile(kv_cache, slot, exists, HEAD_DIM, DIM)
        v = load_tile(kv_cache + kv_stride, slot, exists, HEAD_DIM, DIM)
        scores = scores_of(q, k, scale, soft_cap, ROWS, KEYS, CAPPED)
        visible = visible_keys((row + to_position)[:, None], key[None, :], window, WINDOWED)
        scores = tl.where(visible, scores, float("-inf"))
        peak, total, acc = _add_tile(peak, total, acc, scores, v)
    at = (head - first_row.to(tl.int64) * HEADS) * num_splits + split
    store_tile(weighted, at * HEAD_DIM, is_row, acc, HEAD_DIM, DIM)
    tl.store(peaks + at, peak, mask=is_row)
    tl.store(totals + at, total, mask=is_row)


@triton.jit
def _add_tile(peak, total, acc, scores, v):  # type: ignore[no-untyped-def]
    """Rows' softmax so far with the keys of one more tile: a step of the online softmax."""
    raised = tl.maximum(peak, tl.max(scores, 1))
    anchor = tl.where(raised == float("-inf"), 0.0, raised)  # before a row's first visible key: no inf - inf
    keep = tl.exp(peak - anchor)
    probs = tl.exp(scores - anchor[:, None])
    return raised, total * keep + tl.sum(probs, 1), dot(narrow(probs, v.dtype), v, acc * keep[:, None])


@triton.jit(do_not_specialize=["first_row", "last_row", "num_sequences", "num_splits", "window"])
def _merge(  # type: ignore[no-untyped-def]
    weighted, peaks, totals, out, log_sums, num_keys, query_starts,
    first_row, last_row, num_sequences, num_splits, window,
    HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, SPLIT: tl.constexpr, WINDOWED: tl.constexpr,
):  # fmt: skip
    """Program (tile, kv head): the tile's splits, in ascending order."""
    _sequence, row_start, row_end, to_position = _tile_at(
        query_starts, num_keys, num_sequences, first_row, last_row, TOKENS
    )
    if row_start >= row_end:
        return
    _row, is_row, head = _rows_of(row_start, row_end, tl.program_id(1), HEADS, GROUP, TOKENS, ROWS)
    past_end = (row_end + to_position + SPLIT - 1) // SPLIT
    peak = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, DIM), tl.float32)
    for split in range(first_key(row_start + to_position, window, SPLIT, WINDOWED) // SPLIT, past_end):
        at = (head - first_row.to(tl.int64) * HEADS) * num_splits + split
        split_peak = tl.load(peaks + at, mask=is_row, other=float("-inf"))
        raised = tl.maximum(peak, split_peak)
        anchor = tl.where(raised == float("-inf"), 0.0, raised)
        keep = tl.exp(peak - anchor)
        take = tl.exp(split_peak - anchor)
        total = total * keep + tl.load(totals + at, mask=is_row, other=0.0) * take
        split_acc = load_tile(weighted, at * HEAD_DIM, is_row, HEAD_DIM, DIM)
        acc = acc * keep[:, None] + split_acc * take[:, None]
        peak = raised
    total = tl.where(total > 0, total, 1.0)  # a tile's idle rows, and queries of an empty sequence
    result = acc / total[:, None] + 0.0  # -0 becomes 0: adding nothing turns one into the other
    store_tile(out, head * HEAD_DIM, is_row, narrow(result, out.dtype.element_ty), HEAD_DIM, DIM)
    tl.store(log_sums + head, peak + tl.log(total), mask=is_row)


@triton.jit
def _tile_at(  # type: ignore[no-untyped-def]
    query_starts, num_keys, num_sequences, first_row, last_row, TOKENS: tl.constexpr
):
    """Of program 0's tile: its sequence, its rows [start, end) and what makes a row a position in the sequence.

    A sequence's first tile has the number (rows of the chunk before it) // TOKENS + (sequences before it): found by
    bisection, without a table. Numbers that are left over get an empty tile.
    """
    low = 0
    high = num_sequences
    while low < high:
        middle = (low + high) // 2
        start = tl.minimum(tl.maximum(tl.load(query_starts + middle), first_row), last_row)
        if (start - first_row) // TOKENS + middle <= tl.program_id(0):
            low = middle + 1
        else:
            high = middle
    sequence = low - 1
    begin = tl.minimum(tl.maximum(tl.load(query_starts + sequence), first_row), last_row)
    end = tl.load(query_starts + sequence + 1)
    row_start = begin + (tl.program_id(0) - (begin - first_row) // TOKENS - sequence) * TOKENS
    row_end = tl.minimum(tl.minimum(row_start + TOKENS, end), last_row)
    return sequence, row_start, row_end, tl.load(num_keys + sequence) - end


@triton.jit
def _rows_of(  # type: ignore[no-untyped-def]
    row_start, row_end, kv_head,
    HEADS: tl.constexpr, GROUP: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Of a program's rows: the query row, whether there is one, and row · heads + head, int64."""
    index = tl.arange(0, ROWS)
    row = row_start + index // GROUP
    is_row = (index < TOKENS * GROUP) & (row < row_end)
    return row, is_row, row.to(tl.int64) * HEADS + kv_head * GROUP + index % GROUP
