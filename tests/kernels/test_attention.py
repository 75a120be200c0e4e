import pytest
import torch

import kernels.attention
from kernels.attention import PackedLayout, Scores, Sequence, attention, attention_reference, tile_queries

HEADS, KV_HEADS, HEAD_DIM = 4, 2, 32
SCORES = Scores(HEAD_DIM**-0.5)
EVERY_KIND = pytest.mark.parametrize(
    "scores",
    [SCORES, Scores(0.2, window=9), Scores(0.2, window=100), Scores(1.0, soft_cap=3.0), Scores(0.5, 33, 2.0)],
    ids=["causal", "window9", "window100", "soft_cap", "window33_soft_cap"],
)
BF16_ROUNDING = 2.0**-8
"""Half the distance between neighbouring bf16 numbers, relative: 8 bits of significand."""

MIXED = PackedLayout(
    (
        Sequence(0, 5),
        Sequence(5, 3, 0, 5),
        Sequence(8, 1, 0, 5),
        Sequence(9, 4, 0, 5),
        Sequence(13, 130),  # a prompt that ends inside a block
        Sequence(143, 131, 13, 130),  # and a completion that begins in one
        Sequence(274, 7, 13, 130),
        Sequence(281, 1),  # nothing but itself
        Sequence(282, 200),
    )
)


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def inputs(num_rows, dtype=torch.float32, seed=0):
    """query, key, value, gradient of the output."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(num_rows, heads, HEAD_DIM, generator=generator).to(dtype)
        for heads in (HEADS, KV_HEADS, KV_HEADS, HEADS)
    )


def gradients(function, query, key, value, grad_out, layout, scores=SCORES):
    leaves = [t.clone().requires_grad_() for t in (query, key, value)]
    function(*leaves, layout, scores).backward(grad_out)
    return [t.grad for t in leaves]


def reference_gradients(query, key, value, grad_out, layout, scores=SCORES):
    return gradients(attention_reference, *(t.double() for t in (query, key, value, grad_out)), layout, scores)


@EVERY_KIND
def test_forward_is_the_float64_reference_to_fp32_rounding(scores):
    query, key, value, _ = inputs(MIXED.num_rows)
    expected = attention_reference(query, key, value, MIXED, scores)
    torch.testing.assert_close(attention(query, key, value, MIXED, scores).double(), expected, rtol=2e-6, atol=2e-6)


def test_forward_in_bf16_rounds_probabilities_and_output_once_each():
    query, key, value, _ = inputs(MIXED.num_rows, torch.bfloat16)
    out = attention(query, key, value, MIXED, SCORES)
    expected = attention_reference(query, key, value, MIXED, SCORES)
    bound = 2 * BF16_ROUNDING * attention_reference(query, key, value.abs(), MIXED, SCORES) + 1e-5
    assert out.dtype == torch.bfloat16
    assert bool(((out.double() - expected).abs() <= bound).all())


@EVERY_KIND
def test_gradients_are_those_of_the_float64_reference_to_fp32_rounding(scores):
    tensors = inputs(MIXED.num_rows)
    expected = reference_gradients(*tensors, MIXED, scores)
    for name, mine, theirs in zip("qkv", gradients(attention, *tensors, MIXED, scores), expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=5e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_gradients_in_bf16_are_rounded_once_at_the_end():
    tensors = inputs(MIXED.num_rows, torch.bfloat16)
    expected = reference_gradients(*tensors, MIXED)
    for mine, theirs in zip(gradients(attention, *tensors, MIXED), expected, strict=True):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.double(), theirs, rtol=BF16_ROUNDING, atol=1e-5)


def test_a_query_of_zeros_averages_exactly_the_rows_it_may_see():
    layout = PackedLayout((Sequence(0, 2), Sequence(2, 2, 0, 2), Sequence(4, 2, 0, 2)))
    value = torch.tensor([0.0, 4.0, 8.0, 12.0, 32.0, 4.0])[:, None, None].expand(6, KV_HEADS, HEAD_DIM).contiguous()
    _, key, _, _ = inputs(6)
    out = attention(torch.zeros(6, HEADS, HEAD_DIM), key, value, layout, SCORES)
    # Prompt 0, 4. First completion sees 0 4 8, then 0 4 8 12; the second sees 0 4 32, then 0 4 32 4.
    expected = torch.tensor([0.0, 2.0, 4.0, 6.0, 12.0, 10.0])
    torch.testing.assert_close(out, expected[:, None, None].expand_as(out), rtol=1e-6, atol=1e-6)


def test_neighbouring_query_heads_share_a_kv_head():
    query, key, _, _ = inputs(3)
    value = torch.tensor([1.0, 2.0])[None, :, None].expand(3, KV_HEADS, HEAD_DIM).contiguous()
    out = attention(query, key, value, PackedLayout((Sequence(0, 3),)), SCORES)
    expected = torch.tensor([1.0, 1.0, 2.0, 2.0])[None, :, None].expand_as(out)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=0)


def test_the_scale_multiplies_the_scores():
    query, key, value, _ = inputs(7)
    layout = PackedLayout((Sequence(0, 7),))
    torch.testing.assert_close(
        attention(query, key, value, layout, Scores(0.5)),
        attention(query * 2, key, value, layout, Scores(0.25)),
        rtol=1e-6,
        atol=1e-6,
    )


@EVERY_KIND
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_has_the_same_bits_packed_behind_a_shared_prompt_as_in_a_sequence_of_its_own(dtype, scores):
    query, key, value, _ = inputs(MIXED.num_rows, dtype)
    packed = attention(query, key, value, MIXED, scores)
    for sequence in MIXED.sequences:
        rows = sequence.key_rows
        alone = attention(query[rows], key[rows], value[rows], PackedLayout((Sequence(0, sequence.num_keys),)), scores)
        mine = packed[sequence.start : sequence.start + sequence.length]
        assert torch.equal(mine, alone[sequence.prefix_length :]), sequence


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_threads", [2, 3, 4, 6])
def test_decode_steps_of_a_batch_are_not_split_by_load(dtype, num_threads, restore_threads):
    # With its KV split left on, vLLM's kernel cuts the keys of the last of these among idle threads.
    query, key, value, _ = inputs(116, dtype)
    alone = PackedLayout((Sequence(0, 100), Sequence(100, 1, 0, 100)))
    expected = []
    for row in range(100, 116):
        rows = [*range(100), row]
        expected.append(attention(query[rows], key[rows], value[rows], alone, SCORES)[-1])
    torch.set_num_threads(num_threads)
    batch = PackedLayout((Sequence(0, 100), *(Sequence(row, 1, 0, 100) for row in range(100, 116))))
    assert torch.equal(attention(query, key, value, batch, SCORES)[100:], torch.stack(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("position", [1, 31, 32, 33, 127, 128, 300])
@EVERY_KIND
def test_a_decode_step_has_the_bits_of_the_prefill(dtype, position, scores):
    query, key, value, _ = inputs(position + 1, dtype)
    prefill = attention(query, key, value, PackedLayout((Sequence(0, position + 1),)), scores)
    decode = PackedLayout((Sequence(0, position), Sequence(position, 1, 0, position)))
    assert torch.equal(attention(query, key, value, decode, scores)[-1], prefill[-1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_of_forward_and_gradients_do_not_depend_on_reruns_or_threads(dtype, restore_threads):
    query, key, value, grad_out = inputs(MIXED.num_rows, dtype)
    outs, grads = [], []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        outs.append(attention(query, key, value, MIXED, SCORES))
        grads.append(gradients(attention, query, key, value, grad_out, MIXED))
    for out, grad in zip(outs[1:], grads[1:], strict=True):
        assert torch.equal(out, outs[0])
        assert all(torch.equal(mine, first) for mine, first in zip(grad, grads[0], strict=True))


def test_a_sequence_appended_to_the_batch_leaves_the_gradients_of_the_others_alone():
    first, more = inputs(MIXED.num_rows), inputs(309, seed=1)
    start = MIXED.num_rows
    # Longer than any sequence before it, so that every other one is padded further than it was.
    layout = PackedLayout((*MIXED.sequences, Sequence(start, 300), Sequence(start + 300, 9, start, 300)))
    both = [torch.cat(pair) for pair in zip(first, more, strict=True)]
    for alone, together in zip(gradients(attention, *first, MIXED), gradients(attention, *both, layout), strict=True):
        torch.testing.assert_close(together[:start], alone, rtol=1e-5, atol=5e-6)


def test_row_0_which_padding_points_at_gets_no_gradient_from_sequences_that_do_not_see_it():
    layout = PackedLayout((Sequence(0, 1), Sequence(1, 9), Sequence(10, 3)))
    query, key, value, grad_out = inputs(13)
    grad_out[0] = 0
    for grad in gradients(attention, query, key, value, grad_out, layout):
        assert torch.equal(grad[0], torch.zeros_like(grad[0]))


def test_gradients_hold_however_finely_the_backward_is_bundled(monkeypatch):
    tensors = inputs(MIXED.num_rows)
    monkeypatch.setattr(kernels.attention, "MAX_BUNDLE_SCORES", 100)
    layout = PackedLayout(MIXED.sequences)
    # Under 100 padded scores fit: prompts 5x5 | 130x130 | 1x1 | 200x200, completions {3x8, 1x6, 4x9 as 3x4x9=108} cut.
    assert [len(bundle.query_rows) for bundle in layout.bundles] == [1, 1, 1, 1, 2, 1, 1, 1]
    for mine, theirs in zip(gradients(attention, *tensors, layout), reference_gradients(*tensors, layout), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=5e-6)


def test_layout_of_a_prompt_with_two_completions_and_a_long_neighbour(monkeypatch):
    monkeypatch.setattr(kernels.attention, "BLOCK_SIZE", 4)
    layout = PackedLayout((Sequence(0, 2), Sequence(2, 1, 0, 2), Sequence(3, 2, 0, 2), Sequence(5, 6)))
    assert layout.num_rows == 11
    assert layout.positions.tolist() == [0, 1, 2, 2, 3, 0, 1, 2, 3, 4, 5]
    assert layout.key_rows.tolist() == [0, 1, 0, 1, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10]
    assert layout.num_keys.tolist() == [2, 3, 4, 6]
    assert layout.num_blocks.tolist() == [1, 1, 1, 2]
    assert layout.slots.tolist() == [0, 1, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    assert layout.block_table.tolist() == [[0, 0], [1, 0], [2, 0], [3, 4]]
    assert layout.query_starts.tolist() == [0, 2, 3, 5, 11]
    assert {layout.block_table.dtype, layout.num_keys.dtype, layout.query_starts.dtype} == {torch.int32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scores", [Scores(0.2), Scores(0.2, window=900), Scores(0.2, soft_cap=30.0)])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(9, 3, 64), (4, 2, 32), (16, 8, 128), (32, 2, 64)])
def test_long_prefill_chunk_and_decode_have_the_same_bits(
    heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, scores: Scores
) -> None:
    """Beyond a few hundred keys the kernel cuts keys by how many queries it is given at once."""
    generator = torch.Generator().manual_seed(0)
    num_rows = 1500
    q, k, v = (torch.randn(num_rows, h, head_dim, generator=generator).to(dtype) for h in (heads, kv_heads, kv_heads))
    whole = attention(q, k, v, PackedLayout((Sequence(0, num_rows),)), scores)
    threads = torch.get_num_threads()
    try:
        for tail in (1, 16, 700):
            head = num_rows - tail
            torch.set_num_threads(1 if tail == 16 else threads)
            parts = attention(q, k, v, PackedLayout((Sequence(0, head), Sequence(head, tail, 0, head))), scores)
            assert torch.equal(parts, whole)
    finally:
        torch.set_num_threads(threads)


def test_queries_are_cut_into_tiles_with_the_keys_they_see() -> None:
    starts, keys, table = tile_queries(
        torch.tensor([0, 3, 8], dtype=torch.int32),
        torch.tensor([10, 5], dtype=torch.int32),
        torch.tensor([[4, 5], [6, 7]], dtype=torch.int32),
        tile=2,
    )
    assert starts.tolist() == [0, 2, 3, 5, 7, 8]
    assert keys.tolist() == [9, 10, 2, 4, 5]
    assert table.tolist() == [[4, 5], [4, 5], [6, 7], [6, 7], [6, 7]]
