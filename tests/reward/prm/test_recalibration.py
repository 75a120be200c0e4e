import numpy as np
import pytest
import torch

from reward.prm.coverage import estimated_coverage
from reward.prm.families import make_family
from reward.prm.outcomes import Outcomes
from reward.prm.recalibration import (
    RECALIBRATION_FILE,
    BaseRate,
    HeadRecalibration,
    Isotonic,
    Temperature,
    load_recalibration,
    save_recalibration,
)

from .known_truth import LAWS, LEVELS, features, known_head, sampled


def test_the_base_rate_counts_every_question_the_same():
    outcomes = Outcomes.of([4, 0, 0, 0], [4, 4, 4, 4], ["a", "b", "b", "b"])
    assert BaseRate.fit(outcomes).apply(np.zeros(3)).tolist() == [0.5, 0.5, 0.5]


def test_isotonic_pools_what_falls_and_joins_equal_estimates():
    outcomes = Outcomes.of([0, 3, 1, 4, 2], [4, 4, 4, 4, 4], ["a", "b", "c", "d", "e"])
    fitted = Isotonic.fit(np.array([0.1, 0.2, 0.3, 0.9, 0.9]), outcomes)
    assert fitted.at == (0.1, 0.2, 0.3, 0.9)
    assert fitted.values == pytest.approx((0.0, 0.5, 0.5, 0.75))
    assert fitted.apply(np.array([0.0, 0.25, 0.6, 1.0])).tolist() == pytest.approx([0.0, 0.5, 0.625, 0.75])


def test_temperature_undoes_an_estimate_that_is_too_sure():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=4000) * 1.5
    counts = rng.binomial(8, 1 / (1 + np.exp(-logits)))
    outcomes = Outcomes.of(counts.tolist(), [8] * 4000, [str(i) for i in range(4000)])
    too_sure = 1 / (1 + np.exp(-3 * logits))
    fitted = Temperature.fit(too_sure, outcomes)
    assert fitted.temperature == pytest.approx(3.0, rel=0.05)
    assert fitted.apply(np.array([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.01, 0.5, 0.99], abs=0.01)


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_a_head_that_is_too_sure_or_not_sure_enough_is_mended_on_other_questions(scale):
    family, law = make_family("beta", LEVELS), LAWS["beta"]
    head = known_head("beta", "beta", 8)
    x, outcomes = sampled(law, 8, seed=1)
    mended = HeadRecalibration.fit(family, scale * features(x) @ head, outcomes).of(family)
    unseen = np.random.default_rng(2).standard_normal(20_000)
    given = torch.from_numpy(scale * features(unseen) @ head)
    before = law.gaps(family.quantiles(given).numpy(), unseen, np.array(LEVELS)).max()
    after = law.gaps(mended.quantiles(given).numpy(), unseen, np.array(LEVELS)).max()
    assert after <= 0.03 < before


def test_coverage_of_the_true_probability_is_estimated_from_counts_alone():
    family, law = make_family("beta", LEVELS), LAWS["beta"]
    head = known_head("beta", "beta", 8)
    x, outcomes = sampled(law, 8, seed=1)
    parameters = features(x) @ head
    assert estimated_coverage(family, parameters, outcomes) == pytest.approx(LEVELS, abs=0.05)
    parameters[:, 0] += 0.6
    found = estimated_coverage(family, parameters, outcomes)
    quantiles = family.quantiles(torch.from_numpy(parameters)).numpy()
    exact = np.array(LEVELS) + law.gaps(quantiles, x, np.array(LEVELS))
    assert exact[1] > 0.7, "the head says too much"
    assert found == pytest.approx(exact, abs=0.06)


def test_a_recalibration_reads_levels_between_and_outlives_its_file(tmp_path):
    recalibration = HeadRecalibration(0.5, (0.1, -0.2, 0.0, 1.0), LEVELS, (0.2, 0.6, 0.8))
    save_recalibration(recalibration, tmp_path)
    assert load_recalibration(tmp_path) == recalibration
    assert recalibration.read_at((0.1, 0.3, 0.9, 0.95)) == pytest.approx((0.2, 0.4, 0.8, 0.9))
    family = make_family("beta", LEVELS)
    rows = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shifted = 0.5 * rows + torch.tensor(recalibration.shift, dtype=torch.float64)
    assert torch.equal(recalibration.of(family).quantiles(rows), family.quantiles(shifted, (0.2, 0.6, 0.8)))
    assert torch.equal(recalibration.of(family).mean(rows), family.mean(shifted))


def test_a_folder_without_the_file_has_no_recalibration_and_a_broken_file_is_named(tmp_path):
    assert load_recalibration(tmp_path) is None
    (tmp_path / RECALIBRATION_FILE).write_text('{"scale": 1.0}')
    with pytest.raises(ValueError, match=f"{RECALIBRATION_FILE} is no recalibration"):
        load_recalibration(tmp_path)
