import statistics

import numpy as np
import pytest

from kernels.recurrent.depth import Depth
from rl.recurrent.draws import DepthDraws


def drawn(draws: DepthDraws, seed: int, count: int) -> list[int]:
    return [draws.depth(seed, step).num_recurrences for step in range(1, count + 1)]


def test_a_steps_depth_is_a_function_of_seed_and_step() -> None:
    draws = DepthDraws(mean=6)
    forwards = drawn(draws, 3, 50)
    backwards = [draws.depth(3, step).num_recurrences for step in range(50, 0, -1)]
    assert forwards == backwards[::-1]
    assert forwards != drawn(draws, 4, 50)
    assert len(set(forwards)) > 4


def test_the_draws_have_the_mean_and_the_variance_of_the_distribution() -> None:
    """Of a Poisson with rate Λ, Λ log-normal of mean m: E = m, Var = m + m² (exp σ² - 1); r is one more."""
    found = drawn(DepthDraws(mean=6, sigma=0.5), 0, 5000)
    variance = 5 + 25 * (np.exp(0.25) - 1)
    assert abs(statistics.fmean(found) - 6) < 4 * (variance / 5000) ** 0.5
    assert abs(statistics.variance(found) / variance - 1) < 0.1
    assert min(found) == 1


def test_without_spread_every_step_goes_as_deep() -> None:
    assert set(drawn(DepthDraws(mean=4, sigma=0), 0, 20)) == {4}
    assert set(drawn(DepthDraws(mean=1), 0, 20)) == {1}


def test_the_usual_depth_is_the_mean_rounded() -> None:
    assert [DepthDraws(mean, 0.5, 2).usual for mean in (1, 3.4, 3.6)] == [Depth(1, 2), Depth(3, 2), Depth(4, 2)]


def test_the_truncation_goes_with_every_draw() -> None:
    assert DepthDraws(mean=4, sigma=0, num_backpropagated=2).depth(0, 1) == Depth(4, 2)


def test_the_range_holds_nine_of_ten_draws() -> None:
    draws = DepthDraws(mean=6)
    low, high = draws.central_range()
    found = drawn(draws, 1, 2000)
    assert sum(low <= r <= high for r in found) > 0.87 * 2000
    assert sum(low < r < high for r in found) < 0.93 * 2000
    assert DepthDraws(mean=3, sigma=0).central_range() == (3, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": 0.5}, "mean recurrence must be at least 1, got 0.5"),
        ({"mean": float("nan")}, "mean recurrence must be at least 1, got nan"),
        ({"mean": 4, "sigma": -1}, "sigma of the recurrence must be 0 or more, got -1"),
        ({"mean": 2.5, "sigma": 0}, "a whole number; got 2.5"),
        ({"mean": 4, "num_backpropagated": 0}, "num_backpropagated must be at least 1"),
    ],
)
def test_what_is_no_distribution_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthDraws(**settings)  # type: ignore[arg-type]
