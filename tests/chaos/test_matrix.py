import itertools
from dataclasses import astuple

from .matrix import covering, full


def test_the_full_matrix_has_every_combination() -> None:
    assert len(set(full())) == 81


def test_in_nine_runs_every_two_settings_meet() -> None:
    runs = [astuple(combination) for combination in covering()]
    assert len(set(runs)) == 9
    for first, second in itertools.combinations(range(4), 2):
        assert len({(run[first], run[second]) for run in runs}) == 9
