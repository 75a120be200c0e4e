import pytest
import torch

from reward.prm.quantiles import ascending, between, require_levels


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "one at least"),
        ([0.0, 0.5], "strictly between 0 and 1, got 0.0"),
        ([0.5, 1.0], "strictly between 0 and 1, got 1.0"),
        ([float("nan")], "got nan"),
        ([0.5, 0.1], "must ascend, got 0.5, 0.1"),
        ([0.5, 0.5], "must ascend"),
    ],
)
def test_levels_that_there_cannot_be_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        require_levels(levels)


def test_quantiles_never_cross_whatever_the_head_says():
    generator = torch.Generator().manual_seed(0)
    rows = ascending(torch.randn(1000, 5, generator=generator) * 30)
    assert bool((rows.diff(dim=-1) >= 0).all())
    assert bool(((rows >= 0) & (rows <= 1)).all())


def test_the_first_output_is_the_lowest_quantile_and_the_others_what_is_added():
    row = ascending(torch.tensor([[0.0, 1.0, -1.0]], dtype=torch.float64))[0]
    added = [0.0, 1.3132616875182228, 1.3132616875182228 + 0.3132616875182228]
    assert row.tolist() == pytest.approx(torch.tensor(added, dtype=torch.float64).sigmoid().tolist())


def test_between_levels_quantiles_are_in_proportion_and_outside_the_nearest():
    rows = torch.tensor([[0.2, 0.4, 0.8]], dtype=torch.float64)
    found = between(rows, [0.1, 0.5, 0.9], [0.05, 0.1, 0.3, 0.5, 0.7, 0.95])
    assert found[0].tolist() == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.6, 0.8])
    assert between(rows[:, :1], [0.5], [0.1, 0.9])[0].tolist() == pytest.approx([0.2, 0.2])
