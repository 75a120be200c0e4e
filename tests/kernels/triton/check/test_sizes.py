import pytest

from kernels.triton.check.sizes import FULL, LLAMA, QUICK
from kernels.triton.tiles import FEW_ROWS

EVERY_SIZE = pytest.mark.parametrize("sizes", [FULL, QUICK], ids=["full", "quick"])


def test_the_weights_of_a_model_are_those_of_its_projections():
    assert LLAMA.weights == {
        "q, o": (4096, 4096),
        "k, v": (1024, 4096),
        "gate, up": (14336, 4096),
        "down": (4096, 14336),
        "logits": (128256, 4096),
    }


@EVERY_SIZE
def test_row_counts_fit_and_lie_on_both_sides_of_where_the_block_changes(sizes):
    assert max(sizes.certified_counts) < sizes.certified_rows
    for counts, most in (
        (sizes.certified_counts, sizes.certified_rows),
        (sizes.row_counts, sizes.num_rows),
        (sizes.row_counts, sizes.num_logit_rows),
    ):
        assert min(counts) <= FEW_ROWS < max(counts) < most


@EVERY_SIZE
def test_every_model_that_is_timed_is_certified(sizes):
    assert sizes.large in sizes.models
