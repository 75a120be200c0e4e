import random
from fractions import Fraction

import pytest

from rl.data.shares import Shares

WEIGHTS = [[1], [1, 1], [0.1, 0.9], [3, 2, 1], [1e-3, 1, 1e3], [0.3, 0.3, 0.3, 0.1], [7.5, 0.25, 1, 1, 1, 2]]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_position_within_a_source_is_how_often_it_had_its_turn(weights):
    shares, turns = Shares(weights, seed=5), [0] * len(weights)
    for position in range(3000):
        assert shares.counts(position) == turns
        place, at = shares.locate(position)
        assert at == turns[place]
        turns[place] += 1


@pytest.mark.parametrize("weights", WEIGHTS)
def test_no_source_is_ever_further_from_its_share_than_there_are_sources(weights):
    exact = [Fraction(str(weight)) / sum(Fraction(str(w)) for w in weights) for weight in weights]
    for seed in range(5):
        shares = Shares(weights, seed)
        for num in [*range(300), 10**6, 10**12 + 7]:
            counts = shares.counts(num)
            assert sum(counts) == num
            assert all(abs(count - num * share) < len(weights) for count, share in zip(counts, exact, strict=True))


def test_a_far_position_is_found_without_walking_there():
    shares = Shares([2, 1, 1], seed=0)
    for position in random.Random(0).sample(range(10**15), 100):
        place, at = shares.locate(position)
        assert at == shares.counts(position)[place]
        assert [
            after - before for before, after in zip(*map(shares.counts, (position, position + 1)), strict=True)
        ] == [int(other == place) for other in range(3)]


def test_only_proportions_count():
    assert [Shares([0.1, 0.3], 0).locate(i) for i in range(200)] == [Shares([1, 3], 0).locate(i) for i in range(200)]


def test_even_shares_take_turns():
    places = [Shares([1, 1], seed=3).locate(i)[0] for i in range(10)]
    assert places in ([0, 1] * 5, [1, 0] * 5)


def test_the_seed_shifts_the_pattern():
    patterns = {tuple(Shares([1, 3], seed).locate(i)[0] for i in range(8)) for seed in range(20)}
    assert len(patterns) == 4
