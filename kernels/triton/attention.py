"""Canonical attention on CUDA: prefill, whole or in chunks, decode and the trainer's packed form, with the same bits.

Keys are read through a block table from a paged cache of shape (blocks, 2, block_size, kv_heads, head_dim), K at 0 and
V at 1: vLLM's form on CUDA. The trainer lays its packed rows into such a cache and runs the very kernels an engine
runs (`kernels.triton.attention_forward`); its backward is `kernels.triton.attention_backward`.
"""

import torch
import triton
import triton.language as tl

from kernels.attention import BLOCK_SIZE, PackedLayout, Scores
from kernels.triton.attention_backward import attention_gradients
from kernels.triton.attention_forward import PagedBatch, paged_forward
from kernels.triton.attention_layout import DeviceLayout, layout_on
from kernels.triton.attention_tiles import Tiles, canonical_tiles


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: PackedLayout,
    scores: Scores,
    *,
    tiles: Tiles | None = None,
) -> torch.Tensor:
    """Causal attention with the canonical bits, differentiable.

    query: (rows, heads, head_dim); key, value: (rows, kv_heads, head_dim), bf16 or fp32; returns like query.
    Grouped-query attention: head h reads kv head h // (heads / kv_heads). tiles: those of the contract unless given.
    Raises ValueError for other shapes and dtypes.
    """
    _check_dtypes(query, key, value)
    if not len(query) == len(key) == len(value) == layout.num_rows:
        raise ValueError(
            f"queries ({len(query)} rows), keys ({len(key)}) and values ({len(value)}) must have the "
            f"{layout.num_rows} rows of the layout"
        )
    return _Attention.apply(query, key, value, layout, scores, tiles or _tiles_for(query, key.shape[1]))


def paged_attention(
    query: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    num_keys: torch.Tensor,
    query_starts: torch.Tensor,
    scores: Scores,
    *,
    max_num_keys: int | None = None,
    tiles: Tiles | None = None,
) -> torch.Tensor:
    """The same bits for an engine, whose keys and values lie in a paged cache, those of the queries with them.

    query: (rows, heads, head_dim), the last tokens of each sequence; kv_cache: (blocks, 2, block_size, kv_heads,
    head_dim); block_table: (S, blocks) int32; num_keys: (S,) int32, queries counted; query_starts: (S + 1,) int32.
    Returns like query; rows behind the last sequence become zeros. max_num_keys: at least the largest of num_keys, by
    default what the block table has room for; a tighter one saves time and changes no bit. Nothing is read back to the
    host, so the call can be captured in a CUDA graph. Raises ValueError for other shapes and dtypes.
    """
    _check_dtypes(query, kv_cache)
    _check_cache(kv_cache)
    room = max_num_keys or block_table.shape[1] * kv_cache.shape[2]
    batch = PagedBatch(kv_cache, block_table, num_keys, query_starts, room)
    return paged_forward(query, batch, scores, tiles or _tiles_for(query, kv_cache.shape[3]))[0]


def write_cache(key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, slots: torch.Tensor) -> None:
    """Stores row i of key and value, (rows, kv_heads, head_dim), in slot slots[i] of a cache of the same dtype.

    Slot s is row s % block_size of block s // block_size. slots: (rows,) int64, each used once; a row whose slot is
    negative is left out. Raises ValueError for other dtypes.
    """
    _check_dtypes(key, value, kv_cache)
    _check_cache(kv_cache)
    num_rows, num_kv_heads, head_dim = key.shape
    width = num_kv_heads * head_dim
    if num_rows:
        _write[(num_rows,)](
            key.contiguous(), value.contiguous(), kv_cache, slots, *kv_cache.stride()[:4],
            head_dim, kv_cache.shape[2], width, triton.next_power_of_2(width),
        )  # fmt: skip


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, layout, scores, tiles):  # type: ignore[no-untyped-def]
        tables = layout_on(layout, query.device)
        out, log_sums = paged_forward(query, _cached(key, value, tables), scores, tiles)
        ctx.save_for_backward(query, key, value, out, log_sums)
        ctx.tables, ctx.scores, ctx.tiles = tables, scores, tiles
        return out

    @staticmethod
    def backward(ctx, grad_out):  # type: ignore[no-untyped-def]
        # Read once: under gradient checkpointing each reading computes the layer again.
        query, key, value, out, log_sums = ctx.saved_tensors
        grads = attention_gradients(query, key, value, out, log_sums, grad_out, ctx.tables, ctx.scores, ctx.tiles)
        return *grads, None, None, None


def _check_dtypes(*tensors: torch.Tensor) -> None:
    dtypes = [tensor.dtype for tensor in tensors]
    if dtypes[0] not in (torch.bfloat16, torch.float32) or len(set(dtypes)) > 1:
        raise ValueError(f"canonical attention takes tensors of one dtype, bfloat16 or float32, got {dtypes}")


def _check_cache(kv_cache: torch.Tensor) -> None:
    if kv_cache.dim() != 5 or kv_cache.shape[1] != 2 or kv_cache.stride(4) != 1:
        raise ValueError(
            "a KV cache is (blocks, 2, block_size, kv_heads, head_dim) with heads in one piece, "
            f"got shape {tuple(kv_cache.shape)} and strides {kv_cache.stride()}"
        )


def _tiles_for(query: torch.Tensor, num_kv_heads: int) -> Tiles:
    _, num_heads, head_dim = query.shape
    if num_heads % num_kv_heads:
        raise ValueError(f"{num_heads} query heads do not divide among {num_kv_heads} kv heads")
    return canonical_tiles(query.dtype, head_dim, num_heads // num_kv_heads)


def _cached(key: torch.Tensor, value: torch.Tensor, tables: DeviceLayout) -> PagedBatch:
    """A prefix is copied once for each sequence that reads it: blocks of the cache begin where sequences do."""
    kv_cache = key.new_empty(tables.num_blocks, 2, BLOCK_SIZE, *key.shape[1:])
    write_cache(key[tables.key_rows], value[tables.key_rows], kv_cache, tables.slots)
    return PagedBatch(kv_cache, tables.block_table, tables.num_keys, tables.query_starts, tables.max_num_keys)


@triton.jit
def _write(  # type: ignore[no-untyped-def]
    key, value, kv_cache, slots, block_stride, kv_stride, slot_stride, head_stride,
    HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Program (row): all its kv heads."""
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row)
    if slot < 0:
        return
    column = tl.arange(0, COLUMNS)
    inside = column < WIDTH
    to = slot // BLOCK * block_stride + slot % BLOCK * slot_stride
    to = to + column // HEAD_DIM * head_stride + column % HEAD_DIM
    tl.store(kv_cache + to, tl.load(key + row * WIDTH + column, mask=inside), mask=inside)
    tl.store(kv_cache + kv_stride + to, tl.load(value + row * WIDTH + column, mask=inside), mask=inside)
