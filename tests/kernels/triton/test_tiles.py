import dataclasses
import itertools

import pytest
import torch

from kernels.triton.tiles import FEW_ROWS, Block, Tiles, choose_tiles

SHAPES = [(16, 1), (64, 48), (2048, 2048), (6144, 2048), (8192, 2048), (2048, 8192), (151936, 2048), (4096, 14336)]
DTYPES = [torch.float32, torch.bfloat16]
SHARED_BYTES = 99 * 1024
"""What one block may use on the GPUs since Ampere that have least (compute capability 8.6 and 8.9)."""
TILES = [(choose_tiles(*shape, dtype), shape, dtype.itemsize) for shape, dtype in itertools.product(SHAPES, DTYPES)]


def test_the_number_of_rows_chooses_between_the_two_blocks_only():
    tiles = Tiles(64, Block(16, 32, 4, 4), Block(128, 128, 8, 3), few_rows=40)
    assert {rows: tiles.block(rows).rows for rows in (1, 39, 40, 41, 4096)} == {
        1: 16,
        39: 16,
        40: 16,
        41: 128,
        4096: 128,
    }
    assert {tiles.one_block.block(rows) for rows in (1, 40, 41, 4096)} == {tiles.many}
    assert tiles.one_block.depth == tiles.depth


def test_few_rows_get_enough_programs_and_a_vocabulary_wide_tiles():
    columns = {shape[0]: choose_tiles(*shape, torch.bfloat16).few.columns for shape in SHAPES}
    assert columns == {16: 16, 64: 16, 2048: 16, 6144: 32, 8192: 64, 151936: 128, 4096: 32}
    assert choose_tiles(2048, 2048, torch.bfloat16).many.columns == 64
    assert choose_tiles(8192, 2048, torch.bfloat16).many.columns == 128
    assert choose_tiles(2048, 2048, torch.bfloat16).few_rows == FEW_ROWS


@pytest.mark.parametrize("depth, expected", [(1, 16), (16, 16), (17, 32), (48, 64), (2048, 64)])
def test_a_short_row_is_one_step_and_a_long_one_is_walked_in_128_bytes(depth, expected):
    assert choose_tiles(64, depth, torch.bfloat16).depth == expected
    assert choose_tiles(64, depth, torch.float32).depth == min(expected, 32)


@pytest.mark.parametrize("tiles, shape, itemsize", TILES)
def test_every_block_is_one_that_triton_takes_and_every_gpu_holds(tiles, shape, itemsize):
    for block in (tiles.few, tiles.many):
        for extent in (block.rows, block.columns, tiles.depth):
            assert extent >= 16
            assert extent.bit_count() == 1
        assert (block.rows + block.columns) * tiles.depth * itemsize * block.num_stages <= SHARED_BYTES
    assert tiles.few.rows < tiles.many.rows <= FEW_ROWS * 2


def test_tiles_are_values():
    assert choose_tiles(64, 48, torch.float32) == choose_tiles(64, 48, torch.float32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        choose_tiles(64, 48, torch.float32).depth = 8
