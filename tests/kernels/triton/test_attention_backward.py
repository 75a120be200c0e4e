import pytest
import torch

from kernels.attention import PackedLayout, Scores, Sequence, attention_reference
from kernels.triton.attention import attention
from kernels.triton.attention_backward import sum_uses
from kernels.triton.attention_layout import layout_on
from kernels.triton.attention_tiles import Tiles
from kernels.triton.runtime import DEVICE

HEADS, KV_HEADS, HEAD_DIM = 2, 1, 16
TILES = Tiles(rows=32, keys=16, split=32)
BOUND = 2.0**-21 if DEVICE == "cpu" else 2.0**-19
"""A few roundings of fp32. CUDA takes 2^(x · log2 e) for an exponential: the product's error grows with x."""
EVERY_KIND = pytest.mark.parametrize(
    "scores",
    [Scores(0.25), Scores(0.25, window=9), Scores(0.5, 21, 2.0)],
    ids=["causal", "window9", "window21_soft_cap"],
)
MIXED = PackedLayout(
    (
        Sequence(0, 3),
        Sequence(3, 2, 0, 3),
        Sequence(5, 20),
        Sequence(25, 14, 5, 20),
        Sequence(39, 5, 5, 20),
        Sequence(44, 1),
    )
)


def inputs(num_rows, dtype=torch.float32, heads=HEADS, kv_heads=KV_HEADS, head_dim=HEAD_DIM):
    """query, key, value, gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(num_rows, h, head_dim, generator=generator).to(DEVICE, dtype)
        for h in (heads, kv_heads, kv_heads, heads)
    )


def gradients(query, key, value, grad_out, layout, scores, tiles=TILES):
    leaves = [t.clone().requires_grad_() for t in (query, key, value)]
    attention(*leaves, layout, scores, tiles=tiles).backward(grad_out)
    return [t.grad for t in leaves]


def reference_gradients(query, key, value, grad_out, layout, scores):
    leaves = [t.cpu().double().requires_grad_() for t in (query, key, value)]
    attention_reference(*leaves, layout, scores).backward(grad_out.cpu().double())
    return [t.grad for t in leaves]


def relative_error(grad, expected):
    return float((grad.cpu().double() - expected).norm() / expected.norm())


@EVERY_KIND
def test_fp32_gradients_are_those_of_float64_to_rounding(scores):
    tensors = inputs(MIXED.num_rows)
    expected = reference_gradients(*tensors, MIXED, scores)
    for name, mine, exact in zip("qkv", gradients(*tensors, MIXED, scores), expected, strict=True):
        assert relative_error(mine, exact) < BOUND, name


@pytest.mark.parametrize("scores", [Scores(0.25), Scores(0.5, 21, 2.0)], ids=["causal", "window21_soft_cap"])
def test_bf16_gradients_round_their_operands_and_once_at_the_end(scores):
    tensors = inputs(MIXED.num_rows, torch.bfloat16)
    expected = reference_gradients(*tensors, MIXED, scores)
    for name, mine, exact in zip("qkv", gradients(*tensors, MIXED, scores), expected, strict=True):
        assert mine.dtype == torch.bfloat16
        assert relative_error(mine, exact) < 2.5 * relative_error(exact.to(torch.bfloat16), exact), name


def test_grouped_heads_that_fill_a_tile_unevenly_and_a_head_size_between_powers_of_two():
    tensors, layout = inputs(19, heads=6, kv_heads=2, head_dim=24), PackedLayout((Sequence(0, 19),))
    expected = reference_gradients(*tensors, layout, Scores(0.2))
    for mine, exact in zip(gradients(*tensors, layout, Scores(0.2), Tiles(16, 16, 16)), expected, strict=True):
        assert relative_error(mine, exact) < BOUND


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_gradients_keep_their_bits_in_a_rerun_beside_another_sequence(dtype):
    tensors = inputs(44, dtype)
    group = PackedLayout((Sequence(0, 20), Sequence(20, 5, 0, 20), Sequence(25, 3, 0, 20)))
    more = PackedLayout((*group.sequences, Sequence(28, 16)))
    alone = gradients(*(t[:28] for t in tensors), group, Scores(0.25))
    beside = gradients(*tensors, more, Scores(0.25))
    for first, second in zip(alone, beside, strict=True):
        assert torch.equal(second[:28], first)


def test_a_key_that_several_sequences_read_sums_their_gradients_in_their_order():
    layout = PackedLayout((Sequence(0, 1), Sequence(1, 1, 0, 1), Sequence(2, 1, 0, 1), Sequence(3, 1, 0, 1)))
    assert layout.key_rows.tolist() == [0, 0, 1, 0, 2, 0, 3]
    by_use = torch.tensor([1.0, 2.0**25, 5.0, 1.0, 6.0, -(2.0**25), 7.0], device=DEVICE).view(7, 1, 1)
    total = sum_uses(by_use, torch.zeros(4, 1, 1, device=DEVICE), layout_on(layout, torch.device(DEVICE)))
    # ((1 + 2^25) + 1) - 2^25: both ones are lost, one after the other. Any other order keeps one or both.
    assert total.flatten().tolist() == [0.0, 5.0, 6.0, 7.0]


def test_keys_beyond_every_window_get_no_gradient_and_the_last_query_gives_to_its_window_alone():
    query, key, value, grad_out = inputs(40)
    grad_out[:-1] = 0
    _, grad_key, grad_value = gradients(query, key, value, grad_out, PackedLayout((Sequence(0, 40),)), Scores(0.25, 5))
    for grad in (grad_key, grad_value):
        assert torch.equal(grad[:35], torch.zeros_like(grad[:35]))
        assert bool((grad[35:] != 0).all())


def test_the_tables_of_a_group_list_each_rows_uses_by_sequence():
    tables = layout_on(PackedLayout((Sequence(0, 2), Sequence(2, 1, 0, 2), Sequence(3, 2, 1, 1))), torch.device(DEVICE))
    assert tables.key_rows.tolist() == [0, 1, 0, 1, 2, 1, 3, 4]
    assert tables.sequences.tolist() == [[0, 2, 0, 0, 0], [2, 1, 0, 2, 2], [3, 2, 1, 1, 5]]
    assert tables.uses.tolist() == [0, 2, 1, 3, 5, 4, 6, 7]
    assert tables.use_starts.tolist() == [0, 2, 5, 6, 7, 8]
    assert (tables.num_blocks, tables.max_num_keys, tables.max_length) == (3, 3, 2)
