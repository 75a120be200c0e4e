import dataclasses
from collections import Counter

from rl.supervised.batches import Epochs, digest_examples

from .examples import Words, words


def test_every_example_comes_once_an_epoch_and_each_epoch_in_another_order() -> None:
    epochs = Epochs(tuple(words(10)), batch_size=4, seed=0)
    seen = [example for step in range(1, 6) for example in epochs.batch(step)]
    assert Counter(seen[:10]) == Counter(seen[10:]) == Counter(words(10))
    assert seen[:10] != seen[10:] and seen[:10] != words(10)


def test_a_batch_is_a_function_of_the_step_alone() -> None:
    first, second = (Epochs(tuple(words(10)), batch_size=4, seed=0) for _ in range(2))
    later = [first.batch(step) for step in (1, 2, 3)][-1]
    assert second.batch(3) == later


def test_the_digest_tells_examples_order_and_batches_apart() -> None:
    plain = Epochs(tuple(words(10)), batch_size=4, seed=0)
    others = (
        Epochs(tuple(words(9)), batch_size=4, seed=0),
        dataclasses.replace(plain, batch_size=5),
        dataclasses.replace(plain, seed=1),
    )
    assert plain.digest == Epochs(tuple(words(10)), batch_size=4, seed=0).digest
    assert len({plain.digest, *(other.digest for other in others)}) == 4


def test_a_digest_sees_the_last_digit_of_a_float() -> None:
    assert digest_examples([Words((1,), 0.1)]) != digest_examples([Words((1,), 0.1 + 2**-56)])
