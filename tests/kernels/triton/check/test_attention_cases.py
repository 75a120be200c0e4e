import torch

from kernels.attention import PackedLayout, Scores, Sequence, attention_reference
from kernels.triton.check.accuracy import attention_rows, relative_error
from kernels.triton.check.attention_cases import chunks, decoded_positions


def test_chunks_cover_the_sequence_and_one_is_a_single_token():
    assert chunks(48) == [(0, 6), (6, 7), (7, 16), (16, 24), (24, 31), (31, 48)]
    assert [start for start, _ in chunks(8192)[1:]] == [end for _, end in chunks(8192)[:-1]]


def test_decoded_positions_hold_both_ends_and_the_edges_of_splits():
    positions = decoded_positions(8192, 64)
    assert {0, 511, 512, 513, 8191} <= set(positions)
    assert positions == sorted(set(positions))
    assert 50 < len(positions) < 80
    assert decoded_positions(18, 2) == [0, 15, 16, 17]


def test_rows_of_attention_are_those_of_the_reference():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(9, heads, 4, generator=generator, dtype=torch.float64) for heads in (4, 2, 2))
    expected = attention_reference(query, key, value, PackedLayout((Sequence(0, 9),)), Scores(0.5))
    rows = [0, 3, 8]
    assert relative_error(attention_rows(query[rows], key, value, rows, 0.5), expected[rows]) < 1e-15


def test_relative_error_is_of_norms():
    assert relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0], dtype=torch.float64)) == 1 / 18**0.5
