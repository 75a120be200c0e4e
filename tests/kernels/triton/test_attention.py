import pytest
import torch
import triton
import triton.language as tl

import kernels.triton.attention_forward
from kernels.attention import PackedLayout, Scores, Sequence, attention_reference
from kernels.triton.attention import attention, paged_attention, write_cache
from kernels.triton.attention_forward import _add_tile
from kernels.triton.attention_tiles import Tiles
from kernels.triton.runtime import DEVICE

HEADS, KV_HEADS, HEAD_DIM = 2, 1, 16
TILES = Tiles(rows=32, keys=16, split=32)
"""So small that 50 keys take two splits, each of two tiles."""
BOUND = 2.0**-22 if DEVICE == "cpu" else 2.0**-20
"""A few roundings of fp32. CUDA takes 2^(x · log2 e) for an exponential: the product's error grows with x."""
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
EVERY_KIND = pytest.mark.parametrize(
    "scores",
    [Scores(0.25), Scores(0.25, window=9), Scores(0.3, window=40), Scores(1.0, soft_cap=3.0), Scores(0.5, 21, 2.0)],
    ids=["causal", "window9", "window40", "soft_cap", "window21_soft_cap"],
)
TWO_KINDS = pytest.mark.parametrize("scores", [Scores(0.25), Scores(0.5, 21, 2.0)], ids=["causal", "window21_soft_cap"])
MIXED = PackedLayout(
    (
        Sequence(0, 3),
        Sequence(3, 2, 0, 3),
        Sequence(5, 36),  # a prompt that ends inside a tile and a block
        Sequence(41, 14, 5, 36),  # and a completion that begins there
        Sequence(55, 1),  # nothing but itself
    )
)


