import pytest
import torch

import kernels.triton.certify
from kernels.certify import CertificationError
from kernels.triton.certify import certify_tiles, rows_are_independent
from kernels.triton.tiles import FEW_ROWS, choose_tiles

SHAPES = [(40, 24), (24, 16)]
COUNTS = (1, 3, 16, 64, 65, 70)
NUM_ROWS = 80


def exact(x, weight, bias, tiles):
    """Stands in for the kernel: rows cannot depend on each other."""
    return x[:, :1].repeat(1, len(weight))


def one_bit_off(out, row):
    out.view(torch.int32)[row, -1] ^= 1
    return out


def substitute(monkeypatch, flaw):
    """`flaw(out, tiles)` changes every product."""
    monkeypatch.setattr(
        kernels.triton.certify, "product", lambda x, weight, bias, tiles: flaw(exact(x, weight, bias, tiles), tiles)
    )


def in_few(tiles, out):
    return tiles.block(len(out)) == tiles.few != tiles.many


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_blocks_hold_on_this_machine(dtype):
    shape = (40, 24)
    assert certify_tiles([shape, shape], dtype, (1, 64, 65), num_rows=70) == {shape: choose_tiles(*shape, dtype)}


def test_where_the_blocks_disagree_one_is_taken_for_all_rows_of_that_shape_only(monkeypatch):
    wide = choose_tiles(*SHAPES[0], torch.float32)
    substitute(
        monkeypatch, lambda out, tiles: one_bit_off(out, 0) if in_few(tiles, out) and out.shape[1] == 40 else out
    )
    assert certify_tiles(SHAPES, torch.float32, COUNTS, NUM_ROWS) == {
        SHAPES[0]: wide.one_block,
        SHAPES[1]: choose_tiles(*SHAPES[1], torch.float32),
    }


FLAWS = {
    "one_row_is_special": lambda out, tiles: one_bit_off(out, 0) if len(out) == 1 else out,
    "the_first_row_is_special": lambda out, tiles: one_bit_off(out, 0),
    "the_last_row_is_special": lambda out, tiles: one_bit_off(out, -1),
    "many_rows_are_special": lambda out, tiles: one_bit_off(out, 70) if len(out) > 75 else out,
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_rows_that_depend_on_their_batch_in_every_block_are_refused_with_the_shape_and_a_remedy(flaw, monkeypatch):
    substitute(monkeypatch, FLAWS[flaw])
    with pytest.raises(CertificationError) as caught:
        certify_tiles([SHAPES[0]], torch.float32, COUNTS, NUM_ROWS)
    assert "torch.float32" in str(caught.value)
    assert "(40, 24)" in str(caught.value)
    assert "take another machine" in str(caught.value)


def test_row_counts_on_both_sides_of_the_threshold_are_tried():
    assert {FEW_ROWS, FEW_ROWS + 1} <= set(kernels.triton.certify.ROW_COUNTS)
    assert max(kernels.triton.certify.ROW_COUNTS) < kernels.triton.certify.NUM_ROWS


def test_a_product_whose_k_order_follows_the_block_is_seen(monkeypatch):
    """The kernel itself, cut along K as the block is: what certification is there to find."""
    honest = kernels.triton.certify.product

    def by_block(x, weight, bias, tiles):
        half = weight.shape[1] // 2
        if tiles.block(len(x)) == tiles.many:
            return honest(x, weight, bias, tiles)
        parts = [honest(x[:, cut], weight[:, cut], None, tiles) for cut in (slice(0, half), slice(half, None))]
        return parts[0] + parts[1]

    monkeypatch.setattr(kernels.triton.certify, "product", by_block)
    tiles = choose_tiles(40, 48, torch.float32)
    assert not rows_are_independent(tiles, (40, 48), torch.float32, (1,), num_rows=70)
    assert rows_are_independent(tiles.one_block, (40, 48), torch.float32, (1,), num_rows=70)
