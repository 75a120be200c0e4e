import pytest

from rl.supervised.objective import Totals
from rl.supervised.types import cut_into_batch

from .examples import Counting, words


def test_a_batch_is_cut_into_shards_of_neighbours_and_knows_its_totals() -> None:
    batch = cut_into_batch(words(8), Counting(), step=3, seed=5, num_shards=4)
    assert [len(shard) for shard in batch.shards] == [2, 2, 2, 2]
    assert batch.examples == words(8)
    assert batch.totals == Totals(step=3, seed=5, num_examples=8, num_targets=16)
    assert (batch.step, batch.num_tokens) == (3, 24)


@pytest.mark.parametrize("num", [0, 6])
def test_examples_that_do_not_fill_the_shards_are_refused(num: int) -> None:
    with pytest.raises(ValueError, match=f"a multiple of trainer.num_shards=4 examples, got {num}"):
        cut_into_batch(words(num), Counting(), step=1, seed=0, num_shards=4)