def inputs(num_rows, dtype=torch.float32, heads=HEADS, kv_heads=KV_HEADS, head_dim=HEAD_DIM):
    """query, key, value."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(num_rows, h, head_dim, generator=generator).to(DEVICE, dtype) for h in (heads, kv_heads, kv_heads)
    )


def relative_error(out, expected):
    return float((out.cpu().double() - expected).norm() / expected.norm())


def reference(query, key, value, layout, scores):
    return attention_reference(query.cpu(), key.cpu(), value.cpu(), layout, scores)


def packed(num_rows):
    return PackedLayout((Sequence(0, num_rows),))


def int32(numbers):
    return torch.tensor(numbers, dtype=torch.int32, device=DEVICE)


def cache_of(key, value, block_size=16):
    """A cache in which everything that was not written is NaN, and its block table: blocks in descending order."""
    num_blocks = -(-len(key) // block_size)
    kv_cache = key.new_full((num_blocks + 1, 2, block_size, *key.shape[1:]), float("nan"))
    table = num_blocks - torch.arange(num_blocks)
    position = torch.arange(len(key))
    slots = table[position // block_size] * block_size + position % block_size
    write_cache(key, value, kv_cache, slots.to(DEVICE))
    return kv_cache, int32([table.tolist()])


@triton.jit
def add_one_tile(peaks, totals, sums, scores, values, SIZE: tl.constexpr):
    """SIZE rows, keys and dimensions; the state is replaced."""
    index = tl.arange(0, SIZE)
    square = index[:, None] * SIZE + index[None, :]
    peak, total, acc = _add_tile(
        tl.load(peaks + index), tl.load(totals + index), tl.load(sums + square),
        tl.load(scores + square), tl.load(values + square),
    )  # fmt: skip
    tl.store(peaks + index, peak)
    tl.store(totals + index, total)
    tl.store(sums + square, acc)


@DTYPES
def test_a_tile_in_which_a_row_sees_nothing_leaves_it_as_it_was(dtype):
    generator = torch.Generator().manual_seed(0)
    sums, scores, values = (torch.randn(16, 16, generator=generator).to(DEVICE) for _ in range(3))
    peaks, totals = scores.amax(1) + 1, scores.exp().sum(1)
    peaks[:4], totals[:4], sums[:4] = float("-inf"), 0, 0  # rows that have seen nothing at all yet
    scores[::2] = float("-inf")
    before = [t.clone() for t in (peaks, totals, sums)]
    add_one_tile[(1,)](peaks, totals, sums, scores, values.to(dtype), 16)
    for old, changed in zip(before, (peaks, totals, sums), strict=True):
        assert torch.equal(changed[::2], old[::2])
    assert not torch.equal(totals[1::2], before[1][1::2])


@EVERY_KIND
def test_fp32_is_the_float64_reference_to_rounding(scores):
    tensors = inputs(MIXED.num_rows)
    out = attention(*tensors, MIXED, scores, tiles=TILES)
    assert relative_error(out, reference(*tensors, MIXED, scores)) < BOUND


@TWO_KINDS
def test_bf16_is_off_by_little_more_than_rounding_the_exact_output(scores):
    tensors = inputs(MIXED.num_rows, torch.bfloat16)
    out = attention(*tensors, MIXED, scores, tiles=TILES)
    expected = reference(*tensors, MIXED, scores)
    assert out.dtype == torch.bfloat16
    # Probabilities are rounded, too, and their errors average out over the keys of a row.
    assert relative_error(out, expected) < 1.2 * relative_error(expected.to(torch.bfloat16), expected)


def test_grouped_heads_that_fill_a_tile_unevenly_and_a_head_size_between_powers_of_two():
    tensors = inputs(19, heads=6, kv_heads=2, head_dim=24)
    tiles = Tiles(rows=16, keys=16, split=16)  # five tokens of three heads, one idle row
    out = attention(*tensors, packed(19), Scores(0.2), tiles=tiles)
    assert relative_error(out, reference(*tensors, packed(19), Scores(0.2))) < BOUND


def test_the_tiles_of_the_contract_hold_the_reference():
    tensors = inputs(9)
    out = attention(*tensors, packed(9), Scores(0.25))
    assert relative_error(out, reference(*tensors, packed(9), Scores(0.25))) < BOUND


@DTYPES
@TWO_KINDS
def test_prefill_chunks_decode_steps_and_rows_behind_a_shared_prompt_have_the_same_bits(dtype, scores):
    query, key, value = inputs(50, dtype)
    whole = attention(query, key, value, packed(50), scores, tiles=TILES)
    shared = PackedLayout((Sequence(0, 36), Sequence(36, 14, 0, 36)))
    assert torch.equal(attention(query, key, value, shared, scores, tiles=TILES), whole)
    kv_cache, table = cache_of(key, value)

    def paged(rows, num_keys, query_starts):
        tables = table.expand(len(num_keys), -1).contiguous()
        return paged_attention(query[rows], kv_cache, tables, int32(num_keys), int32(query_starts), scores, tiles=TILES)

    assert torch.equal(paged(range(50), [13, 17, 50], [0, 13, 17, 50]), whole)
    decoded = [0, 15, 16, 31, 32, 49]
    assert torch.equal(paged(decoded, [position + 1 for position in decoded], range(7)), whole[decoded])


@DTYPES
def test_tokens_decoded_one_by_one_into_a_cache_have_the_bits_of_the_prefill(dtype):
    query, key, value = inputs(33, dtype)
    whole = attention(query, key, value, packed(33), Scores(0.25), tiles=TILES)
    kv_cache, table = cache_of(key[:30], value[:30], block_size=32)
    kv_cache = torch.cat([kv_cache, torch.full_like(kv_cache[:1], float("nan"))])
    table = torch.cat([table, int32([[2]])], dim=1)
    for position in range(30, 33):
        slot = int(table[0, position // 32]) * 32 + position % 32
        row = slice(position, position + 1)
        write_cache(key[row], value[row], kv_cache, torch.tensor([slot], device=DEVICE))
        step = paged_attention(
            query[row], kv_cache, table, int32([position + 1]), int32([0, 1]), Scores(0.25), tiles=TILES
        )
        assert torch.equal(step, whole[row]), position


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@DTYPES
def test_neighbours_in_the_batch_leave_a_row_alone_even_if_they_are_not_numbers(dtype):
    query, key, value = inputs(MIXED.num_rows, dtype)
    expected = attention(query[5:41], key[5:41], value[5:41], packed(36), Scores(0.25), tiles=TILES)
    for tensor in (query, key, value):
        tensor[:5] = float("nan")
        tensor[41:] = float("nan")
    assert torch.equal(attention(query, key, value, MIXED, Scores(0.25), tiles=TILES)[5:41], expected)


@pytest.mark.skipif(DEVICE == "cuda", reason="another tile is other machine code there, which the contract fixes")
@DTYPES
def test_the_query_tile_decides_no_bit(dtype):
    tensors = inputs(40, dtype)
    small, large = (
        attention(*tensors, packed(40), Scores(0.5, 9, 2.0), tiles=Tiles(rows, 16, 32)) for rows in (16, 128)
    )
    assert torch.equal(small, large)


def test_the_split_decides_bits_and_is_crossed():
    tensors = inputs(50)
    one, two = (attention(*tensors, packed(50), Scores(0.25), tiles=Tiles(32, 16, split)) for split in (64, 32))
    assert torch.equal(one[:32], two[:32])
    assert not torch.equal(one[32:], two[32:])


def test_queries_that_wait_for_memory_have_the_same_bits(monkeypatch):
    tensors = inputs(MIXED.num_rows)
    expected = attention(*tensors, MIXED, Scores(0.25), tiles=TILES)
    row_bytes = 4 * HEADS * 2 * (HEAD_DIM + 2)
    monkeypatch.setattr(kernels.triton.attention_forward, "PARTIAL_BYTES", 20 * row_bytes)
    assert torch.equal(attention(*tensors, MIXED, Scores(0.25), tiles=TILES), expected)


def test_rows_behind_the_last_sequence_and_queries_without_keys_become_zeros():
    query, key, value = inputs(5)
    kv_cache, table = cache_of(key, value)
    alone = paged_attention(query[:2], kv_cache, table, int32([5]), int32([0, 2]), Scores(0.25), tiles=TILES)
    padded = paged_attention(
        query, kv_cache, table.expand(2, -1).contiguous(), int32([5, 0]), int32([0, 2, 3]), Scores(0.25), tiles=TILES
    )
    assert torch.equal(padded[:2], alone)
    assert torch.equal(padded[2:], torch.zeros_like(padded[2:]))


def test_a_tight_bound_on_the_keys_changes_nothing():
    query, key, value = inputs(33)
    kv_cache, table = cache_of(key, value)
    table = torch.cat([table, table], dim=1)
    arguments = query[32:], kv_cache, table, int32([33]), int32([0, 1]), Scores(0.25)
    roomy = paged_attention(*arguments, tiles=TILES)
    assert torch.equal(paged_attention(*arguments, max_num_keys=33, tiles=TILES), roomy)


@DTYPES
def test_rows_are_stored_in_their_slots_and_those_without_one_nowhere(dtype):
    _, key, value = inputs(3, dtype, kv_heads=3, head_dim=24)
    kv_cache = key.new_zeros(2, 2, 4, 3, 24)
    write_cache(key, value, kv_cache, torch.tensor([6, -1, 1], device=DEVICE))
    expected = torch.zeros_like(kv_cache)
    expected[1, 0, 2], expected[1, 1, 2] = key[0], value[0]
    expected[0, 0, 1], expected[0, 1, 1] = key[2], value[2]
    assert torch.equal(kv_cache, expected)


def test_a_cache_may_hold_all_keys_before_all_values():
    query, key, value = inputs(20)
    kv_cache, table = cache_of(key, value)
    other = kv_cache.transpose(0, 1).contiguous().transpose(0, 1)
    arguments = table, int32([20]), int32([0, 20]), Scores(0.25)
    assert torch.equal(
        paged_attention(query, other, *arguments, tiles=TILES),
        paged_attention(query, kv_cache, *arguments, tiles=TILES),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: (q.half(), k.half(), v.half()), "bfloat16 or float32"),
        (lambda q, k, v: (q, k.bfloat16(), v), "one dtype"),
        (lambda q, k, v: (q[:, :1].expand(-1, 3, -1), k.expand(-1, 2, -1), v.expand(-1, 2, -1)), "3 query heads"),
        (lambda q, k, v: (q[:2], k, v), r"queries \(2 rows\)"),
    ],
)
def test_what_it_cannot_compute_it_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        attention(*change(*inputs(3)), packed(3), Scores(0.25))


def test_a_cache_of_another_form_is_refused():
    _, key, value = inputs(3)
    for cache in (key.new_zeros(2, 1, 16, 1, 16), key.new_zeros(1, 2, 16, 16, 3).transpose(3, 4)):
        with pytest.raises(ValueError, match=r"\(blocks, 2, block_size, kv_heads, head_dim\)"):
            write_cache(key, value, cache, torch.arange(3, device=DEVICE))


def test_tiles_that_do_not_fit_each_other_or_the_heads_are_refused():
    with pytest.raises(ValueError, match="power of two from 16 on, got 24"):
        Tiles(rows=24, keys=16, split=32)
    with pytest.raises(ValueError, match="multiple of keys = 32, got 48"):
        Tiles(rows=16, keys=32, split=48)
    with pytest.raises(ValueError, match="17 query heads"):
        Tiles(rows=16, keys=16, split=48).tokens(17)
